"""`model.certify` from end to end: every status, every kind of data, every way to be interrupted."""

import functools
from dataclasses import replace

import keras
import numpy as np
import pytest
from keras import layers
from threadpoolctl import threadpool_info

import keraslip
from keraslip.certify import Certificates, CertificateViolation
from keraslip.certify.bound.evaluate import Evaluator
from keraslip.certify.bound.network import Network
from keraslip.certify.bound.norm_sources import (
    LocalNorms,
    expected_norms,
    global_norms,
    probabilistic,
)
from keraslip.certify.bound.sound_pass import SoundPass
from keraslip.certify.execution import block, executed
from keraslip.certify.norms.rounding import Execution
from keraslip.certify.operators.kernels import ProvedConv, ProvedDense
from keraslip.certify.result.status import CERTIFIED_BY
from keraslip.certify.run import cascade, certifier
from tests.certify.nets import dense_model, evaluated, forward, inputs, model, network
from tests.certify.operators import dense_operator
from tests.certify.test_inputs import Batches

WIDTH = 16  # of the dense pairs
QUIET = {"batch_size": 8, "verbose": False}
NAMES = ("label", "certified", "margin", "lipschitz", "status", "epsilon")


@pytest.fixture(autouse=True)
def _folder(tmp_path, monkeypatch):
    """No test leaves a file behind."""
    monkeypatch.setenv("KERASLIP_VIOLATIONS", str(tmp_path / "violations"))


def assert_same(one, other, names=NAMES):
    for name in names:
        left, right = getattr(one, name), getattr(other, name)
        if left.dtype.kind == "f":
            np.testing.assert_allclose(left, right, rtol=1e-9, atol=1e-12, err_msg=name)
        else:
            np.testing.assert_array_equal(left, right, err_msg=name)


@functools.cache
def linear():
    """Logits (2 x0, 2 x1, -9)."""
    return dense_model([np.array([[2.0, 0], [0, 2], [0, 0]])], [np.array([0, 0, -9.0])])


def test_of_large_images_few_run_at_once(monkeypatch):
    made, x = model("skip"), inputs("skip", 5)
    usual, sizes = made.certify(x, epsilon=0.05, verbose=False), []
    monkeypatch.setattr(cascade, "_NUMBERS", 2 * network("skip").entries)
    in_batches = executed.in_batches

    def seen(call, arrays, size):
        sizes.append(size)
        return in_batches(call, arrays, size)

    monkeypatch.setattr(executed, "in_batches", seen)
    assert_same(usual, made.certify(x, epsilon=0.05, verbose=False))
    assert set(sizes) == {2}


def pairs(convolution):
    """Clipped pairs of which one is huge and constant: only norms of what varies see that."""
    rng = np.random.default_rng(0)
    shape = (4, 4, 1) if convolution else (6,)
    start = keras.Input(shape)
    layer = layers.Conv2D(4, 3, padding="same") if convolution else layers.Dense(WIDTH)
    x = keraslip.layers.ClippedMaxMin(3.0, -3.0)(layer(start))
    # What is open behind it depends on the radius there, and that on the norm before.
    middle, logits = layers.Dense(WIDTH), layers.Dense(3)
    x = keraslip.layers.MaxMin()(middle(layers.Flatten()(x)))
    made = keraslip.LocalLipschitzModel(start, logits(x))
    kernel = rng.standard_normal(layer.kernel.shape)
    huge = np.arange(kernel.shape[-1]) % 2 == 1
    half = np.arange(kernel.shape[-1]) < kernel.shape[-1] // 2
    kernel[..., huge] *= 50.0
    layer.set_weights([kernel, np.where(huge, np.where(half, 1e4, -1e4), 0.0)])
    middle.set_weights([rng.standard_normal(middle.kernel.shape) / 3, np.zeros(WIDTH)])
    kernel = rng.standard_normal(logits.kernel.shape)
    logits.set_weights([kernel, np.array([8.0, 0.0, 0.0])])
    return made


@functools.cache
def staged(kind):
    """A model and inputs, and the largest epsilons at which global and local norms certify them all."""
    made = pairs(kind == "convolution")
    net = Network(made)
    shape = made.inputs[0].shape[1:]
    x = np.random.default_rng(1).uniform(size=(3, *shape)).astype("float32")
    label = forward(net, x)[net.logits.index].argmax(axis=1)
    largest = []
    for norms in ("global", "local"):
        steps = np.geomspace(1e-3, 30, 120)
        good = [
            (evaluated(net, x, label, epsilon, norms).margins.least > 0).all() for epsilon in steps
        ]
        largest.append(steps[np.argmin(good) - 1])
    assert largest[1] > 1.3 * largest[0]
    return made, x, label, largest


