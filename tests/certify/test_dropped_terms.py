"""Mutations: a bound without any one of its rounding terms is exceeded by an execution with few bits.

Every case makes one term count: sums that round the same way at every step, or lose every small number.
Rounding of products, and flushing of inputs, cannot be seen alone: the bound of sums leaves room for them.
"""

import functools
import inspect
import types

import keras
import numpy as np
import pytest
from keras import layers

import keraslip
from keraslip.certify.bound import box, composite, evaluate, margins, sound_pass
from keraslip.certify.bound.network import Network
from keraslip.certify.bound.norm_sources import global_norms
from keraslip.certify.bound.sound_pass import SoundPass
from keraslip.certify.norms.rounding import Execution
from tests.certify import test_composite
from tests.certify.nets import dense_model, forward, weights_alone
from tests.certify.test_rounding import emulated, rounded

pytestmark = weights_alone

#: Small numbers in every sum.
COUNT = 24


def mutated(module, *changes):
    """The module with some terms, old and new, written differently."""
    source = inspect.getsource(module)
    for old, new in changes:
        assert source.count(old) == 1, f"this term is written differently now: {old}"
        source = source.replace(old, new)
    made = types.ModuleType(module.__name__)
    exec(compile(source, str(module.__file__), "exec"), made.__dict__)
    return made


def install(monkeypatch, module, other):
    """Makes evaluations use the names that another version of a module defines."""
    for name in ("SoundPass", "margins_of", "composite", "closed_in_box"):
        if name in vars(other) and vars(other)[name].__module__ == module.__name__:
            monkeypatch.setattr(evaluate, name, vars(other)[name])
    if module is composite:
        monkeypatch.setattr(test_composite, "composite", other.composite)


def ups(bits):
    """One, and numbers that each round the sum up by 0.9 units: executed 1 + 48 u, exactly 1 + 26.4 u."""
    unit = 2.0**-bits
    return np.array([1.0] + COUNT * [float(rounded(np.array(1.1), 8)) * unit])


def root(bits):
    """Numbers whose squares are about those of `ups`."""
    return float(rounded(np.sqrt(np.array(1.2 * 2.0**-bits)), 6))


class Case:
    """A net with a center, a radius and a point of its ball, whose gaps are executed."""

    def __init__(self, weights, center, bias=None, point=None, model=None, label=0, seed=None):
        made = dense_model([np.atleast_2d(w) for w in weights], bias, None) if weights else model
        self.net, self.label, self.seed = Network(made), label, seed
        self.x = np.asarray(center, "float32")[None]
        self.point = self.x.astype("float64") if point is None else np.asarray(point)[None]
        distance = np.linalg.norm(self.point - self.x)
        self.epsilon = np.array([distance * (1 + 1e-15)])

    def holds(self, bits, evaluator, backwards):
        execution = Execution(2.0**-bits, 0.0)
        got = evaluator(self.net, execution)(
            self.x, np.array([self.label]), self.epsilon, global_norms, backwards
        )
        executed = emulated(self.net, self.point, bits, self.seed)[0]
        others = np.arange(len(executed)) != self.label
        gaps = executed[self.label] - executed
        if not (gaps >= got.margins.each[0])[others].all():
            return False
        exact = forward(self.net, self.x)[self.net.logits.index][0]
        return bool(self.epsilon[0] > 0 or (np.abs(executed - exact) <= got.error[0]).all())


def zeros(row):
    return np.stack([row, 0 * row])


def sum_up(bits):
    """The rival's logit rises by the sum's rounding."""
    row = np.ones(COUNT + 1)
    return Case([zeros(row)], ups(bits), label=1)


def sum_down(bits):
    """The label's logit falls."""
    return Case([zeros(-np.ones(COUNT + 1))], ups(bits))


def bias_first(bits):
    """The bias begins the sum; what is added to it is lost."""
    row, x = np.ones(COUNT), np.full(COUNT, 2.0**-bits)
    return Case([zeros(row)], x, [np.array([1.0, 0.0])], seed=1)


def moves(bits):
    """The center is zero; only the point's sum is rounded."""
    w = np.array([1.0] + COUNT * [root(bits)])
    return Case([zeros(-w)], 0 * w, point=w)


def moves_hidden(bits):
    """The same for a hidden unit."""
    w = np.array([1.0] + COUNT * [root(bits)])
    return Case([w, np.array([[-1.0], [0.0]])], 0 * w, point=w)


def moves_steep(bits):
    """A hidden unit whose slope is above one makes larger what was rounded, in more steps than its own."""
    w = np.array([1.0] + 4 * COUNT * [root(bits)])
    start = keras.Input((len(w),))
    first, last = layers.Dense(1, use_bias=False), layers.Dense(2, use_bias=False)
    model = keraslip.LocalLipschitzModel(start, last(layers.LeakyReLU(16.0)(first(start))))
    first.set_weights([w[:, None]])
    last.set_weights([np.array([[1.0, 0.0]])])
    return Case(None, 0 * w, point=-w, model=model)


