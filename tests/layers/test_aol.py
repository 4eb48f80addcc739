"""Almost-orthogonal layers: 1-Lipschitz by the formula, and what runs is what was stored."""

import keras
import numpy as np
import pytest
from keras import layers, ops

import keraslip
from keraslip.arithmetic import training
from keraslip.certify.execution.kept_network import network_of
from keraslip.layers import AOLConv2D, AOLDense, DeltaOrthogonal, MaxMin
from keraslip.linear.almost_orthogonal import almost_orthogonal
from keraslip.losses import LogitAnnealingLoss, OffsetCrossEntropyLoss
from tests.harness import at_once, gradient, matrix_of, numpy, tensor

#: More or fewer filters than inputs, one of each, odd sizes, all of a convolution's arguments.
CONVOLUTIONS = [
    ((7, 6, 3), (5, (3, 2)), {}),
    ((6, 7, 3), (2, 3), {"padding": "same"}),
    ((6, 5, 1), (4, (2, 3)), {"padding": "same"}),
    ((5, 5, 2), (1, 3), {}),
    ((7, 8, 2), (9, 3), {"strides": 2, "padding": "same"}),
    ((8, 9, 3), (4, (4, 2)), {"strides": (2, 3)}),
    ((8, 7, 2), (3, 2), {"dilation_rate": (2, 3), "padding": "same"}),
    ((5, 6, 4), (6, 2), {"groups": 2, "use_bias": False}),
    ((3, 6, 5), (4, 3), {"data_format": "channels_first", "padding": "same"}),
]

#: More channels in, and more out, with strides; groups.
SOME = (1, 4, 5, 7)


def settled(layer, shape, kernel=None):
    """A built layer with a trained kernel."""
    layer.build((None, *shape))
    if kernel is None:
        kernel = np.random.default_rng(0).normal(size=layer.raw_kernel.shape)
    layer.raw_kernel.assign(kernel)
    layer.settle()
    return layer


def norm(layer, shape):
    return np.linalg.svd(matrix_of(layer.linear_map(shape)), compute_uv=False)[0]


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(
            i, marks=() if i in SOME else pytest.mark.any_backend("the same lines of the formula")
        )
        for i in range(len(CONVOLUTIONS))
    ],
)
def test_norm_of_a_convolution(case):
    shape, arguments, kwargs = CONVOLUTIONS[case]
    layer = settled(AOLConv2D(*arguments, **kwargs), shape)
    assert 0.3 < norm(layer, shape) <= 1.0
    # Training computes the same kernel, by float32.
    np.testing.assert_allclose(numpy(layer._rescaled()), numpy(layer.kernel), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    "inputs, outputs, size",
    [(7, 7, 1.0), (3, 9, 1e-30), (9, 3, 1e30), (5, 1, 1.0), (1, 5, 1e-20), (1, 1, 1.0)],
)
def test_norm_and_formula_of_a_dense_layer(inputs, outputs, size):
    kernel = np.random.default_rng(1).normal(size=(inputs, outputs))
    layer = settled(AOLDense(outputs), (inputs,), size * kernel)
    w = kernel.T if inputs <= outputs else kernel
    expected = w / np.sqrt(np.abs(w.T @ w).sum(axis=1))
    expected = expected.T if inputs <= outputs else expected
    np.testing.assert_allclose(numpy(layer.kernel), expected, rtol=1e-5)
    np.testing.assert_allclose(numpy(layer._rescaled()), expected, rtol=1e-5)
    assert norm(layer, (inputs,)) <= 1.0
    if min(inputs, outputs) == 1:  # of rank one
        assert norm(layer, (inputs,)) > 0.99999


@pytest.mark.any_backend("the formula, in NumPy")
@pytest.mark.parametrize(
    "channels, filters, strides", [(2, 3, (1, 1)), (3, 2, (1, 1)), (1, 9, (2, 3)), (2, 5, (2, 2))]
)
def test_formula_of_a_convolution(channels, filters, strides):
    """Against the written-out matrix of a large image, at entries that the border is far from."""
    shape = (12, 12, channels)
    layer = settled(AOLConv2D(filters, 3, strides), shape)
    plain = keraslip.layers.MaskedLipschitzConv2D(filters, 3, strides)
    plain.build((None, *shape))
    plain.set_weights([numpy(layer.raw_kernel), numpy(layer.bias)])
    raw, applied = (matrix_of(one.linear_map(shape)) for one in (plain, layer))
    by_input = channels * strides[0] * strides[1] <= filters
    if not by_input:
        raw, applied = raw.T, applied.T
    sums = np.abs(raw.T @ raw).sum(axis=1)
    expected = raw / np.sqrt(np.where(sums > 0.0, sums, 1.0))
    inside = np.zeros(shape if by_input else layer.compute_output_shape((1, *shape))[1:], bool)
    middle = [slice(4, 8) if by_input or step == 1 else slice(2, 3) for step in strides]
    inside[tuple(middle)] = True
    np.testing.assert_allclose(
        applied[:, inside.ravel()], expected[:, inside.ravel()], rtol=1e-5, atol=1e-7
    )