LINEAR_X = np.array([[0.9, 0.1], [0.52, 0.5], [0.9, 0.1], [0.5, 0.5], [3e38, 0.1]], "float32")
LINEAR_Y = np.array([0, 0, 1, 0, 0])


def test_every_status_of_a_linear_net():
    found = linear().certify(LINEAR_X, LINEAR_Y, epsilon=0.1, **QUIET)
    expected = ["slopes", "attacked", "misclassified", "tied", "nonfinite"]
    assert found.status.tolist() == expected
    assert found.certified.tolist() == [True, False, False, False, False]
    np.testing.assert_allclose(
        found.margin[:2], [1.6 - 0.2 * 2**0.5, 0.04 - 0.2 * 2**0.5], atol=1e-5
    )
    assert found.margin[2] < 0 and not found.margin[3] > 0 and not found.margin[4] > 0
    np.testing.assert_allclose(found.lipschitz[:3], 2.0, rtol=1e-5)
    (index,) = found.counterexamples
    point = found.counterexamples[index]
    assert index == 1 and np.linalg.norm(point - LINEAR_X[1]) <= 0.1 and point[1] >= point[0]
    assert (found.epsilon == 0.1).all() and found.radius is None and found.complete
    assert abs(sum(found.shares.values()) - 1) < 1e-12
    assert found.certified_accuracy(LINEAR_Y) == 0.2
    assert found.guarantee == "proved" and found.arithmetic == "float32"
    for key in ("effort", "conv", "seed", "network", "backend", "versions"):
        assert key in found.details


@pytest.fixture
def no_boxes(monkeypatch):
    """Narrower boxes would do what norms of convolutions are to do here."""
    monkeypatch.setattr(cascade.Cascade, "_boxes", lambda *_: None)


@pytest.mark.parametrize("kind", ["dense", "convolution"])
def test_the_stage_that_settles_is_the_status(kind, no_boxes):
    made, x, label, (whole, local) = staged(kind)
    for epsilon, status in ((whole * 0.9, "slopes"), ((whole * local) ** 0.5, kind)):
        found = made.certify(x, label, epsilon=epsilon, **QUIET)
        assert found.certified.all() and status in found.status
        assert set(found.status) <= set(CERTIFIED_BY) & {"slopes", kind}
        assert (found.margin > 0).all()
    found = made.certify(x, label, epsilon=local * 1.2, **QUIET)
    assert "unknown" in found.status and "misclassified" not in found.status
    assert np.isfinite(found.margin).all() and (found.margin[~found.certified] <= 0).all()
    frozen = made.certify(x, label, epsilon=(whole * local) ** 0.5, effort="frozen", **QUIET)
    assert set(frozen.status) <= {"slopes", "unknown"} and not frozen.certified.all()
    assert not frozen.counterexamples


def test_modes_of_convolutions(no_boxes):
    made, x, label, (whole, local) = staged("convolution")
    epsilon = (whole * local) ** 0.5
    found = {
        mode: made.certify(x, label, epsilon=epsilon, conv=mode, **QUIET)
        for mode in ("global", "local", "auto")
    }
    assert "convolution" not in found["global"].status
    assert_same(found["local"], found["auto"])
    assert found["auto"].certified.sum() > found["global"].certified.sum()
    assert (found["auto"].margin >= found["global"].margin - 1e-9).all()


def test_local_norms_are_not_tried_where_they_cannot_help(monkeypatch):
    made, x, label, (_, local) = staged("convolution")
    calls = []
    norm = ProvedConv.local_norm
    monkeypatch.setattr(
        ProvedConv, "local_norm", lambda self, *args: calls.append(1) or norm(self, *args)
    )
    hopeless = local * 30
    made.certify(x, label, epsilon=hopeless, conv="auto", **QUIET)
    assert not calls
    made.certify(x, label, epsilon=hopeless, conv="local", **QUIET)
    open_samples = (
        made.certify(x, label, epsilon=hopeless, conv="global", **QUIET).status == "unknown"
    )
    assert bool(calls) == bool(open_samples.any())


