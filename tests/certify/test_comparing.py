"""The composite bound through MaxMin, GroupSort and max pooling, where its value is known."""

import functools

import keras
import numpy as np
import pytest
from keras import layers

import keraslip
from keraslip.certify.bound import comparing, composite
from keraslip.certify.bound.network import Network
from keraslip.certify.bound.norm_sources import global_norms
from keraslip.certify.bound.sound_pass import SoundPass
from keraslip.certify.norms.rounding import Execution
from keraslip.certify.operators import (
    WRITTEN,
    Differences,
    add,
    compose,
    differences,
    prove,
)
from keraslip.linear import ConvGeometry, TakeMap
from tests.certify.nets import EXACT, evaluated, forward, gradient, weights_alone
from tests.certify.operators import (
    Shuffled,
    conv_operator,
    dense_operator,
    reshaping,
)
from tests.certify.test_dropped_terms import BOTH, CARRIED, COUNT, HEAD, mutated, ups
from tests.certify.test_rounding import emulated

pytestmark = weights_alone

MaxMin, GroupSort, Dense = keraslip.layers.MaxMin, keraslip.layers.GroupSort, layers.Dense
#: Activations of 12 numbers.
KINDS = {
    "maxmin": lambda: MaxMin(),
    "clipped": lambda: keraslip.layers.ClippedMaxMin(upper=0.4, lower=-0.1),
    "sort 2": lambda: GroupSort(2),
    "sort 3": lambda: GroupSort(3),
    "sort 12": lambda: GroupSort(12),
    "pool": lambda: keras.Sequential(
        [layers.Reshape((12, 1)), layers.MaxPooling1D(3, 2, "same"), layers.Flatten()]
    ),
}
#: Activations of single units, for test_tight_pass.
UNITS = {
    "relu": layers.ReLU,
    "clipped relu": lambda: keraslip.layers.ClippedReLU(0.5),
    "leaky": lambda: layers.LeakyReLU(2.0),
    "tanh": lambda: layers.Activation("tanh"),
}


def network_of(act, weights, biases=None):
    """Dense layers `(in, out)` with an activation between them."""
    x = start = keras.Input((len(weights[0]),))
    for k, weight in enumerate(weights):
        layer = Dense(weight.shape[1])
        x = layer(act()(x) if k else x)
        layer.set_weights([weight, np.zeros(weight.shape[1]) if biases is None else biases[k]])
    return Network(keraslip.LocalLipschitzModel(start, x))


@functools.cache
def random_net(kind, depth=2, inputs=2):
    rng, act = np.random.default_rng(depth), (KINDS | UNITS)[kind]
    width = {"pool": 6}.get(kind, 12)
    shapes = [(inputs, 12), *[(width, 12)] * (depth - 1), (width, 3)]
    weights = [rng.standard_normal(shape) / np.sqrt(shape[0]) for shape in shapes]
    return network_of(act, weights, [0.3 * rng.standard_normal(shape[1]) for shape in shapes])


def closing(net, x, epsilon, label=0, rival=1, execution=EXACT):
    """The bound of how far a ball closes a gap, `(samples,)`."""
    found = SoundPass(net, x.astype("float64"), np.full(len(x), epsilon), global_norms, execution)
    pairs = (np.full(len(x), one) for one in (label, rival))
    return composite.composite(found, np.arange(len(x)), *pairs).at(found.epsilon)


def truth(net, x, points, label=0, rival=1):
    """How far the points `(samples, points, ...)` of a ball close it."""
    gaps = [
        (logits := forward(net, at)[net.logits.index])[:, label] - logits[:, rival]
        for at in (x.astype("float64"), points.reshape(-1, *x.shape[1:]))
    ]
    return (gaps[0][:, None] - gaps[1].reshape(len(x), -1)).max(axis=1)


def disk(x, epsilon):
    """Points all over a disk, its edge too."""
    radius, angle = np.meshgrid(np.linspace(0, 1, 40) ** 0.5, np.linspace(0, 2 * np.pi, 181))
    d = epsilon * radius[..., None] * np.stack([np.cos(angle), np.sin(angle)], axis=-1)
    return x[:, None] + d.reshape(1, -1, 2)


