"""Batch normalisation at inference, which is a scale and a shift of every channel."""

from typing import Any

import keras
import numpy as np

from keraslip.arithmetic import float64
from keraslip.typing import Array


def affine(layer: Any) -> tuple[Array, Array]:
    """Scale and shift of each channel, `(channels,)` in float64, as inference has them.

    Args:
        layer: A built `keras.layers.BatchNormalization`.
    """
    mean, variance = map(float64.constant, (layer.moving_mean, layer.moving_variance))
    scale = 1.0 / np.sqrt(variance + layer.epsilon)
    if layer.scale:
        scale = scale * float64.constant(layer.gamma)
    shift = -mean * scale
    return scale, shift + float64.constant(layer.beta) if layer.center else shift


def into_kernel(layer: Any, normalization: Any) -> list[Array]:
    """Kernel and bias of a layer with the normalisation behind it, float32.

    Args:
        layer: A built dense or convolution layer without activation.
        normalization: The normalisation of its outputs' channels.
    """
    scale, shift = affine(normalization)
    bias = float64.constant(layer.bias) if layer.use_bias else 0.0
    kernel = float64.constant(layer.kernel)
    if isinstance(layer, keras.layers.DepthwiseConv2D):
        kernel = kernel * scale.reshape(kernel.shape[2:])
    else:
        kernel = kernel * scale
    return [kernel.astype("float32"), (bias * scale + shift).astype("float32")]


def as_layer(normalization: Any, rank: int, name: str) -> Any:
    """The same scale and shift as a layer without weights of its own.

    Args:
        normalization: A built `keras.layers.BatchNormalization`.
        rank: Of its input, batch axis included.
        name: Name of the new layer.
    """
    behind = rank - 1 - normalization.axis % rank
    scale, shift = (part.reshape(-1, *[1] * behind) for part in affine(normalization))
    policy = normalization.dtype_policy
    return keras.layers.Rescaling(scale.tolist(), shift.tolist(), name=name, dtype=policy)
