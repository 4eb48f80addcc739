"""Rules of max pooling: windows taken out of the image, the largest of each."""

import math
from typing import Any

import keras
import numpy as np
from keras import ops

from keraslip.activations import Largest
from keraslip.linear import (
    ConvGeometry,
    CropMap,
    LinearMap,
    PermuteMap,
    ReshapeMap,
    TakeMap,
    ZeroPadMap,
    compose,
)
from keraslip.rules.interpreter import Form, Interpreter
from keraslip.rules.operations import after, copied, inner_axes
from keraslip.rules.registry import bare_operation, register_rule
from keraslip.rules.rule import Rule, UnsupportedLayerError
from keraslip.typing import Shape


class _Windows:
    """Where the windows along one axis fall.

    Args:
        size: Entries of the axis.
        window: Entries of a window.
        stride: Step from window to window.
        padding: `"valid"` or `"same"`.
    """

    def __init__(self, size: int, window: int, stride: int, padding: str) -> None:
        fall, image, kernel = ConvGeometry((stride, 1), padding), (size, 1), (window, 1)
        self.count = fall.out_image(image, kernel)[0]
        self.padding = fall.padded(image, kernel)[0]
        starts = stride * np.arange(self.count)
        #: Places in the padded axis, `(count, window)`, and which of them are no padding.
        self.places = starts[:, None] + np.arange(window)
        self.there = (self.places >= self.padding[0]) & (self.places < self.padding[0] + size)


def pooled(
    context: Interpreter, form: Form, windows: dict[int, _Windows], sign: float = 1.0
) -> Form:
    """The largest entry of every window; windows by axis, counted without that of the batch.

    With the sign -1 the smallest.
    """
    shape, out = form.shape, list(form.shape)
    for axis, along in windows.items():
        out[axis] = along.count
    form = copied(context, form, _taken(shape, windows))
    form = context.activate(form, Largest(sign, _there(windows, len(shape))))
    first = CropMap(form.shape, (*[(0, 0)] * len(shape), (0, form.shape[-1] - 1)))
    return context.move(form, compose(ReshapeMap(first.out_shape, tuple(out)), first))


def _taken(shape: Shape, windows: dict[int, _Windows]) -> LinearMap:
    """From `shape` to the windows, with the entries of each along one more axis at the end."""
    padding = [windows[k].padding if k in windows else (0, 0) for k in range(len(shape))]
    padded = ZeroPadMap(shape, tuple(padding))
    places = [
        tuple(windows[k].places.ravel().tolist()) if k in windows else None
        for k in range(len(shape))
    ]
    taken: LinearMap = TakeMap(padded.out_shape, tuple(places))
    if any(map(any, padding)):
        taken = compose(taken, padded)
    split: list[int] = []
    kept, within = [], []
    for axis, size in enumerate(shape):
        kept.append(len(split))
        if axis in windows:
            within.append(len(split) + 1)
            split += windows[axis].places.shape
        else:
            split.append(size)
    apart = compose(ReshapeMap(taken.out_shape, tuple(split)), taken)
    moved = compose(PermuteMap(tuple(split), (*kept, *within)), apart)
    whole = (*(split[k] for k in kept), math.prod(split[k] for k in within))
    return compose(ReshapeMap(moved.out_shape, whole), moved)


def _there(windows: dict[int, _Windows], rank: int) -> Any:
    """Which entries of the windows are no padding, `(1, *shape of the windows)`; `None` for all."""
    there = np.ones((1,) * (rank + 1), "float32")
    for axis, along in windows.items():
        each = along.there.reshape([along.count if k == axis else 1 for k in range(rank)] + [1, -1])
        there = (there[..., None] * each).reshape(
            *np.broadcast_shapes(there.shape[:-1], each.shape[:-2]), -1
        )
    return None if there.all() else ops.convert_to_tensor(there[None], "float32")


def _image_axes(layer: Any, rank: int) -> range:
    return range(0, rank - 1) if layer.data_format == "channels_last" else range(1, rank)


@register_rule(keras.layers.MaxPooling1D, keras.layers.MaxPooling2D, keras.layers.MaxPooling3D)
class MaxPoolingRule(Rule):
    """Windows of any size, stride and padding; the norm is the root of how many an entry is in."""

    def propagate(self, operation: Any, context: Interpreter, *args: Any, **kwargs: Any) -> Form:
        shape, axes = args[0].shape, _image_axes(operation, len(args[0].shape))
        arguments = zip(axes, operation.pool_size, operation.strides, strict=True)
        windows = {
            k: _Windows(shape[k], size, step, operation.padding) for k, size, step in arguments
        }
        return pooled(context, args[0], windows)


@register_rule(
    keras.layers.GlobalMaxPooling1D,
    keras.layers.GlobalMaxPooling2D,
    keras.layers.GlobalMaxPooling3D,
)
class GlobalMaxPoolingRule(Rule):
    """One window of everything."""

    def propagate(self, operation: Any, context: Interpreter, *args: Any, **kwargs: Any) -> Form:
        shape, axes = args[0].shape, _image_axes(operation, len(args[0].shape))
        form = pooled(context, args[0], {k: _Windows(shape[k], shape[k], 1, "valid") for k in axes})
        if operation.keepdims:
            return form
        channels = tuple(size for k, size in enumerate(form.shape) if k not in axes)
        return context.move(form, ReshapeMap(form.shape, channels))


class ExtremeOperationRule(Rule):
    """Base of the largest and smallest entries over some axes."""

    sign = 1.0

    def check(self, operation: Any) -> None:
        super().check(operation)
        if getattr(operation, "initial", None) is not None:
            raise UnsupportedLayerError("it has a rule without initial; use ops.maximum behind it")

    def propagate(self, operation: Any, context: Interpreter, *args: Any, **kwargs: Any) -> Form:
        shape = args[0].shape
        axes = inner_axes(operation.axis, len(shape))
        whole = {axis: _Windows(shape[axis], shape[axis], 1, "valid") for axis in axes}
        form = pooled(context, args[0], whole, self.sign)
        return context.move(form, ReshapeMap(form.shape, after(operation, shape)))


@register_rule(bare_operation(lambda x: ops.max(x, 1)), bare_operation(lambda x: ops.amax(x, 1)))
class MaxOperationRule(ExtremeOperationRule):
    """`ops.max` over positions or channels."""


@register_rule(bare_operation(lambda x: ops.min(x, 1)), bare_operation(lambda x: ops.amin(x, 1)))
class MinOperationRule(ExtremeOperationRule):
    """`ops.min` over positions or channels."""

    sign = -1.0