def test_guesses_are_from_below_and_close():
    rng = np.random.default_rng(0)
    for _, operator in Network(staged("convolution")[0]).operators():
        rows, columns = (
            rng.uniform(size=(3, *shape)) * rng.integers(2, size=(3, *shape))
            for shape in (operator.out_shape, operator.in_shape)
        )
        columns[2] = 0.0  # nothing is open
        guess = expected_norms(operator, rows, columns)
        proved = [operator.local_norm(*pair) for pair in zip(rows, columns, strict=True)]
        assert (guess <= np.multiply(proved, 1.0 + 1e-5)).all()
        assert (guess >= np.multiply(proved, 0.97)).all() and guess[2] == 0.0
        # A norm that hardly gains is left as it is.
        whole = expected_norms(operator, None, None)
        assert not operator.costly or whole == global_norms(operator, None, None)


@pytest.mark.parametrize("effort", ["full", "frozen"])
def test_labels(effort):
    made, x = model("clipped"), inputs("clipped", 6)
    options = {"epsilon": 0.02, "effort": effort, **QUIET}
    found = made.certify(x, **options)
    logits = keras.ops.convert_to_numpy(made(x, training=False))
    np.testing.assert_array_equal(found.label, logits.argmax(axis=1))
    assert found.label.dtype == "int64" and found.certified.any()
    for y in (found.label, found.label[:, None], np.eye(3)[found.label]):
        assert_same(found, made.certify(x, y, **options))
    wrong = (found.label + 1) % 3
    refuted = made.certify(x, wrong, **options)
    assert (refuted.status == "misclassified").all() and not refuted.certified.any()
    np.testing.assert_array_equal(refuted.label, wrong)
    assert refuted.certified_accuracy(wrong) == 0.0


def test_epsilons():
    made, x = model("clipped"), inputs("clipped", 6)
    radii = np.array([0.0, 0.01, 0.02, 0.3, 1.0, 1e8])
    found = made.certify(x, epsilon=radii, **QUIET)
    np.testing.assert_array_equal(found.epsilon, radii)
    for i, epsilon in enumerate(radii):
        alone = made.certify(x[i : i + 1], epsilon=epsilon, **QUIET)
        np.testing.assert_allclose(alone.margin, found.margin[i : i + 1], rtol=1e-9)
    assert found.certified[0] and not found.certified[5]
    assert not made.certify(x, epsilon=1e8, **QUIET).certified.any()
    np.testing.assert_array_equal(made.certify(x, epsilon=1, **QUIET).epsilon, 1.0)
    # One stage for both: a sample that the first stage certifies goes no further.
    smaller, larger = (
        made.certify(x, epsilon=each, effort="frozen", **QUIET) for each in (np.float32(0.01), 0.02)
    )
    assert (smaller.margin > larger.margin).all()


@pytest.mark.parametrize(
    ("epsilon", "message"),
    [
        (np.nan, "finite number >= 0"),
        (np.inf, "finite number >= 0"),
        (-0.1, "finite number >= 0"),
        (True, "finite number >= 0"),
        ("0.1", "finite number >= 0"),
        ([0.1] * 5, "one for each sample. Received: 5 numbers"),
        ([0.1] * 7, "one for each sample. Received: 7 numbers"),
        ([0.1] * 5 + [np.nan], "finite and >= 0"),
        ([0.1] * 5 + [-1.0], "finite and >= 0"),
        ([[0.1] * 6], "one for each sample. Received: shape"),
        (["a"] * 6, "dtype"),
        (None, "Pass epsilon, or compile"),
    ],
)
def test_epsilons_that_are_refused(epsilon, message):
    with pytest.raises(ValueError, match=message):
        model("clipped").certify(inputs("clipped", 6), epsilon=epsilon, **QUIET)


def test_the_compiled_epsilon_is_the_default():
    made = dense_model([np.eye(3)])
    made.compile("sgd", epsilon=0.25, input_range=None)
    x = np.array([[0.9, 0.1, 0.2]], "float32")
    assert made.certify(x, **QUIET).epsilon[0] == 0.25