def hidden(bits):
    """A hidden unit's sum rounds up at the center."""
    row = np.ones(COUNT + 1)
    return Case([row, np.array([[-1.0], [0.0]])], ups(bits))


def opens(bits):
    """A hidden unit that is closed by exact arithmetic opens by rounding."""
    row, bias = np.ones(COUNT + 1), -1 - 1.5 * COUNT * 2.0**-bits
    return Case([row, np.array([[-1.0], [0.0]])], ups(bits), [np.array([bias]), np.zeros(2)])


def two_layers(bits):
    """No activation between two layers: the second carries the first one's rounding."""
    start = keras.Input((COUNT + 1,))
    first, last = layers.Dense(1, use_bias=False), layers.Dense(2, use_bias=False)
    model = keraslip.LocalLipschitzModel(start, last(first(start)))
    first.set_weights([np.ones((COUNT + 1, 1))])
    last.set_weights([np.array([[-1.0, 0.0]])])
    return Case(None, ups(bits), model=model)


def branches(bits, center):
    """A sum of branches: the input, and 24 maps that are tiny."""
    start = keras.Input((2,))
    tiny = layers.Dense(2, use_bias=False)
    model = keraslip.LocalLipschitzModel(start, layers.Add()([start] + COUNT * [tiny(start)]))
    tiny.set_weights([np.diag([ups(bits)[1], 0.0])])
    point = [-1.0, 1.0] if center == 0.0 else None
    return Case(None, [center, 0.0], point=point, model=model)


def branch_rounds(bits):
    """A sum one of whose branches is rounded."""
    start = keras.Input((COUNT + 1,))
    layer, other = layers.Dense(2, use_bias=False), layers.Dense(2, use_bias=False)
    model = keraslip.LocalLipschitzModel(start, layer(start) + other(start))
    layer.set_weights([np.stack([-np.ones(COUNT + 1), np.zeros(COUNT + 1)], axis=1)])
    other.set_weights([np.zeros((COUNT + 1, 2))])
    return Case(None, ups(bits), model=model)


def activations(bits):
    """Ten activations, each of which makes the number smaller by less than it is rounded up by."""
    unit = 2.0**-bits
    start = keras.Input((1,))
    x = start
    for _ in range(10):
        x = layers.LeakyReLU(1.0 - 0.9 * unit)(x)
    last = layers.Dense(2, use_bias=False)
    model = keraslip.LocalLipschitzModel(start, last(x))
    last.set_weights([np.array([[1.0, 0.0]])])
    return Case(None, [-1.0 - 2.0 * unit], model=model)


CARRIED = "rest.plus_rounding(inner(carried.passed, ball.error[self.samples]))"
HEAD = "rest + self._times(self.found.balls[ball].views[0], size)"
TOTAL = "self.errors[node.index] = up(error + rounding + flushed)"
SUM = "rounding = (executed + gamma(count, UNIT64)) * magnitude + executed * moved"
BOTH = "errors[pairs, label] + errors[pairs, rival]"
#: A term: module, the term, what is left of it, the case, and whether the composite bound is used.
TERMS = {
    "sum at the center": (sound_pass, "sums * larger", "0.0 * larger", sum_up, False),
    "moved part": (sound_pass, "up(at_center + executed * moved)", "up(at_center)", moves, False),
    "bias": (
        sound_pass, "center + bias, magnitude + xp.abs(bias)",
        "center + bias, magnitude", bias_first, False,
    ),
    "vector part": (
        sound_pass, "up(times(executed * operator.absolute_norm, reach))", "0.0 * reach", moves_hidden,
        False,
    ),
    "error in the radius": (sound_pass, "Reach(none, rounded, u)", "Reach(none, none, u)", hidden, False),
    "error in the box": (
        sound_pass, "total = self.errors[node.index]\n        for ball",
        "total = 0.0 * self.errors[node.index]\n        for ball", opens, False,
    ),
    "error carried by a layer": (
        sound_pass, "else applied.absolute.forward(error)", "else 0.0", two_layers, False,
    ),
    "sum of branches": (
        sound_pass, SUM, "rounding = executed * moved", lambda b: branches(b, -1.0), False,
    ),
    "moved sum of branches": (
        sound_pass, SUM, "rounding = executed * magnitude", lambda b: branches(b, 0.0), False,
    ),
    "error of branches": (
        sound_pass, TOTAL, TOTAL.replace("error + ", ""), branch_rounds, False,
    ),
    "rounding of an activation": (
        sound_pass, "= self._rounded(", "= 0.0 * self._rounded(", activations, False,
    ),
    "e_y": (
        margins, "rounding = found.logits_error + found.logits_error[samples, label][:, None]",
        "rounding = 1.0 * found.logits_error", sum_down, False,
    ),
    "e_j": (
        margins, "rounding = found.logits_error + found",
        "rounding = 0.0 * found.logits_error + found", sum_up, False,
    ),
    "error carried by an activation": (
        margins, "up(rounding + extra_rounding)", "up(rounding)", hidden, False,
    ),
    "error of logits by an activation": (
        evaluate, "up(found.logits_error + moved)", "up(found.logits_error)", hidden, False,
    ),
    "e_y of the composite": (composite, BOTH, "errors[pairs, rival]", sum_down, True),
    "e_j of the composite": (composite, BOTH, "errors[pairs, label]", sum_up, True),
    "error that the composite passes": (
        composite, CARRIED, "rest", hidden, True,
    ),
    "e_y of the box": (box, BOTH, "errors[pairs, rival]", sum_down, True),
    "e_j of the box": (box, BOTH, "errors[pairs, label]", sum_up, True),
}  # fmt: skip


