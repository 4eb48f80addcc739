"""Whether a rule's bound holds: sampled points of balls against everything that a pass claims."""

import math
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from keraslip.export.exporter import missing_packages
from keraslip.layers import ClippedReLU, MaskedLipschitzDense
from keraslip.models import LocalLipschitzModel
from keraslip.rules import rule_for
from keraslip.rules.map_check import parts
from keraslip.testing.activations import check_activation
from keraslip.testing.claims import Pass, activations, claims
from keraslip.testing.exported import check_graph
from keraslip.testing.failure import require
from keraslip.testing.linear_maps import LARGEST, check_map
from keraslip.testing.points import points_in_balls
from keraslip.typing import Array

Build = Callable[[Any], Any]

#: What float32 may round, relative to the largest number in a tensor.
_ROUNDED = 1e-6


def run_rule_test(
    layer: Build | keras.layers.Layer,
    input_shape: tuple[int, ...],
    epsilons: tuple[float, ...] = (0.05, 0.5),
    modes: tuple[str, ...] = ("local", "global", "paper"),
    samples: int = 2,
    points: int = 150,
    seed: int = 0,
    export: bool = True,
) -> None:
    """Judges the rule of a layer: its map or activation, training's bounds, certificates and exported graphs.

    Small networks are built around the layer, at the input and behind an activation, with random weights, the
    layer's too. Every linear map and activation that its rule names is checked by `check_map` and
    `check_activation`. Then points of balls are sampled, and attacked: none may leave a ball, a box, the
    worst-case logits, the Lipschitz bound, or a certificate. Where TensorFlow is installed, the graph that
    `export` would write answers as certificates do.

    Args:
        layer: The layer, or a function of tensors that uses several.
        input_shape: Shape of one of its inputs, without the batch axis. Small, for matrices are written out;
            sides of different lengths show more.
        epsilons: Radii.
        modes: Ways to bound in training.
        samples: Centers of balls.
        points: Random directions from each center; sphere, inside and corners get as many each.
        seed: Of weights and points.
        export: Whether the exported graph is asked, too.

    Raises:
        AssertionError: whose first word says what is wrong: `call`, `adjoint`, `row norms`, `slopes`, ...
        keraslip.rules.UnsupportedLayerError: if the layer has no rule.

    Example:

    ```python
    keraslip.testing.run_rule_test(Mirror(), (4, 7, 2))
    ```
    """
    if isinstance(layer, keras.layers.Layer):
        rule_for(layer)
    x = np.random.default_rng(seed + 1).uniform(size=(samples, *input_shape)).astype("float32")
    for build in (layer, lambda x: _activated(layer(_in_front(x)))):
        model = surrounded(build, input_shape, seed)
        check_parts(model, seed)
        check_bounds(model, x, epsilons, modes, points)
        check_certificates(model, x, epsilons, points)
        if export and not missing_packages("tf_saved_model"):
            check_graph(model, x, epsilons[0])


def _in_front(x: Any) -> Any:
    """A linear map that keeps the shape, and a clipped activation: some units are constant."""
    return _activated(MaskedLipschitzDense(x.shape[-1])(x))


def _activated(x: Any) -> Any:
    return ClippedReLU(0.6)(x)


def surrounded(build: Build, input_shape: tuple[int, ...], seed: int = 0) -> LocalLipschitzModel:
    """A bounded model around some layers: they, a flattening and a dense layer; seeded weights."""
    inputs = keras.Input(input_shape)
    outputs = build(inputs)
    if len(outputs.shape) > 2:
        outputs = keras.layers.Flatten(name="flat_for_logits")(outputs)
    logits = keras.layers.Dense(3, name="logits_of_test")(outputs)
    model = LocalLipschitzModel(inputs, logits)
    randomise(model, seed)
    return model


def randomise(model: keras.Model, seed: int = 0) -> None:
    """Seeded weights: kernels of a norm around 1, small biases, others near what they are."""
    rng = np.random.default_rng(seed)
    for weight in model.trainable_weights:
        if weight.name == "kernel":
            fan_in = np.prod(weight.shape[:-1])
            weight.assign(rng.normal(size=weight.shape) / np.sqrt(fan_in))
        elif weight.name == "bias":
            weight.assign(0.2 * rng.normal(size=weight.shape))
        else:
            value = np.array(keras.ops.convert_to_numpy(weight))
            weight.assign(value * rng.uniform(0.3, 1.5, size=weight.shape))


def check_parts(model: keras.Model, seed: int = 0) -> None:
    """`check_map` and `check_activation` of everything in a model that the rules name."""
    found = parts(model)
    for path, linear_map in found.maps:
        if math.prod(linear_map.in_shape) * math.prod(linear_map.out_shape) <= LARGEST:
            _named(path, check_map, linear_map, seed)
    for path, activation, shape in found.activations:
        _named(path, check_activation, activation, shape, seed)


def _named(path: str, check: Callable[..., None], *arguments: Any) -> None:
    try:
        check(*arguments)
    except AssertionError as error:
        raise AssertionError(f"{error} (at {path!r})") from error


def check_bounds(
    model: keras.Model,
    x: Array,
    epsilons: tuple[float, ...],
    modes: tuple[str, ...],
    points: int,
    tight: bool = False,
    attacks: bool = True,
) -> None:
    """Holds sampled points around `x` against every bound of training; see `run_rule_test`."""
    executed, said = np.asarray(model.predict_on_batch(x)), activations(model, x)[2]
    near = np.abs(executed - said) <= 1e-5 * (1 + np.abs(executed))
    off = np.abs(executed - said).max()
    words = f"the layers compute something else than their rules say, by up to {off:.3g}"
    require(near, "call", words)
    for epsilon in epsilons:
        results = {mode: claims(model, x, epsilon, mode, tight=tight) for mode in modes}
        first = results[modes[0]]
        there = points_in_balls(model, x, epsilon, first, points, attacks)
        for mode, result in results.items():
            require(
                np.isfinite(result.worst),
                "bound",
                f"worst-case logits are not finite, mode {mode!r}",
            )
            assert_sound(model, x, epsilon, result, there, mode=mode)
        if {"local", "global"} <= set(modes):
            assert_tighter(results["local"], results["global"])