def test_streams(backend):
    made, x = model("clipped"), inputs("clipped", 6)
    y = made.certify(x, epsilon=0.02, **QUIET).label
    y[2] = (y[2] + 1) % 3
    expected = made.certify(x, y, epsilon=0.02, **QUIET)
    batches = [(x[:4], y[:4]), (x[4:], y[4:])]
    streams = {"generator": (batch for batch in batches), "PyDataset": Batches(batches)}
    if backend == "tensorflow":
        import tensorflow as tf

        streams["tf.data"] = tf.data.Dataset.from_tensor_slices((x, y)).batch(4)
    if backend == "torch":
        import torch

        data = torch.utils.data.TensorDataset(torch.tensor(x), torch.tensor(y))
        streams["DataLoader"] = torch.utils.data.DataLoader(data, batch_size=4)
    for stream in streams.values():
        assert_same(made.certify(stream, epsilon=0.02, **QUIET), expected)
    unlabelled = made.certify((batch[0] for batch in batches), epsilon=0.02, **QUIET)
    assert_same(unlabelled, made.certify(x, epsilon=0.02, **QUIET))
    radii = np.linspace(0, 0.1, 6)
    found = made.certify((batch for batch in batches), epsilon=radii, **QUIET)
    np.testing.assert_array_equal(found.epsilon, radii)
    for count in (5, 7):
        with pytest.raises(ValueError, match=f"one for each sample. Received: {count} numbers"):
            made.certify((batch for batch in batches), epsilon=np.full(count, 0.1), **QUIET)
    with pytest.raises(ValueError, match="empty"):
        made.certify(iter([]), epsilon=0.1, **QUIET)
    with pytest.raises(ValueError, match="brings its own labels"):
        made.certify((batch for batch in batches), y, epsilon=0.1, **QUIET)