@pytest.mark.parametrize("shape", [(4, 4), (5, 1), (3, 3, 1, 1), (2, 2, 3, 2)])
def test_gradient(shape):
    """Finite at a kernel of zeros, which is applied as it is, and right elsewhere."""
    rng = np.random.default_rng(2)
    weights, kernel, step = rng.normal(size=(3, *shape)).astype("float32")
    strides = (1, 1) if len(shape) == 2 else (2, 1)

    def total(k):
        return ops.sum(almost_orthogonal(training, k, strides) * ops.convert_to_tensor(weights))

    at_zero = gradient(total, np.zeros(shape, "float32"))
    assert np.isfinite(at_zero).all() and at_zero.any()
    layer = settled(
        AOLDense(shape[-1]) if len(shape) == 2 else AOLConv2D(shape[-1], shape[:2]),
        (shape[0],) if len(shape) == 2 else (4, 4, shape[2]),
        np.zeros(shape),
    )
    assert not numpy(layer.kernel).any()
    value = at_once(total)
    ends = [float(numpy(value(ops.convert_to_tensor(kernel + h * step)))) for h in (-1e-3, 1e-3)]
    slope = (ends[1] - ends[0]) / 2e-3
    np.testing.assert_allclose((gradient(total, kernel) * step).sum(), slope, rtol=1e-2, atol=1e-2)


@pytest.mark.any_backend("draws orthogonal matrices, as Keras does")
def test_initial_kernels_are_applied_as_they_are():
    for layer, shape in ((AOLDense(5), (5,)), (AOLDense(3), (8,)), (AOLConv2D(4, 3), (5, 5, 4))):
        layer.build((None, *shape))
        np.testing.assert_allclose(numpy(layer.kernel), numpy(layer.raw_kernel), atol=2e-5)
    strided = AOLConv2D(8, 3, 2)
    strided.build((None, 6, 6, 2))
    values = np.linalg.svd(matrix_of(strided.linear_map((6, 6, 2))), compute_uv=False)
    np.testing.assert_allclose(values[values > 0.1], 1.0, atol=1e-4)
    copy = DeltaOrthogonal.from_config(DeltaOrthogonal((2, 1), seed=3).get_config())
    assert copy.get_config() == {"strides": (2, 1), "seed": 3}


def network(kind=keraslip.LocalLipschitzModel):
    inputs = keras.Input((6, 5, 2))
    x = MaxMin()(AOLConv2D(4, 3, strides=2, padding="same", name="conv")(inputs))
    return kind(inputs, AOLDense(3, name="logits")(layers.Flatten()(x)))


def data():
    x = np.random.default_rng(3).uniform(size=(24, 6, 5, 2)).astype("float32")
    return x, (np.arange(24) % 3)


def is_settled(model):
    for layer in (model.get_layer("conv"), model.get_layer("logits")):
        np.testing.assert_allclose(
            numpy(layer._rescaled()), numpy(layer.kernel), rtol=1e-4, atol=1e-5
        )
    return True


@pytest.mark.parametrize(
    "loss, bound",
    [
        (LogitAnnealingLoss(), "global"),
        pytest.param(
            OffsetCrossEntropyLoss(),
            "local",
            marks=pytest.mark.any_backend("every bound reads the same kernel"),
        ),
    ],
)
def test_fit_certify_save_and_load(loss, bound, tmp_path):
    model, (x, y) = network(), data()
    before = numpy(model.get_layer("conv").kernel)
    model.compile(keras.optimizers.Adam(0.02), epsilon=0.05, loss=loss, bound=bound)
    model.fit(x, y, epochs=2, batch_size=12, validation_data=(x, y), verbose=0)
    layer = model.get_layer("conv")
    assert is_settled(model)
    assert np.abs(numpy(layer.kernel) - before).max() > 0.01
    # What is assigned counts from the next question on.
    layer.raw_kernel.assign(-layer.raw_kernel)
    model.evaluate(x, y, batch_size=12, verbose=0)
    assert is_settled(model)
    assert norm(layer, (6, 5, 2)) <= 1.0
    certificates = model.certify(x[:4], y[:4])
    assert (certificates.lipschitz <= 1.001).all()
    assert np.isfinite(certificates.margin).all()
    model.save(tmp_path / "aol.keras")
    loaded = keras.models.load_model(tmp_path / "aol.keras")
    for one, other in zip(model.weights, loaded.weights, strict=True):
        np.testing.assert_array_equal(numpy(one), numpy(other))
    again = loaded.certify(x[:4], y[:4])
    np.testing.assert_array_equal(again.margin, certificates.margin)
    assert network_of(loaded)[1] == network_of(model)[1]