@pytest.mark.parametrize("depth", [1, 3])
@pytest.mark.parametrize("kind", KINDS)
def test_no_point_of_a_ball_is_beyond_it(kind, depth):
    net, better = random_net(kind, depth), []
    x = np.random.default_rng(0).uniform(size=(4, 2)).astype("float32")
    for epsilon in (0.003, 0.05, 0.4):
        plain = evaluated(net, x, 0, epsilon, backwards=False).margins
        for rival in (1, 2):
            bound, known = (
                closing(net, x, epsilon, 0, rival),
                truth(net, x, disk(x, epsilon), 0, rival),
            )
            assert (known <= bound + 1e-12).all()
            better += list(bound / (plain.gain[:, rival] * epsilon))
    assert max(better) <= 1 + 1e-9
    assert min(better) < 0.8


@pytest.mark.parametrize("kind", KINDS)
def test_where_orders_are_certain_it_is_the_gradient(kind):
    net = random_net(kind, 2, 6)
    x = np.random.default_rng(0).uniform(size=(3, 6)).astype("float32")
    slope = gradient(net, x.astype("float64"), np.tile([1.0, -1.0, 0.0], (3, 1)))
    np.testing.assert_allclose(closing(net, x, 1e-7), 1e-7 * np.linalg.norm(slope, axis=1), 1e-6)


def test_one_open_pair_is_exact():
    """The label has the larger, the rival the smaller one: the gap is |p - q|, and ends where they meet."""
    net = network_of(MaxMin, [np.eye(2), np.eye(2)])
    x, far = np.array([[0.3, 0.0]], "float32"), 0.3 / np.sqrt(2.0)
    for epsilon in (0.5 * far, far, 2.0 * far):
        # Beyond, the tangent goes on where the gap does not.
        np.testing.assert_allclose(closing(net, x, epsilon), np.sqrt(2.0) * epsilon, rtol=1e-6)
    # The other way it opens: what the far side of the kink adds is a secant.
    np.testing.assert_allclose(closing(net, x, 2.0 * far, 1, 0), np.sqrt(2.0) * 2.0 * far, 1e-6)


def test_an_order_is_seen_that_the_boxes_do_not_show():
    """Both numbers move far, and together."""
    net = network_of(
        MaxMin, [np.array([[10.0, 9.9]]), np.eye(2)], [np.array([0.2, 0.0]), np.zeros(2)]
    )
    np.testing.assert_allclose(closing(net, np.zeros((1, 1), "float32"), 1.0), 0.1, rtol=1e-4)


# --- Without a term the bound is exceeded --------------------------------------------------------------


def open_pairs():
    """Four pairs x and -x at zero: the rival has their maxima, the label their minima."""
    head = np.repeat([[0.0, 1.0], [1.0, 0.0]], 4, axis=0)
    net = network_of(MaxMin, [np.concatenate([np.eye(4), -np.eye(4)], axis=1), head])
    x = np.zeros((1, 4), "float32")
    return net, x, np.full((1, 1, 4), 0.05), 0.1


def one_hides_another():
    """The second of three does not move; the first one, smaller at the center, passes both."""
    rows, bias = np.array([[5.0, 0.0, 0.0]]), np.array([0.0, 0.1, 0.3])
    head = np.array([[0.0, 0.0], [0.0, 0.0], [0.0, 1.0]])
    net = network_of(lambda: GroupSort(3), [rows, head], [bias, np.zeros(2)])
    return net, np.zeros((1, 1), "float32"), np.full((1, 1, 1), 0.1), 0.1


def clipped_by_the_second():
    """The maximum lies beyond its clip, and comes back by the second of a pair."""
    rows, bias = np.array([[0.0, 5.0]]), np.array([0.1, 0.35])
    act = functools.partial(keraslip.layers.ClippedMaxMin, upper=0.3, lower=-9.0)
    net = network_of(act, [rows, np.eye(2)[:, :2]], [bias, np.zeros(2)])
    return net, np.zeros((1, 1), "float32"), np.full((1, 1, 1), -0.05), 0.05