@pytest.mark.any_backend("NumPy alone")
@pytest.mark.parametrize("threads", [2, 5, 40])
def test_chunks_in_threads_are_those_in_a_row(threads):
    made, limited = model("residual"), []
    net, x = Network(made), inputs("residual", 30)
    labels, radii = forward(net, x)[net.logits.index].argmax(axis=1), np.full(30, 0.05)

    def watched(*given):
        blas = [lib["num_threads"] for lib in threadpool_info() if lib["user_api"] == "blas"]
        limited.append(max(blas))
        return SoundPass(*given)

    one, many = (
        Evaluator(net, Execution.of("float32"), batch_size=20, threads=count)(
            x, labels, radii, backwards=True, kind=watched if count > 1 else None
        )
        for count in (1, threads)
    )
    assert len(limited) == -(-30 // max(1, 20 // threads)) and set(limited) == {1}
    for name in ("lipschitz", "logits", "error"):
        np.testing.assert_allclose(getattr(one, name), getattr(many, name), rtol=1e-12)
    np.testing.assert_allclose(one.margins.least, many.margins.least, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("workers", [1, 2])
def test_threads_change_nothing(workers):
    made, x, label, (whole, local) = staged("dense")
    found = made.certify(x, label, epsilon=(whole * local) ** 0.5, workers=workers, **QUIET)
    assert_same(found, made.certify(x, label, epsilon=(whole * local) ** 0.5, **QUIET))


def test_order_and_company_change_nothing():
    made, x = model("residual"), inputs("residual", 5)
    radii = np.array([0.05, 0.02, 0.3, 0.1, 0.0])
    together = made.certify(x, epsilon=radii, **QUIET)
    order = np.array([3, 1, 4, 0, 2])
    shuffled = made.certify(x[order], epsilon=radii[order], **QUIET)
    alone = [made.certify(x[i : i + 1], epsilon=radii[i], **QUIET) for i in range(5)]
    for name in ("margin", "lipschitz"):
        known = getattr(together, name)
        np.testing.assert_allclose(getattr(shuffled, name), known[order], rtol=1e-9)
        np.testing.assert_allclose(
            np.concatenate([getattr(one, name) for one in alone]), known, rtol=1e-9
        )
    np.testing.assert_array_equal(shuffled.certified, together.certified[order])


def test_arithmetic():
    made, x = model("clipped"), inputs("clipped", 6)
    executed = made.certify(x, epsilon=0.05, **QUIET)
    ideal = made.certify(x, epsilon=0.05, arithmetic="float64", **QUIET)
    assert ideal.arithmetic == "float64"
    assert (ideal.margin > executed.margin).all()
    np.testing.assert_allclose(ideal.margin, executed.margin, atol=1e-4)


def test_guarantees():
    made, x, label, (whole, local) = staged("convolution")
    epsilon = (whole * local) ** 0.5
    proved = made.certify(x, label, epsilon=epsilon, **QUIET)
    likely = made.certify(x, label, epsilon=epsilon, guarantee="probabilistic", **QUIET)
    assert likely.guarantee == "probabilistic" and likely.details["delta"] == 1e-9
    np.testing.assert_allclose(likely.lipschitz, proved.lipschitz, rtol=0.02)
    assert likely.certified.sum() >= proved.certified.sum() - 1
    again = made.certify(x, label, epsilon=epsilon, guarantee="probabilistic", **QUIET)
    assert again.details["seed"] != likely.details["seed"]  # never a fixed seed
    made = model("clipped")
    x = inputs("clipped", 6)
    guessed = made.certify(x, epsilon=0.02, guarantee="estimate", batch_size=8)
    assert guessed.guarantee == "estimate" and not guessed.certified.any()
    assert guessed.estimated.any() and "power_iterations" in guessed.details
    assert set(guessed.status) <= {"estimated", "not estimated"}
    for options in ({"epsilon": [0.1] * 6}, {"epsilon": 0.1, "radius": True}):
        with pytest.raises(ValueError, match="guarantee='estimate' takes one epsilon"):
            made.certify(x, guarantee="estimate", **options)


def test_probabilistic_norms_are_above_the_norm():
    rng = np.random.default_rng(0)
    norms = LocalNorms(True, probabilistic(1e-9, np.random.default_rng(1)))
    for operator in (
        dense_operator(rng.standard_normal((20, 30)), (20,)),
        next(op for _, op in network("residual").operators()),
    ):
        for _ in range(5):
            rows = rng.uniform(size=(2, *operator.out_shape)) * (rng.uniform(size=2) < 0.8).reshape(
                2, *(1,) * len(operator.out_shape)
            )
            columns = rng.uniform(size=(2, *operator.in_shape))
            found = norms(operator, rows, columns)
            basis = np.eye(operator.inputs).reshape(-1, *operator.in_shape)
            for i in range(2):
                block = operator.forward(basis * columns[i]) * rows[i]
                truth = np.linalg.norm(block.reshape(operator.inputs, -1), 2)
                assert truth <= found[i] <= operator.norm * (1 + 1e-9)
                assert found[i] <= truth * 1.05 or found[i] >= operator.norm * 0.99


@pytest.mark.parametrize("name", ["clipped", "clipped maxmin", "residual"])
def test_local_lipschitz(name):
    made, x = model(name), inputs(name)
    for epsilon in (0.0, 0.05, np.array([0.01, 0.1, 1.0])):
        found = made.local_lipschitz(x, epsilon=epsilon, batch_size=8)
        known = evaluated(network(name), x, 0, epsilon, "dense", False, hard=True)
        np.testing.assert_allclose(found, known.lipschitz, rtol=1e-12)
        likely = made.local_lipschitz(x, epsilon=epsilon, guarantee="probabilistic")
        np.testing.assert_allclose(likely, found, rtol=0.03)
    soft = evaluated(network(name), x, 0, 0.05, "dense", False)
    assert (soft.lipschitz <= made.local_lipschitz(x, epsilon=0.05) * 1.005).all()
    guessed = made.local_lipschitz(x, epsilon=0.05, guarantee="estimate")
    assert (guessed <= found.max() * 1.01).all() and (guessed > 0).all()
    with pytest.raises(ValueError, match="one epsilon"):
        made.local_lipschitz(x, epsilon=[0.1] * 3, guarantee="estimate")


def test_radii():
    made, x = model("clipped"), inputs("clipped", 6)
    y = made.certify(x, epsilon=0.0, **QUIET).label
    y[3] = (y[3] + 1) % 3
    found = made.certify(x, y, epsilon=0.02, radius=True, **QUIET)
    assert found.radius.shape == (6,) and found.radius[3] == 0.0
    assert (found.radius[found.certified] >= 0.02).all()
    assert (found.radius[~found.certified] <= 0.021).all()
    assert (found.curve(y, [0.0, 0.02]) >= [found.certified_accuracy(y)] * 2).all()
    # A radius is certified at every smaller epsilon, and hardly more is by the same bound.
    right = np.flatnonzero(found.radius > 0)
    for share in (0.01, 0.4, 0.8, 0.999):
        at = made.certify(x[right], epsilon=found.radius[right] * share, **QUIET)
        assert at.certified.all()
    frozen = made.certify(x, y, epsilon=0.02, radius=True, effort="frozen", **QUIET)
    assert (frozen.radius <= found.radius * 1.01).all()
    right = np.flatnonzero(frozen.radius > 0)
    beyond = frozen.radius[right] * 1.03
    assert not made.certify(x[right], epsilon=beyond, effort="frozen", **QUIET).certified.any()


def test_the_radius_where_nothing_moves():
    """A constant net, and one with a branch of zeros: no norm to begin the search with."""
    start = keras.Input((3,))
    dead = layers.ReLU()(layers.Dense(3, kernel_initializer="zeros")(start))
    last, moving = layers.Dense(3), layers.Dense(3, use_bias=False)
    for logits, least in ((last(dead), 1e6), (last(dead) + moving(start), 7.0)):
        made = keraslip.LocalLipschitzModel(start, logits)
        last.set_weights([np.zeros((3, 3)), np.array([1.0, 0, 0])])
        moving.set_weights([0.1 * np.eye(3)])
        found = made.certify(np.zeros((2, 3), "float32"), epsilon=0.0, radius=True, **QUIET)
        assert (found.radius >= least).all()
        assert least > 7 or (found.radius <= 1 / (0.1 * 2**0.5)).all()
        options = {"epsilon": 0.0, "radius": True, "arithmetic": "float64", **QUIET}
        ideal = made.certify(np.zeros((2, 3), "float32"), **options)
        assert np.isinf(ideal.radius).all() == (least > 7)


def test_small_weights_are_not_taken_for_none():
    """The product of their norms underflows."""
    tiny = [np.full((1, 1), 2.0**-120)] * 10
    assert np.prod([weight.item() for weight in tiny]) == 0.0
    assert not Network(dense_model(tiny)).is_constant
    assert Network(dense_model([*tiny[:3], np.zeros((2, 1))])).is_constant


class Stopped:
    """A method that is interrupted at its n-th call."""

    def __init__(self, method, call):
        self.method, self.left = method, call

    def __call__(self, *args, **kwargs):
        self.left -= 1
        if self.left == 0:
            raise KeyboardInterrupt
        return self.method(*args, **kwargs)

    def __get__(self, owner, kind=None):
        return functools.partial(self, owner)


@pytest.mark.parametrize(
    ("method", "call", "options"),
    [
        ("_stage", 1, {}), ("_stage", 2, {}), ("_stage", 5, {}), ("_attack", 2, {}),
        ("balls", 2, {}), ("_radius", 2, {"radius": True}), ("begin", 2, {}),
    ],
)  # fmt: skip
def test_interrupted_and_resumed(method, call, options, monkeypatch):
    """What is done by then is returned, and going on gives what an undisturbed run gives."""
    made, x, label, (whole, local) = staged("dense")
    x = np.concatenate([x, x, x])[:8]
    label = np.concatenate([label, label, label])[:8]
    monkeypatch.setattr(block, "SIZE", 3)
    options = {"epsilon": (whole * local) ** 0.5, **options, **QUIET}
    whole_run = made.certify(x, label, **options)
    with monkeypatch.context() as patch:
        owner = cascade.Alarm if method == "balls" else cascade.Cascade
        patch.setattr(owner, method, Stopped(getattr(owner, method), call))
        part = made.certify(x, label, **options)
    assert 0 < len(part) < 8 and not part.certified[part.status == "pending"].any()
    if len(part) > 3:
        assert_same(
            Certificates(**{**vars(part), **{n: getattr(part, n)[:3] for n in NAMES}}),
            Certificates(**{**vars(part), **{n: getattr(whole_run, n)[:3] for n in NAMES}}),
        )
    resumed = made.certify(x, label, resume=part, **options)
    assert resumed.complete and len(resumed) == 8
    names = (*NAMES, "radius") if "radius" in options else NAMES
    assert_same(resumed, whole_run, names)


def test_stopped_before_anything_is_done(monkeypatch):
    monkeypatch.setattr(cascade.Cascade, "begin", Stopped(cascade.Cascade.begin, 1))
    with pytest.raises(KeyboardInterrupt):
        linear().certify(LINEAR_X, epsilon=0.1, **QUIET)


def test_finished_blocks_are_not_done_again(monkeypatch):
    monkeypatch.setattr(block, "SIZE", 2)
    found = linear().certify(LINEAR_X, LINEAR_Y, epsilon=0.1, **QUIET)

    def never(self, *args):
        raise AssertionError("a finished block was certified again")

    monkeypatch.setattr(cascade.Cascade, "begin", never)
    again = linear().certify(LINEAR_X, LINEAR_Y, epsilon=0.1, resume=found, **QUIET)
    assert_same(found, again)
    assert again.counterexamples.keys() == found.counterexamples.keys()


def test_what_cannot_be_resumed():
    found = linear().certify(LINEAR_X[:3], epsilon=0.1, **QUIET)
    for options in (
        {"arithmetic": "float64"}, {"guarantee": "probabilistic"}, {"effort": "frozen"},
        {"conv": "local"}, {"radius": True},
    ):  # fmt: skip
        with pytest.raises(ValueError, match="cannot be resumed"):
            linear().certify(LINEAR_X[:3], epsilon=0.1, resume=found, **options, **QUIET)
    likely = {"guarantee": "probabilistic", "delta": 0.1}
    guessed = linear().certify(LINEAR_X[:3], epsilon=0.1, **likely, **QUIET)
    with pytest.raises(ValueError, match=r"cannot be resumed.*\['delta'\]"):
        options = {**likely, "delta": 1e-9}
        linear().certify(LINEAR_X[:3], epsilon=0.1, resume=guessed, **options, **QUIET)
    old = replace(found, details={**found.details, "weights": found.details["network"]})
    old.details.pop("network")  # as files of keraslip 0.x are
    with pytest.raises(ValueError, match=r"cannot be resumed.*'network'"):
        linear().certify(LINEAR_X[:3], epsilon=0.1, resume=old, **QUIET)
    other = dense_model([np.eye(2)])
    with pytest.raises(ValueError, match="other weights or options"):
        other.certify(LINEAR_X[:3], epsilon=0.1, resume=found, **QUIET)
    with pytest.raises(ValueError, match="other inputs, labels or radii"):
        linear().certify(LINEAR_X[:3], epsilon=0.2, resume=found, **QUIET)
    with pytest.raises(ValueError, match="other inputs, labels or radii"):
        linear().certify(LINEAR_X[:3] / 2, epsilon=0.1, resume=found, **QUIET)
    with pytest.raises(ValueError, match="other inputs, labels or radii"):
        wrong = (found.label + 1) % 3
        linear().certify(LINEAR_X[:3], wrong, epsilon=0.1, resume=found, **QUIET)


@pytest.mark.parametrize("other", [lambda c: Certificates.join([c, c]), lambda c: c.part(1, 3)])
def test_certificates_that_do_not_say_of_which_inputs_are_not_resumed(other):
    """They could be taken for those of any inputs."""
    found = other(linear().certify(LINEAR_X, LINEAR_Y, epsilon=0.1, **QUIET))
    for x, y in ((LINEAR_X, LINEAR_Y), (LINEAR_X[::-1], LINEAR_Y[::-1])):
        with pytest.raises(
            ValueError, match="which inputs they are about.*Received: certificates of"
        ):
            linear().certify(x, y, epsilon=0.1, resume=found, **QUIET)


def test_weights_that_change_meanwhile_void_the_result(monkeypatch):
    made = dense_model([np.eye(3)])
    run = cascade.Cascade.run

    def trained(self, *args):
        run(self, *args)
        made.layers[1].kernel.assign(2 * np.eye(3))

    monkeypatch.setattr(cascade.Cascade, "run", trained)
    x = np.array([[0.9, 0.1, 0.2]], "float32")
    with pytest.raises(RuntimeError, match="weights changed while it was being certified"):
        made.certify(x, epsilon=0.1, **QUIET)
    monkeypatch.undo()
    assert made.certify(x, epsilon=0.1, **QUIET).margin[0] > 1.1


def test_what_is_no_part_of_the_network_may_change_between_two_calls():
    made = dense_model([np.eye(3)])
    made.compile(epsilon=0.1)
    x = np.array([[0.9, 0.1, 0.2]], "float32")
    first = made.certify(x, **QUIET)
    made.compile(epsilon=0.2)
    for vector in made.warm_starts.vectors:
        vector.assign(-keras.ops.convert_to_tensor(vector))
    again = made.certify(x, **QUIET)
    assert again.details["network"] == first.details["network"]


def test_data_are_looked_at_before_the_network_is(monkeypatch):
    made = dense_model([np.eye(3)])
    monkeypatch.setattr(certifier, "network_of", None)
    with pytest.raises(ValueError, match="x must have shape"):
        made.certify(np.zeros((1, 2), "float32"), epsilon=0.1, **QUIET)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("where", ["kernel", "bias", "theta"])
def test_weights_that_are_not_finite_are_named(bad, where):
    made = dense_model([np.eye(3), np.eye(3)])
    weight = next(w for w in made.weights if w.name == where)
    value = np.array(keras.ops.convert_to_numpy(weight))
    value.reshape(-1)[0] = bad
    weight.assign(value)
    x = np.array([[0.9, 0.1, 0.2]], "float32")
    for call in (made.certify, made.local_lipschitz):
        with pytest.raises(ValueError, match=f"{where}' holds 1 numbers that are not finite"):
            call(x, epsilon=0.1)


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16", "bfloat16"])
def test_reduced_precision_is_refused(policy):
    keras.config.set_dtype_policy(policy)
    made = dense_model([np.eye(3), np.eye(3)])
    with pytest.raises(
        ValueError, match="about float32 execution.*float32_copy.*layer .* computes in"
    ):
        made.certify(np.zeros((1, 3), "float32"), epsilon=0.1)


@pytest.mark.parametrize("layer", [layers.ReLU, layers.Flatten])
def test_a_single_layer_of_less_precision_is_refused(layer):
    start = keras.Input((3,))
    x = layer(dtype="bfloat16", name="odd")(layers.Dense(4)(start))
    made = keraslip.LocalLipschitzModel(start, layers.Dense(3)(x))
    with pytest.raises(ValueError, match="layer 'odd' computes in bfloat16"):
        made.certify(np.zeros((1, 3), "float32"), epsilon=0.1)


def test_the_alarm_goes_off_for_a_bound_that_is_too_small(monkeypatch, tmp_path):
    """Norms of next to nothing certify points that an attack changes."""
    made = dense_model([4 * np.eye(3), np.eye(3)], theta=None)
    x = np.array([[0.5, 0.45, 0.2]], "float32")
    assert made.certify(x, epsilon=0.1, **QUIET).status.tolist() == ["attacked"]
    monkeypatch.setattr(ProvedDense, "build_norm", lambda self: 1e-3)
    monkeypatch.setattr(ProvedDense, "row_norms", lambda self, columns=None: np.full((1, 3), 1e-3))
    monkeypatch.setattr(ProvedDense, "adjoint", lambda self, y: 1e-3 * y @ self.map.kernel.T)
    made.__dict__.pop("_keraslip_network")
    with pytest.raises(CertificateViolation, match="An attack changed a certified label"):
        made.certify(x, epsilon=0.1, **QUIET)
    (file,) = (tmp_path / "violations").iterdir()
    with np.load(file) as saved:
        np.testing.assert_array_equal(saved["x"], x[0])
        assert np.linalg.norm(saved["attacked"] - x[0]) <= 0.1 and saved["epsilon"] == 0.1
    made.__dict__.pop("_keraslip_network")


def test_the_self_check_goes_off_for_an_execution_that_rounds_too_much(monkeypatch, tmp_path):
    made, x = model("clipped"), inputs("clipped")
    logits = cascade.Executed.logits

    def coarse(self, x):
        bits = logits(self, x).view("uint32") & np.uint32(0xFFFF0000)
        return bits.view("float32")

    monkeypatch.setattr(cascade.Executed, "logits", coarse)
    monkeypatch.setattr(executed, "EXCESS", np.inf)  # the mean error is judged before
    for arithmetic in ("float32", "float64"):
        with pytest.raises(CertificateViolation, match="less precision than it says"):
            made.certify(x, epsilon=0.0, arithmetic=arithmetic, **QUIET)
    assert len(list((tmp_path / "violations").iterdir())) == 2


def test_bad_options():
    for options in ({"guarantee": "sure"}, {"effort": "some"}, {"conv": "no"}, {"workers": 0}):
        with pytest.raises(ValueError, match="must be"):
            linear().certify(LINEAR_X, epsilon=0.1, **options)
    with pytest.raises(ValueError, match="x holds NaN"):
        linear().certify(np.full((2, 2), np.nan, "float32"), epsilon=0.1)


def test_norms_are_kept_until_the_weights_change():
    made = dense_model([np.eye(3)])
    x = np.array([[0.9, 0.1, 0.2]], "float32")
    made.certify(x, epsilon=0.1, **QUIET)
    first = made.__dict__["_keraslip_network"]
    made.certify(x, epsilon=0.2, **QUIET)
    assert made.__dict__["_keraslip_network"] is first
    made.layers[1].kernel.assign(3 * np.eye(3))
    np.testing.assert_allclose(made.certify(x, epsilon=0.1, **QUIET).lipschitz, 3.0, rtol=1e-5)


def test_progress(capsys):
    linear().certify(LINEAR_X, LINEAR_Y, epsilon=0.1, batch_size=8, verbose=True)
    shown = capsys.readouterr().out
    assert "certify" in shown and "5/5" in shown
    linear().certify(LINEAR_X, LINEAR_Y, epsilon=0.1, batch_size=8)
    assert capsys.readouterr().out == ""