def shown(model, x, y):
    """What shows the kernel that is applied: every way to ask a model something."""
    model.estimate(x)
    yield "estimate"
    model.evaluate(x, y, verbose=0)
    yield "evaluate"
    model.predict(x, verbose=0)
    yield "predict"
    model.certify(x[:1], epsilon=0.01)
    yield "certify"
    keraslip.attacks.pgd_l2(model, x[:1], y[:1], epsilon=0.01, steps=1)
    yield "attack"
    model.set_weights(model.get_weights())
    yield "set_weights"


@pytest.mark.any_backend("settling is Python's; evaluate does so above, on every backend")
def test_nobody_sees_a_stale_kernel(tmp_path):
    model, (x, y) = network(), data()
    model.compile(epsilon=0.05)
    raw = model.get_layer("conv").raw_kernel
    asked = shown(model, x, y)
    for number in range(6):
        raw.assign(raw + 0.1 * (-1) ** number)
        way = next(asked)
        assert is_settled(model), way
    raw.assign(raw + 0.1)
    model.save_weights(tmp_path / "aol.weights.h5")
    assert is_settled(model)


def test_a_model_of_keras_trains_and_converts():
    """The kernel of inference is that of the last step, and in a file that of the last update."""
    x, y = data()
    model = network(keras.Model)
    model.compile(
        keras.optimizers.SGD(0.1), keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    )
    first = numpy(model.get_layer("conv").raw_kernel)
    model.fit(x, y, batch_size=24, verbose=0)
    layer = model.get_layer("conv")
    np.testing.assert_allclose(
        numpy(layer.kernel),
        numpy(at_once(lambda k: almost_orthogonal(training, k, (2, 2)))(tensor(first))),
        atol=1e-5,
    )
    layer.settle()
    assert np.abs(numpy(layer.raw_kernel) - first).max() > 1e-3
    assert np.abs(numpy(layer._rescaled()) - numpy(layer.kernel)).max() < 1e-5
    normalised = layers.BatchNormalization(gamma_initializer="ones")(
        AOLDense(3)(model.layers[-2].output)
    )
    converted = keraslip.from_keras(keras.Model(model.inputs, normalised))
    kinds = [type(layer) for layer in converted.layers]
    assert kinds[1] is AOLConv2D and kinds[-2] is AOLDense
    np.testing.assert_array_equal(numpy(converted.layers[1].kernel), numpy(layer.kernel))


@pytest.mark.any_backend("NumPy's view of weights")
def test_refusals():
    layer = settled(AOLDense(3), (4,))
    with pytest.raises(NotImplementedError, match="LoRA.*Received: rank=2"):
        layer.enable_lora(2)
    model, (x, _) = network(), data()
    for bad in (np.nan, np.inf):
        raw = model.get_layer("conv").raw_kernel
        kernel = np.ones(raw.shape)
        kernel[0, 0, 0, 0] = bad
        raw.assign(kernel)
        with pytest.raises(ValueError, match="not finite"):
            model.certify(x[:1], epsilon=0.1)


@pytest.mark.parametrize("dtype", ["mixed_float16", "bfloat16"])
def test_reduced_precision(dtype):
    """Runs, rescaled in float32; certificates are about the copy in float32."""
    layer = settled(AOLDense(4, kernel_initializer="ones", dtype=dtype), (6,))
    assert norm(layer, (6,)) <= (1.0 if dtype == "mixed_float16" else 1.01)
    x = ops.ones((2, 6))
    for mode in (False, True):
        y = layer(x, training=mode)
        assert keras.backend.standardize_dtype(y.dtype) == layer.compute_dtype
        assert np.isfinite(numpy(ops.cast(y, "float32"))).all()