def assert_sound(
    model: keras.Model,
    x: Array,
    epsilon: float,
    result: Pass,
    points: Array,
    mode: str = "",
) -> None:
    """No point leaves a ball, a box or the worst-case logits, and no masked unit moves.

    Points are `(samples, points, *shape)`; rounding is allowed relative to the largest number in a tensor.
    """
    samples, count = points.shape[:2]
    before, after, logits = activations(model, points.reshape(samples * count, *x.shape[1:]))

    def grouped(values: Array) -> Array:
        return values.reshape(samples, count, -1).astype("float64")

    for layer, z, a in zip(result.layers, before, after, strict=True):
        where = f"at {layer.key!r}, epsilon {epsilon}, mode {mode!r}"
        center = layer.after.reshape(samples, 1, -1).astype("float64")
        moved = grouped(a) - center
        slack = _ROUNDED * (1.0 + max(np.abs(z).max(initial=0), np.abs(a).max(initial=0)))
        inside(grouped(z), *layer.box_before, 8 * slack, f"before {layer.key!r}", "row norms")
        constant = (1 - layer.mask).reshape(samples, 1, -1)
        words = f"a unit moves that is said to be constant {where}"
        require(np.abs(moved * constant) <= 8 * slack, "mask", words)
        radius = (epsilon * layer.gain)[:, None]
        reached = np.linalg.norm(moved, axis=2)
        noise = slack * np.sqrt(center.size / samples)
        words = f"a point moves by {reached.max():.6g} {where}; claimed are {radius.ravel()}"
        require(reached <= radius * (1 + 1e-4) + noise, "bound", words)
        if layer.box_after is not None:
            inside(grouped(a), *layer.box_after, 8 * slack, f"behind {layer.key!r}", "range")
    _assert_logits(result, grouped(logits), epsilon, mode)


def _assert_logits(result: Pass, values: Array, epsilon: float, mode: str) -> None:
    clean = result.logits[:, None].astype("float64")
    label = result.label[:, None, None]
    own, own_clean = np.take_along_axis(values, label, 2), np.take_along_axis(clean, label, 2)
    gain_on_label = (values - own) - (clean - own_clean)
    allowed = (result.worst - result.logits)[:, None]
    slack = 16 * _ROUNDED * (1.0 + np.abs(values).max())
    where = f"at epsilon {epsilon}, mode {mode!r}"
    over = gain_on_label - allowed
    words = f"a logit rises above its worst case by {over.max():.6g} {where}"
    require(gain_on_label <= allowed * (1 + 1e-4) + slack, "bound", words)
    moved = np.linalg.norm(values - clean, axis=2)
    words = f"logits move faster than the Lipschitz bound {where}"
    require(moved <= epsilon * result.lipschitz[:, None] * (1 + 1e-4) + slack, "bound", words)


def inside(
    values: Array, lower: Any, upper: Any, slack: float, where: str, what: str = "bound"
) -> None:
    """Values `(samples, points, units)` lie in a box."""
    samples = len(values)
    low, high = (np.asarray(side).reshape(samples, 1, -1) for side in (lower, upper))
    reach = 1e-4 * (high - low)
    fits = (values >= low - reach - slack) & (values <= high + reach + slack)
    require(fits, what, f"a point leaves its box {where}")


def assert_tighter(local: Pass, whole: Pass) -> None:
    """The local bound is nowhere looser than the global one, and certifies whatever that does."""
    slack = 1e-4 * (1.0 + np.abs(whole.worst))
    pairs = zip(local.gains, whole.gains, strict=True)
    smaller = all((mine <= other * (1 + 1e-4) + 1e-9).all() for mine, other in pairs)
    smaller &= bool((local.lipschitz <= whole.lipschitz * (1 + 1e-4) + 1e-9).all())
    smaller &= bool((local.worst <= whole.worst + slack).all())
    smaller &= bool(local.margin[whole.margin > slack.max()].min(initial=1.0) > 0)
    require(smaller, "bound", "the local bound is looser than the global one")


def check_certificates(
    model: LocalLipschitzModel, x: Array, epsilons: tuple[float, ...], points: int = 150
) -> None:
    """Holds sampled points against certificates, which are about the executed network: without tolerance."""
    for epsilon in epsilons:
        found = model.certify(x, epsilon=epsilon, verbose=False)
        # Rounded to float32, points may lie a little further away.
        near = epsilon * (1 - 1e-5)
        there = points_in_balls(model, x, near, claims(model, x, near), points, False)
        flat = there.reshape(-1, *x.shape[1:])
        logits = np.asarray(model.predict(flat, verbose=0, batch_size=1024))
        logits = logits.reshape(*there.shape[:2], -1).astype("float64")
        own = np.take_along_axis(logits, found.label[:, None, None], 2)
        others = np.arange(logits.shape[2]) != found.label[:, None, None]
        least = np.where(others, own - logits, np.inf).min(axis=(1, 2))
        where = f"at epsilon {epsilon}"
        words = f"a point of the ball has a margin of {least}, certified are {found.margin} {where}"
        require(least >= found.margin, "certificate", words)
        kept = (logits.argmax(axis=2) == found.label[:, None]).all(axis=1)
        require(
            kept | ~found.certified, "certificate", f"a certified label changes in its ball {where}"
        )
