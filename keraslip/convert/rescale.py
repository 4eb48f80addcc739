"""A start for fine-tuning: the same features, in layers whose norms are small."""

import math
from typing import Any

import keras
import numpy as np
from keras import ops

from keraslip.arithmetic import float64
from keraslip.bounds.krylov import largest_input
from keraslip.rules.bases import LinearRule
from keraslip.rules.derived import DerivedWeights
from keraslip.rules.registry import rule_for

#: Lanczos steps for a norm.
_STEPS = 30


def scale_down(model: Any, norm: float) -> None:
    """Scales every layer whose spectral norm is larger than `norm` down to it, kernels and biases.

    A network of straight pieces without other paths keeps its decisions, for all its logits shrink; where
    branches meet they shift, and training goes on from there.

    Args:
        model: A built model.
        norm: The largest norm of a layer, > 0.
    """
    for layer in model.layers:
        factor = norm / max(_norm(layer), norm) if _scales(layer) else 1.0
        if not factor < 1.0:
            continue
        if isinstance(layer, keras.layers.Rescaling):
            layer.scale = (np.asarray(layer.scale) * factor).tolist()
            layer.offset = (np.asarray(layer.offset) * factor).tolist()
            continue
        kernels = [w for w in layer.trainable_weights if w is not getattr(layer, "bias", None)]
        for kernel in kernels:
            # Several kernels in a row are one map.
            kernel.assign(kernel * factor ** (1.0 / len(kernels)))
        if getattr(layer, "bias", None) is not None:
            layer.bias.assign(layer.bias * factor)


def _scales(layer: Any) -> bool:
    """Whether a layer is a linear map with coefficients that can be scaled."""
    if isinstance(layer, keras.layers.InputLayer | DerivedWeights):
        return False
    coefficients = bool(layer.trainable_weights) or isinstance(layer, keras.layers.Rescaling)
    return coefficients and isinstance(rule_for(layer), LinearRule)


def _norm(layer: Any) -> float:
    """The spectral norm of a layer's map, as far as Lanczos steps show it."""
    rule: Any = rule_for(layer)
    found = rule.linear_map(layer, tuple(layer.input.shape[1:]))
    draw = np.random.default_rng(0)
    start = draw.standard_normal((1, *found.out_shape)).astype("float32")
    steps = min(_STEPS, math.prod(found.out_shape))
    reached = largest_input(
        found.adjoint, found.forward, ops.convert_to_tensor(start), max(steps, 1)
    )
    return _length(found.forward(reached)) / max(_length(reached), 1e-30)


def _length(x: Any) -> float:
    return float(np.linalg.norm(float64.constant(x)))
