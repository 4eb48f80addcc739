"""Nets for the certifier's tests, and their forward and backward pass in plain NumPy."""

import functools
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers
from scipy import special

import keraslip
from keraslip import activations
from keraslip.certify.bound.evaluate import Evaluation, Evaluator
from keraslip.certify.bound.network import Network
from keraslip.certify.bound.nodes import ActivationNode, LinearNode, SumNode
from keraslip.certify.bound.norm_sources import LocalNorms, global_norms, proved
from keraslip.certify.norms.rounding import Execution
from tests.cases import CASES, ClippedReLU
from tests.cases import NETS as NETS
from tests.reference.paper_numpy import points_in_ball

#: For tests of what is computed in NumPy: on every backend, tests/certify/test_cases.py and test_executed.py
#: hold that against what runs.
weights_alone = pytest.mark.any_backend("float64 NumPy from weights")
EXACT, FLOAT32 = Execution.of("float64"), Execution.of("float32")
#: Where norms come from, by name.
NORMS = {
    "global": global_norms,
    "dense": LocalNorms(False, proved),
    "local": LocalNorms(True, proved),
}


@functools.cache
def model(name: str) -> keraslip.LocalLipschitzModel:
    """A case with seeded weights, built once; not to be changed."""
    return CASES[name].model


@functools.cache
def network(name: str) -> Network:
    """The certifier's view of it."""
    return Network(model(name))


@functools.cache
def inputs(name: str, count: int = 3) -> np.ndarray:
    """Some inputs in [0, 1], float32."""
    return CASES[name].inputs(count)


def dense_model(
    weights: list[np.ndarray], biases: list[Any] | None = None, theta: float | None = 1.0
) -> keraslip.LocalLipschitzModel:
    """Dense layers `(out, in)` with clipped ReLU between them, or ReLU if theta is None."""
    biases = biases or [np.zeros(len(w)) for w in weights]
    x = start = keras.Input((weights[0].shape[1],))
    for k, (weight, bias) in enumerate(zip(weights, biases, strict=True)):
        layer = layers.Dense(len(weight))
        x = layer(x)
        layer.set_weights([np.asarray(weight).T, np.asarray(bias)])
        if k < len(weights) - 1:
            x = layers.ReLU()(x) if theta is None else ClippedReLU(theta)(x)
    return keraslip.LocalLipschitzModel(start, x)


def evaluated(
    net: Network,
    x: np.ndarray,
    label: Any,
    epsilon: Any,
    norms: str = "global",
    backwards: bool = True,
    hard: bool = False,
    execution: Execution = EXACT,
) -> Evaluation:
    """What the certifier says of some samples."""
    n = len(x)
    labels, radii = np.broadcast_to(label, (n,)), np.broadcast_to(np.asarray(epsilon, "float64"), n)
    return Evaluator(net, execution)(x, labels, radii, NORMS[norms], backwards, hard)


def forward(net: Network, x: np.ndarray) -> dict[int, np.ndarray]:
    """Outputs of every step, in float64."""
    values = {0: np.asarray(x, "float64")}
    for node in net.nodes[1:]:
        read = [values[source.index] for source in node.sources]
        if isinstance(node, LinearNode):
            out = node.operator.forward(read[0])
            out = out if node.bias is None else out + node.bias
        elif isinstance(node, SumNode):
            out = sum(read) if node.constant is None else sum(read) + node.constant
        else:
            out = _activated(node, read[0])
        values[node.index] = out
    return values


def _activated(node: Any, z: np.ndarray) -> np.ndarray:
    act = node.activation
    if isinstance(act, activations.PiecewiseLinear):
        return _straight(act, z)
    if isinstance(act, activations.Smooth):
        return bent(act, z)[0]
    if isinstance(act, activations.GroupSort):
        out, groups = np.array(z).reshape(len(z), -1), _groups(act, z)
        out[:, groups] = np.sort(out[:, groups], axis=-1)
        return out.reshape(z.shape)
    if isinstance(act, activations.Largest):
        return (
            act.sign
            * (np.cumsum(np.ones_like(z), axis=-1) == 1)
            * _seen(act, z).max(axis=-1, keepdims=True)
        )
    upper, lower = clips_of(act)
    if isinstance(act, activations.ClippedReLU):
        return np.minimum(np.maximum(z, 0.0), upper)
    p, q = np.split(z, 2, axis=act.axis)
    large, small = np.minimum(np.maximum(p, q), upper), np.maximum(np.minimum(p, q), lower)
    return np.concatenate([large, small], axis=act.axis)


