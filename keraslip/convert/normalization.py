"""Batch normalisation at inference, which is a scale and a shift of every channel."""

from typing import Any

import keras
import numpy as np
from keras import ops

from keraslip.typing import Array


def affine(layer: Any) -> tuple[Array, Array]:
    """Scale and shift of each channel, `(channels,)` in float64, as inference has them.

    Args:
        layer: A built `keras.layers.BatchNormalization`.
    """
    mean, variance = _read(layer.moving_mean), _read(layer.moving_variance)
    scale = 1.0 / np.sqrt(variance + layer.epsilon)
    if layer.scale:
        scale = scale * _read(layer.gamma)
    shift = -mean * scale
    return scale, shift + _read(layer.beta) if layer.center else shift


def into_kernel(layer: Any, normalization: Any) -> list[Array]:
    """Kernel and bias of a layer with the normalisation behind it, float32.

    Args:
        layer: A built dense or convolution layer without activation.
        normalization: The normalisation of its outputs' channels.
    """
    scale, shift = affine(normalization)
    bias = _read(layer.bias) if layer.use_bias else 0.0
    kernel = _read(layer.kernel)
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
    axis = normalization.axis
    axis = axis if axis >= 0 else axis + rank
    shape = [1] * (rank - axis)
    shape[0] = -1
    scale, shift = (part.reshape(shape) for part in affine(normalization))
    if len(shape) == 1:
        scale, shift = scale.reshape(-1), shift.reshape(-1)
    policy = normalization.dtype_policy
    return keras.layers.Rescaling(scale.tolist(), shift.tolist(), name=name, dtype=policy)


def _read(variable: Any) -> Array:
    return np.asarray(ops.convert_to_numpy(variable), dtype="float64")