@functools.cache
def case_of(make, bits):
    return make(bits)


@pytest.mark.parametrize("bits", [8, 11])
@pytest.mark.parametrize("term", TERMS)
def test_without_the_term_the_execution_is_outside(term, bits, monkeypatch):
    module, old, new, make, backwards = TERMS[term]
    case = case_of(make, bits)
    assert case.holds(bits, evaluate.Evaluator, backwards)
    other = mutated(module, (old, new))
    if module is evaluate:
        assert not case.holds(bits, other.Evaluator, backwards)
        return
    install(monkeypatch, module, other)
    assert not case.holds(bits, evaluate.Evaluator, backwards)


@pytest.mark.parametrize("bits", [11, 13])
def test_without_the_slope_the_vector_part_is_too_small(bits, monkeypatch):
    """With 8 bits the activation's own rounding would cover it."""
    case = moves_steep(bits)
    assert case.holds(bits, evaluate.Evaluator, False)
    without = mutated(sound_pass, ("rest = u.times(rest, u.largest(rows))", "pass"))
    install(monkeypatch, sound_pass, without)
    assert not case.holds(bits, evaluate.Evaluator, False)


@pytest.mark.parametrize("bits", [8, 11])
def test_rounding_of_the_input(bits):
    """Later layers leave room for it; the input's own ball does not."""
    net = case_of(sum_up, bits).net
    x = ups(bits)[None] * (1 + 0.9 * 2.0**-bits)
    moved = np.linalg.norm(rounded(x, bits) - x)
    reach = "reach = Reach(xp.ones_like(self.epsilon), rounded, u)"
    without = mutated(sound_pass, (reach, reach.replace("rounded", "0.0 * rounded")))
    for kind, covered in ((SoundPass, True), (without.SoundPass, False)):
        found = kind(net, x, np.zeros(1), global_norms, Execution(2.0**-bits, 0.0))
        assert (moved <= found.balls[0].views[0].reach.at(np.zeros(1))[0]) == covered


def test_flushed_products(monkeypatch):
    """Every product is just below the smallest number: all of them are lost."""
    smallest = 2.0**-8
    case = Case([zeros(np.full(COUNT, 0.99 * smallest))], np.ones(COUNT))
    flushed = "(written + own) * magnitude + flushed\n"
    without = mutated(sound_pass, (flushed, "(written + own) * magnitude\n"))

    def covered():
        execution = Execution(2.0**-24, smallest)
        got = evaluate.Evaluator(case.net, execution)(case.x, np.zeros(1, int), np.zeros(1))
        return bool((np.abs(got.logits) <= got.error).all())

    assert covered()
    monkeypatch.setattr(evaluate, "SoundPass", without.SoundPass)
    assert not covered()


@pytest.mark.parametrize(
    ("module", "old", "new"),
    [(composite, HEAD, "rest"), (margins, "columns, plain) + written)", "columns, plain))")],
)
def test_own_rounding_of_rows(module, old, new, monkeypatch):
    """Rows of the logits that cancel in float64."""
    test_composite.test_rows_of_the_logits_that_cancel()
    install(monkeypatch, module, mutated(module, (old, new)))
    with pytest.raises(AssertionError):
        test_composite.test_rows_of_the_logits_that_cancel()


def test_own_rounding_of_the_composite(monkeypatch):
    """Coefficients that cancel in float64; the rounding of everything around would cover it."""
    alone = (CARRIED, "rest"), (BOTH, "0.0 * errors[pairs, label]"), (HEAD, "rest")
    install(monkeypatch, composite, mutated(composite, *alone))
    test_composite.test_merged_branches_that_cancel()
    lost = ("rest = rest + self._lost_in(source, operator, carried)", "pass")
    install(monkeypatch, composite, mutated(composite, *alone, lost))
    with pytest.raises(AssertionError):
        test_composite.test_merged_branches_that_cancel()