def _seen(act: Any, z: np.ndarray) -> np.ndarray:
    z = act.sign * z
    return z if act.there is None else np.where(act.there > 0.0, z, -1e9)


def _straight(act: Any, z: np.ndarray) -> np.ndarray:
    """The lengths of the pieces between 0 and z, times their slopes; the outer ones end far away."""
    points = [-1e3, *act.kinks, 1e3]
    ends = zip(act.gradients, points, points[1:], strict=False)
    return act.at_zero + sum(g * (np.clip(z, a, b) - np.clip(0.0, a, b)) for g, a, b in ends)


def bent(act: Any, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Value and slope of a smooth activation, by SciPy."""
    s, phi, soft = special.expit(z), special.ndtr(z), np.logaddexp(z, 0.0)
    density = np.exp(-(z**2) / 2.0) / np.sqrt(2.0 * np.pi)
    name = type(act).__name__
    if name == "ELU":
        a, c, w = act.alpha, act.scale, act.width
        e = np.exp(np.minimum(z, 0.0) / w)
        below = c * a * np.expm1(np.minimum(z, 0.0) / w)
        return np.where(z > 0.0, c * z, below), np.where(z > 0.0, c, c * a / w * e)
    if name == "ApproximateGELU":
        root = np.sqrt(2.0 / np.pi)
        t = np.tanh(root * (z + 0.044715 * z**3))
        inner = root * (1.0 + 3.0 * 0.044715 * z**2)
        return 0.5 * z * (1.0 + t), 0.5 * (1.0 + t) + 0.5 * z * (1.0 - t**2) * inner
    if name == "Squareplus":
        return 0.5 * (z + np.hypot(z, act.b**0.5)), 0.5 + 0.5 * z / np.hypot(z, act.b**0.5)
    six, two = np.clip(z + 3.0, 0.0, 6.0), np.clip(z + 1.0, 0.0, 2.0)
    known = {
        "HardSiLU": lambda: (
            z * six / 6.0, np.where(np.abs(z) <= 3.0, (2.0 * z + 3.0) / 6.0, 1.0 * (z > 0.0))
        ),
        "SparsePlus": lambda: (np.where(z < 1.0, two**2 / 4.0, z), two / 2.0),
        "Tanh": lambda: (np.tanh(z), np.cosh(np.clip(z, -300, 300)) ** -2.0),
        "TanhShrink": lambda: (z - np.tanh(z), np.tanh(z) ** 2),
        "Softsign": lambda: (z / (1.0 + np.abs(z)), (1.0 + np.abs(z)) ** -2.0),
        "Sigmoid": lambda: (s, s * special.expit(-z)),
        "Softplus": lambda: (soft, s),
        "LogSigmoid": lambda: (special.log_expit(z), special.expit(-z)),
        "SiLU": lambda: (z * s, s + z * s * special.expit(-z)),
        "GELU": lambda: (z * phi, phi + z * density),
        "Mish": lambda: (
            z * np.tanh(soft), np.tanh(soft) + z * np.cosh(np.minimum(soft, 300.0)) ** -2.0 * s
        ),
    }  # fmt: skip
    return known[name]()


def _groups(act: Any, z: np.ndarray) -> np.ndarray:
    """Places of a GroupSort's groups in flat inputs, `(groups, size)`."""
    places = np.arange(z[0].size).reshape(z[:1].shape)
    return np.moveaxis(places, act.axis, -1).reshape(-1, act.group)


def clips_of(act: Any) -> tuple[Any, Any]:
    """The clips of an activation, infinite for none."""
    pair = (act.threshold, 0.0) if hasattr(act, "threshold") else (act.upper, act.lower)
    missing = (np.inf, -np.inf)
    return tuple(m if clip is None else clip for m, clip in zip(missing, pair, strict=True))


def gradient(net: Network, x: np.ndarray, c: np.ndarray) -> np.ndarray:
    """Gradient of `c . logits` at every point, `(n, *shape)`; c is `(n, classes)`."""
    values, back = forward(net, x), {net.logits.index: c}
    for node in reversed(net.nodes[1:]):
        g = back.pop(node.index, None)
        if g is None:
            continue
        if isinstance(node, ActivationNode):
            g = _activation_gradient(node, values[node.sources[0].index], g)
        elif isinstance(node, LinearNode):
            g = node.operator.adjoint(g)
        for source in node.sources:
            back[source.index] = back.get(source.index, 0.0) + g
    return back[0]


def _activation_gradient(node: Any, z: np.ndarray, g: np.ndarray) -> np.ndarray:
    act = node.activation
    if isinstance(act, activations.PiecewiseLinear):
        slopes = np.stack([np.broadcast_to(slope, z[:1].shape) for slope in act.gradients])
        return g * np.take_along_axis(slopes, np.searchsorted(act.kinks, z)[None], axis=0)[0]
    if isinstance(act, activations.Smooth):
        return g * bent(act, z)[1]
    if isinstance(act, activations.GroupSort):
        flat, groups = z.reshape(len(z), -1), _groups(act, z)
        order, back = np.argsort(flat[:, groups], axis=-1), np.array(g).reshape(flat.shape)
        moved = np.empty_like(order, dtype=float)
        np.put_along_axis(moved, order, back[:, groups], axis=-1)
        back[:, groups] = moved
        return back.reshape(g.shape)
    if isinstance(act, activations.Largest):
        return g[..., :1] * (_seen(act, z) == _seen(act, z).max(axis=-1, keepdims=True))
    upper, lower = clips_of(act)
    if isinstance(act, activations.ClippedReLU):
        return g * ((z > 0) & (z < upper))
    p, q = np.split(z, 2, axis=act.axis)
    large, small = np.split(g, 2, axis=act.axis)
    large, small = large * (np.maximum(p, q) < upper), small * (np.minimum(p, q) > lower)
    parts = [np.where(p >= q, large, small), np.where(p >= q, small, large)]
    return np.concatenate(parts, axis=act.axis)


def _lengths(d: np.ndarray) -> np.ndarray:
    size = np.sqrt(np.square(d).sum(axis=tuple(range(1, d.ndim))))
    return np.maximum(size, 1e-300).reshape(-1, *(1,) * (d.ndim - 1))


def attacked(net: Network, x: np.ndarray, epsilon: float, steps: int = 12) -> np.ndarray:
    """Points `(n, pairs, *shape)` of the balls, each pushed from one class towards another."""
    classes = net.classes
    pairs = [(a, b) for a in range(classes) for b in range(classes) if a != b]
    c = np.stack([np.eye(classes)[b] - np.eye(classes)[a] for a, b in pairs])
    center = np.repeat(x.astype("float64"), len(pairs), axis=0)
    c = np.tile(c, (len(x), 1))
    rng, best, found = np.random.default_rng(0), np.full(len(c), -np.inf), center.copy()
    for start in range(2):
        d = rng.standard_normal(center.shape)
        point = center + (0.01 if start else 1.0) * epsilon * d / _lengths(d)
        for step in range(steps):
            g = gradient(net, point, c)
            d = point - center + 1.5 * epsilon * (1 - step / steps) * g / _lengths(g)
            point = center + d * np.minimum(1.0, epsilon * (1 - 1e-12) / _lengths(d))
            value = (forward(net, point)[net.logits.index] * c).sum(axis=1)
            better = value > best
            best[better], found[better] = value[better], point[better]
    return found.reshape(len(x), len(pairs), *x.shape[1:])


def ball(net: Network, x: np.ndarray, epsilon: float, count: int = 60) -> np.ndarray:
    """Points `(n, points, *shape)` of the balls: sphere, inside, axes, corners, attacks.

    Among them are the directions that move single units of the first layers most.
    """
    rows = [np.zeros((0, x[0].size))]
    for node in net.nodes[1:]:
        operator = node.terms.get(0)
        if operator is not None and len(rows) < 3:
            some = np.random.default_rng(1).permutation(operator.outputs)[:24]
            basis = np.eye(operator.outputs)[some].reshape(-1, *operator.out_shape)
            rows.append(operator.adjoint(basis).reshape(len(some), -1))
    d = np.concatenate(rows)
    d = epsilon * (1 - 1e-12) * d / _lengths(d)
    flat = x.reshape(len(x), -1).astype("float64")
    sampled = [
        np.concatenate([points_in_ball(v, epsilon, count, seed=s), v + d, v - d])
        for s, v in enumerate(flat)
    ]
    points = np.stack(sampled).reshape(len(x), -1, *x.shape[1:])
    return np.concatenate([points, attacked(net, x, epsilon)], axis=1)