def padded_pool():
    """Negative numbers: the zeros of the padding would win."""
    start = keras.Input((3,))
    x = layers.MaxPooling1D(2, 2, "same")(layers.Reshape((3, 1))(Dense(3, name="d")(start)))
    model = keraslip.LocalLipschitzModel(start, Dense(2, name="e")(layers.Flatten()(x)))
    model.get_layer("d").set_weights([np.eye(3), np.full(3, -5.0)])
    model.get_layer("e").set_weights([np.array([[0.0, 0.0], [0.0, 1.0]]), np.zeros(2)])
    return Network(model), np.zeros((1, 3), "float32"), np.array([[[0.0, 0.0, 0.1]]]), 0.1


def holds(net, x, points, epsilon):
    return bool((truth(net, x, points) <= closing(net, x, epsilon) * (1 + 1e-9)).all())


@pytest.mark.parametrize(
    ("old", "new", "case"),
    [
        ("left.append(rest)\n            same", "same", open_pairs),
        ("back(half, rows, _ROOT)", "back(half, rows, 1.0)", open_pairs),
        ("either = np.maximum(mine, other)", "either = mine", one_hides_another),
        ("either = np.maximum(mine, other)", "either = mine", clipped_by_the_second),
        ("        self._leave_out()\n", "", padded_pool),
    ],
)
def test_without_a_term_a_point_is_beyond_it(old, new, case, monkeypatch):
    case = case()
    assert holds(*case)
    monkeypatch.setattr(composite, "Compared", mutated(comparing, (old, new)).Compared)
    assert not holds(*case)


def test_own_rounding_of_comparisons(monkeypatch):
    """A coefficient of 60 is lost where it is added to 2^60, and subtracted from it."""
    head = np.array([[2.0**60, 0.0], [60.0, 0.0]])
    net = network_of(MaxMin, [np.array([[0.0, 1.0]]), head], [np.array([0.5, 0.0]), np.zeros(2)])
    case = net, np.zeros((1, 1), "float32"), np.full((1, 1, 1), -1.0), 1.0
    # The rounding of everything around would cover it.
    logits = (BOTH, "0.0 * errors[pairs, label]")
    alone = mutated(composite, (CARRIED, "rest"), (HEAD, "rest"), logits)
    monkeypatch.setattr(composite, "composite", alone.composite)
    assert holds(*case)
    size = "size[i] + size[j], size[i] + size[j]"
    alone.Compared = mutated(comparing, (size, "0.0 * half, 0.0 * half")).Compared
    assert not holds(*case)


@pytest.mark.parametrize("bits", [8, 11])
def test_rounding_may_swap_a_pair(bits, monkeypatch):
    """Of two numbers the smaller one is rounded up beyond the larger one."""
    rows = np.stack([np.ones(COUNT + 1), np.zeros(COUNT + 1)], axis=1)
    bias = np.array([0.0, 1.0 + 1.5 * COUNT * 2.0**-bits])
    net = network_of(MaxMin, [rows, np.array([[-1.0, 0.0], [0.0, 0.0]])], [bias, np.zeros(2)])
    x, execution = ups(bits)[None], Execution(2.0**-bits, 0.0)
    exact, executed = forward(net, x)[net.logits.index][0], emulated(net, x, bits, None)[0]
    lost = exact[0] - executed[0]
    assert lost > 0
    assert lost <= closing(net, x, 0.0, execution=execution)[0]
    # What the logits round, and what the activation's input carries, would cover it.
    error = "_column(error, first) + _column(error, second)"
    alone = mutated(composite, (CARRIED, "rest"), (BOTH, "0.0 * errors[pairs, label]"))
    monkeypatch.setattr(composite, "composite", alone.composite)
    assert lost <= closing(net, x, 0.0, execution=execution)[0]
    alone.Compared = mutated(comparing, (error, "0.0 * _column(error, first)")).Compared
    assert not lost <= closing(net, x, 0.0, execution=execution)[0]


# --- Differences of rows -----------------------------------------------------------------------------


