"""What judges a rule: sampled points of a ball against every bound that a pass has claimed.

`run_rule_test` is all that a test of a new rule needs:

    run_rule_test(lambda x: keras.layers.Flatten()(x), (4, 4, 2))
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import ops

import keraslip
import keraslip.backend
from keraslip.bounds.margins import label_margin, worst_case_logits
from keraslip.layers.masked import random_unit_vector
from keraslip.rules.propagation import Propagation
from keraslip.rules.walk import propagate
from tests.reference.paper_numpy import points_in_ball

Array = np.ndarray


def numpy(x: Any) -> Array:
    """A tensor as a NumPy array, gradient or not."""
    return np.array(ops.convert_to_numpy(x))


def tensor(x: Any, dtype: str = "float32") -> Any:
    """A NumPy array as a tensor."""
    return ops.convert_to_tensor(np.asarray(x), dtype)


def gradient(function: Callable[[Any], Any], x: Array) -> Array:
    """Gradient of a scalar function of one tensor, on the active backend."""
    backend = keras.backend.backend()
    value = tensor(x)
    if backend == "tensorflow":
        import tensorflow as tf

        with tf.GradientTape() as tape:
            tape.watch(value)
            result = function(value)
        found = tape.gradient(result, value)
        return np.zeros_like(x) if found is None else numpy(found)
    if backend == "jax":
        import jax

        return numpy(jax.grad(lambda v: ops.reshape(function(v), ()))(value))
    value = value.detach().clone().requires_grad_(True)
    result = function(value)
    if result.requires_grad:
        result.sum().backward()
    return np.zeros_like(x) if value.grad is None else numpy(value.grad)


def matrix_of(linear_map: Any) -> Array:
    """The dense matrix `(out, in)` of a linear map, in float64, from its forward application."""
    size = int(np.prod(linear_map.in_shape))
    images = linear_map.forward(tensor(np.eye(size).reshape(size, *linear_map.in_shape)))
    assert tuple(images.shape) == (size, *linear_map.out_shape)
    return numpy(images).astype("float64").reshape(size, -1).T


def randomise(model: keras.Model, seed: int = 0, gain: float = 1.0) -> None:
    """Seeded weights: kernels of a norm around `gain`, small biases, thresholds as they are."""
    rng = np.random.default_rng(seed)
    for weight in model.trainable_weights:
        if weight.name == "kernel":
            fan_in = np.prod(weight.shape[:-1])
            weight.assign(gain * rng.normal(size=weight.shape) / np.sqrt(fan_in))
        elif weight.name == "bias":
            weight.assign(0.2 * rng.normal(size=weight.shape))
        elif "thre" in weight.name or weight.name == "theta":
            weight.assign(numpy(weight) * rng.uniform(0.3, 1.5, size=weight.shape))


class FixedVectors:
    """Random starts that depend on the name of the norm alone."""

    def start(self, key: str, linear_map: Any) -> Any:
        return tensor(random_unit_vector(f"test {key}", linear_map.out_shape))


class ExactNorms(Propagation):
    """A pass whose norms are the largest singular values of the masked dense matrices."""

    def _norm(self, index: int, pending: Any, columns: Any, rows: Any, learn: bool = True) -> Any:
        size = int(np.prod(pending.in_shape))
        images = pending.forward(tensor(np.eye(size).reshape(size, *pending.in_shape)))
        matrix = ops.reshape(images, (1, size, -1))
        if columns is not None:
            matrix = matrix * ops.reshape(columns, (columns.shape[0], size, 1))
        if rows is not None:
            matrix = matrix * ops.reshape(rows, (rows.shape[0], 1, -1))
        return ops.svd(matrix, compute_uv=False)[:, 0]


class NoNorms(Propagation):
    """A pass for the activations alone."""

    def _norm(self, index: int, pending: Any, columns: Any, rows: Any, learn: bool = True) -> Any:
        return ops.ones((1,))


@dataclass
class Layer:
    """What a pass claims where a form was closed, with the batch axis written out."""

    key: str
    before: Array
    after: Array
    gain: Array
    mask: Array
    box_before: tuple[Array, Array]
    box_after: tuple[Array, Array] | None
    rows: Array


@dataclass
class Pass:
    """What one pass claims, as NumPy arrays; one `Layer` for each record of the pass."""

    logits: Array
    worst: Array
    margin: Array
    lipschitz: Array
    label: Array
    layers: list[Layer]

    @property
    def gains(self) -> list[Array]:
        """Radius over epsilon after every layer, `(batch,)`."""
        return [layer.gain for layer in self.layers]

    @property
    def masks(self) -> list[Array]:
        """Which units may vary after every layer."""
        return [layer.mask for layer in self.layers]


def bound(
    model: keras.Model,
    x: Array,
    epsilon: Any,
    mode: str = "local",
    label: Array | None = None,
    power_iterations: int | None = None,
    tight: bool = False,
) -> Pass:
    """One pass of the bound through a model, outside of any training.

    Norms are converged: singular values of the dense matrices, unless a number of power iterations is
    given.
    """
    known = model.__dict__.setdefault("_passes_of_tests", {})
    key = (mode, power_iterations, tight, label is None)
    if key not in known:
        known[key] = _compiled_pass(model, mode, power_iterations, tight)
    call, kept = known[key]
    labels = () if label is None else (np.asarray(label, "int32"),)
    found = call(np.asarray(x, "float32"), np.asarray(epsilon, "float32"), *labels)
    logits, worst, margin, lipschitz, chosen = found[:5]
    rest, layers = iter(found[5:]), []
    for path, boxed in kept:
        before, after, gain, mask, low, high, rows = (next(rest) for _ in range(7))
        box = (next(rest), next(rest)) if boxed else None
        layers.append(Layer(path, before, after, gain, mask, (low, high), box, rows))
    return Pass(logits, worst, margin, lipschitz, chosen, layers)


def _compiled_pass(
    model: keras.Model, mode: str, power_iterations: int | None, tight: bool
) -> tuple[Callable[..., list[Array]], list[tuple[str, bool]]]:
    kept: list[tuple[str, bool]] = []

    def function(x: Any, epsilon: Any, label: Any = None) -> list[Any]:
        kind = ExactNorms if power_iterations is None else Propagation
        context = kind(epsilon, FixedVectors(), mode, power_iterations or 1, tight=tight)
        form = propagate(model, x, context)
        logits = form.center
        label = ops.argmax(logits, axis=1) if label is None else label
        y = ops.one_hot(label, logits.shape[-1], dtype="float32")
        worst = worst_case_logits(form, y, epsilon)
        context.key = "logits"
        one = ops.ones_like(logits[:, 0])
        lipschitz = context.lipschitz(form) * one
        out = [logits, worst, label_margin(logits, worst, y), lipschitz, label]
        kept[:] = []
        for record in context.records:
            ball, form = record.ball, record.form
            ones = ops.ones_like(ball.center)
            box = None if ball.box is None else ball.box()
            kept.append((record.key, box is not None))
            mask = ones if ball.varying is None else ones * ball.varying
            pending = form.terms[0][1]
            rows = pending.adjoint(_some_rows(pending.out_shape))
            out += [form.center, ball.center, ball.gain * one, mask, *context._box(form), rows]
            out += [] if box is None else list(box)
        return out

    return called(model, function, power_iterations is not None), kept


def called(
    model: keras.Model, function: Callable[..., list[Any]], loops: bool = False
) -> Callable[..., list[Array]]:
    """A function of tensors, from arrays to arrays.

    Eager, for nets are many and passes few; only loops are compiled on JAX, which compiles them anyway.
    """
    if loops and keras.backend.backend() == "jax":
        return keraslip.backend.compiled(model, function)
    return lambda *args: [numpy(out) for out in function(*(ops.convert_to_tensor(a) for a in args))]


def _some_rows(shape: tuple[int, ...], most: int = 48) -> Any:
    """Basis vectors of some output units, as a batch."""
    size = int(np.prod(shape))
    chosen = np.random.default_rng(1).permutation(size)[:most]
    return tensor(np.eye(size)[chosen].reshape(-1, *shape))


def activations(model: keras.Model, points: Array) -> tuple[list[Array], list[Array], Array]:
    """Pre-activations and outputs of every record, and logits, at some points."""
    known = model.__dict__.setdefault("_passes_of_tests", {})
    if "activations" not in known:

        def function(x: Any) -> list[Any]:
            context = NoNorms(tensor(0.0), FixedVectors(), "global")
            form = propagate(model, x, context)
            pairs = [(record.form.center, record.ball.center) for record in context.records]
            return [form.center, *(side for pair in pairs for side in pair)]

        known["activations"] = called(model, function)
    logits, *rest = known["activations"](np.asarray(points, "float32"))
    return rest[::2], rest[1::2], logits


def samples_of_ball(
    model: keras.Model, x: Array, epsilon: float, result: Pass, count: int, pgd: bool
) -> Array:
    """Points `(samples, points, *shape)` of the balls: random, corners, rows of the first map, PGD."""
    rows = np.zeros((0, x[0].size))
    if result.layers and result.layers[0].rows[0].size == x[0].size:
        rows = result.layers[0].rows.reshape(-1, x[0].size).astype("float64")
        norms = np.linalg.norm(rows, axis=1, keepdims=True)
        rows = epsilon * np.divide(rows, norms, out=np.zeros_like(rows), where=norms > 0)
    points = np.stack(
        [
            np.concatenate([points_in_ball(v, epsilon, count, seed=s), v + rows, v - rows])
            for s, v in enumerate(x.reshape(len(x), -1).astype("float64"))
        ]
    ).reshape(len(x), -1, *x.shape[1:])
    if pgd and epsilon > 0:
        found = [
            keraslip.attacks.pgd_l2(
                model,
                x,
                None,
                epsilon,
                steps=25,
                input_range=None,
                verbose=0,
                targets=np.full(len(x), target),
            )  # fmt: skip
            for target in range(result.logits.shape[1])
        ]
        points = np.concatenate([points, np.stack(found, axis=1)], axis=1)
    return points.astype("float32")


def assert_sound(
    model: keras.Model, x: Array, epsilon: float, result: Pass, points: Array, scale: float = 1e-6
) -> None:
    """No point leaves a ball, a box or the worst-case logits, and no masked unit moves.

    Args:
        model: The model.
        x: Centers `(samples, *shape)`.
        epsilon: Radius.
        result: What a pass claimed.
        points: `(samples, points, *shape)`.
        scale: Rounding allowed, relative to the largest number in the tensor.
    """
    samples, count = points.shape[:2]
    flat = points.reshape(samples * count, *x.shape[1:])
    before, after, logits = activations(model, flat)
    assert len(before) == len(result.layers)

    def grouped(values: Array) -> Array:
        return values.reshape(samples, count, -1).astype("float64")

    for layer, z, a in zip(result.layers, before, after, strict=True):
        center = layer.after.reshape(samples, 1, -1).astype("float64")
        moved = grouped(a) - center
        slack = scale * (1.0 + max(np.abs(z).max(initial=0), np.abs(a).max(initial=0)))
        radius = (epsilon * layer.gain)[:, None]
        reached = np.linalg.norm(moved, axis=2)
        noise = slack * np.sqrt(center.size / samples)
        assert (reached <= radius * (1 + 1e-4) + noise).all(), layer.key
        constant = (1 - layer.mask).reshape(samples, 1, -1)
        assert np.abs(moved * constant).max(initial=0) <= 8 * slack, layer.key
        inside(grouped(z), *layer.box_before, 8 * slack, f"{layer.key}, input")
        if layer.box_after is not None:
            inside(grouped(a), *layer.box_after, 8 * slack, f"{layer.key}, output")
    values = grouped(logits)
    clean = result.logits[:, None].astype("float64")
    label = result.label[:, None, None]
    own, own_clean = np.take_along_axis(values, label, 2), np.take_along_axis(clean, label, 2)
    gain_on_label = (values - own) - (clean - own_clean)
    allowed = (result.worst - result.logits)[:, None]
    slack = 16 * scale * (1.0 + np.abs(values).max())
    assert (gain_on_label <= allowed * (1 + 1e-4) + slack).all()
    moved = np.linalg.norm(values - clean, axis=2)
    assert (moved <= epsilon * result.lipschitz[:, None] * (1 + 1e-4) + slack).all()


def inside(values: Array, lower: Any, upper: Any, slack: float, where: str) -> None:
    """Values `(samples, points, units)` lie in a box."""
    samples = len(values)
    low, high = (np.asarray(side).reshape(samples, 1, -1) for side in (lower, upper))
    reach = 1e-4 * (high - low)
    assert (values >= low - reach - slack).all(), where
    assert (values <= high + reach + slack).all(), where


def model_of(
    build: Callable[[Any], Any], input_shape: tuple[int, ...], classes: int = 3, seed: int = 0
) -> keraslip.LocalLipschitzModel:
    """A bounded model around some layers: they, a flattening and a dense layer; seeded weights."""
    inputs = keras.Input(input_shape)
    outputs = build(inputs)
    if len(outputs.shape) > 2:
        outputs = keras.layers.Flatten(name="flat_for_logits")(outputs)
    logits = keras.layers.Dense(classes, name="logits_of_test")(outputs)
    model = keraslip.LocalLipschitzModel(inputs, logits)
    randomise(model, seed)
    return model


def run_rule_test(
    build: Callable[[Any], Any] | keras.Model,
    input_shape: tuple[int, ...],
    epsilons: tuple[float, ...] = (0.05, 0.5),
    modes: tuple[str, ...] = ("local", "global", "paper"),
    samples: int = 2,
    count: int = 150,
    pgd: bool = False,
    seed: int = 0,
    tight: bool = False,
) -> keraslip.LocalLipschitzModel:
    """Judges the rules of some layers by sampling, in every mode.

    Args:
        build: A function from the input tensor to the layers' output, or a whole model.
        input_shape: Shape of one input.
        epsilons: Radii.
        modes: Ways to bound.
        samples: Centers.
        count: Random directions for each center; sphere, inside and corners get as many each.
        pgd: Whether attacked points are tried too.
        seed: Of weights and points.
        tight: Masked row norms of convolutions too.

    Returns:
        The model that was built, for further questions.
    """
    model = build if isinstance(build, keras.Model) else model_of(build, input_shape, seed=seed)
    x = np.random.default_rng(seed + 1).uniform(size=(samples, *input_shape)).astype("float32")
    np.testing.assert_allclose(
        activations(model, x)[2], model.predict_on_batch(x), rtol=1e-5, atol=1e-5
    )
    for epsilon in epsilons:
        results = {mode: bound(model, x, epsilon, mode, tight=tight) for mode in modes}
        points = samples_of_ball(model, x, epsilon, results[modes[0]], count, pgd)
        for result in results.values():
            assert np.isfinite(result.worst).all()
            assert_sound(model, x, epsilon, result, points)
        if {"local", "global"} <= set(modes):
            assert_tighter(results["local"], results["global"])
    return model


def assert_tighter(local: Pass, whole: Pass) -> None:
    """The local bound is nowhere looser than the global one, and certifies whatever that does."""
    for mine, other in zip(local.gains, whole.gains, strict=True):
        assert (mine <= other * (1 + 1e-4) + 1e-9).all()
    assert (local.lipschitz <= whole.lipschitz * (1 + 1e-4) + 1e-9).all()
    slack = 1e-4 * (1.0 + np.abs(whole.worst))
    assert (local.worst <= whole.worst + slack).all()
    assert local.margin[whole.margin > slack.max()].min(initial=1.0) > 0