def some_operators():
    rng = np.random.default_rng(0)
    kernel, image = rng.standard_normal((3, 2, 4, 6)), (5, 4, 4)
    conv, same = conv_operator(kernel, image, ConvGeometry()), ConvGeometry(padding="same")
    grouped = conv_operator(kernel[:, :, :2], image, ConvGeometry(groups=2))
    dense = dense_operator(rng.standard_normal((8, 6)), (8,))
    taken = prove(TakeMap(conv.out_shape, (None, (0, 1, 1, 2), None)))
    shuffled = prove(Shuffled((6,), source=(3, -1, 0, 5, 1, -1, 4, 2)))
    return {
        "dense": dense,
        "dense of sequences": dense_operator(rng.standard_normal((3, 4)), (2, 3)),
        "dense of an image": compose(dense, reshaping((2, 2, 2), (8,))),
        "dense of what was moved": compose(dense, shuffled),
        "moved dense": compose(prove(Shuffled((6,), source=(3, -1, 0, 5, 1, -1, 4, 2))), dense),
        "conv": conv,
        "padded conv": conv_operator(kernel, image, same),
        "conv in groups": grouped,
        "windows of a conv": compose(taken, conv),
        "reshaped conv": compose(reshaping(conv.out_shape, (9, 6)), conv),
        "a sum": add([dense, dense_operator(rng.standard_normal((8, 6)), (8,))]),
    }


@pytest.mark.parametrize("budget", [0, WRITTEN])
@pytest.mark.parametrize("name", some_operators())
def test_differences_of_rows(name, budget):
    operator, rng = some_operators()[name], np.random.default_rng(1)
    basis = np.eye(operator.inputs).reshape(-1, *operator.in_shape)
    matrix = operator.forward(basis).reshape(operator.inputs, -1).T
    pairs = rng.permutation(operator.outputs)[: operator.outputs // 2 * 2].reshape(2, -1)
    if "conv" in name and "windows" not in name:
        # Two channels at one position.
        pairs = np.arange(operator.outputs).reshape(-1, 2).T
    found = Differences(operator, *pairs, budget)
    for columns in (None, rng.uniform(size=(3, *operator.in_shape)).round(1)):
        weights = np.ones((1, operator.inputs)) if columns is None else columns.reshape(3, -1)
        true = np.linalg.norm((matrix[pairs[0]] - matrix[pairs[1]]) * weights[:, None], axis=2)
        bound = np.broadcast_to(found.norms(columns), true.shape)
        assert (true <= bound).all()
        whole = "conv" in name and (columns is not None or name == "padded conv")
        if budget and not (whole and "groups" not in name and "windows" not in name):
            np.testing.assert_allclose(bound, true, rtol=1e-8)


def test_slack_of_a_coefficient_does_not_cancel(monkeypatch):
    """Two equal rows, each of whose coefficients may be off by a tenth."""
    first, second = np.array([0]), np.array([1])

    def bound(kind):
        return kind(dense_operator(np.ones((3, 2)), (3,), 0.1), first, second).norms(None)[0, 0]

    assert bound(Differences) >= 0.2 * np.sqrt(3.0)
    without = mutated(differences, ("if self.operator.slack:", "if False:"))
    assert bound(without.Differences) < 0.2 * np.sqrt(3.0)


def test_extreme_numbers_are_not_squared():
    tiny = dense_operator(np.array([[1e-300, -1e-300]]), (1,))
    assert Differences(tiny, np.array([0]), np.array([1])).norms(None)[0, 0] >= 2e-300


@pytest.mark.parametrize("first", [2, 6])
def test_two_activations_may_group_one_tensor_in_two_ways(first):
    """Their pairs share the first places alone; each has norms of its own."""
    rng = np.random.default_rng(0)
    inputs = keras.Input((4,))
    z = Dense(6, name="hidden")(inputs)
    parts = {size: GroupSort(size)(z) for size in (first, 8 - first)}
    made = keraslip.LocalLipschitzModel(
        inputs, Dense(3, name="last")(layers.Concatenate()([parts[2], parts[6]]))
    )
    kernel = rng.standard_normal((4, 6))
    kernel[:, 1] = kernel[:, 0] + 1e-6  # the first pair moves as one, the others do not
    made.get_layer("hidden").set_weights([kernel, rng.standard_normal(6)])
    made.get_layer("last").set_weights([rng.standard_normal((12, 3)), np.zeros(3)])
    net, x = Network(made), np.random.default_rng(1).uniform(size=(4, 4)).astype("float32")
    label = forward(net, x)[net.logits.index].argmax(axis=1)
    found = evaluated(net, x, label, 0.3).margins.least
    # Those of both orders, with norms that are not kept.
    np.testing.assert_allclose(
        found, [-1.12533587, -0.57327854, -2.45615111, -1.86123138], rtol=1e-6
    )
