"""Rules of bare operations that move entries or add them up: `x[:, ::2]`, `ops.reshape`, `ops.mean`, ..."""

import math
from typing import Any

import keras
import numpy as np
from keras import ops

from keraslip.linear import (
    DenseMap,
    LinearMap,
    MeanMap,
    PermuteMap,
    ReshapeMap,
    TakeMap,
    ZeroPadMap,
    compose,
)
from keraslip.rules.interpreter import Form, Interpreter
from keraslip.rules.registry import bare_operation, register_rule
from keraslip.rules.rule import Rule, UnsupportedLayerError
from keraslip.typing import Shape

_BY_TENSOR = "it takes entries by a tensor; use slices and whole numbers"
_MIXES = "it mixes the samples of a batch; leave the first axis as it is"


def after(operation: Any, shape: Shape, *args: Any, **kwargs: Any) -> Shape:
    """Shape of one output of an operation on one input of a shape; the batch axis must stay the first one."""
    start = keras.KerasTensor((None, *shape))
    found = tuple(operation.compute_output_spec(start, *args, **kwargs).shape)
    if not found or found[0] is not None or None in found[1:]:
        raise UnsupportedLayerError(_MIXES)
    return found[1:]


def inner_axes(axis: Any, rank: int) -> tuple[int, ...]:
    """Axes that an operation names, without that of the batch, which is refused; `None` is all of them."""
    named = range(rank + 1) if axis is None else np.atleast_1d(axis)
    axes = tuple(sorted(int(one) % (rank + 1) - 1 for one in named))
    if -1 in axes:
        raise UnsupportedLayerError(_MIXES)
    return axes


def copied(context: Interpreter, form: Form, linear_map: LinearMap) -> Form:
    """A map that copies entries: one that uses each at most once keeps balls closed."""
    return (context.move if linear_map.isometry else context.linear)(form, linear_map)


@register_rule(
    bare_operation(lambda x: ops.reshape(x, (-1, 1))),
    bare_operation(lambda x: ops.squeeze(x, 1)),
    bare_operation(lambda x: ops.expand_dims(x, 1)),
)
class ReshapeOperationRule(Rule):
    """`ops.reshape`, `ops.squeeze`, `ops.expand_dims`."""

    def propagate(self, operation: Any, context: Interpreter, *args: Any, **kwargs: Any) -> Form:
        shape = args[0].shape
        if getattr(operation, "axis", ()) is None:
            raise UnsupportedLayerError("of a batch of one it would squeeze that; name its axis")
        target = after(operation, shape)
        if math.prod(target) != math.prod(shape):
            raise UnsupportedLayerError(_MIXES)
        return context.move(args[0], ReshapeMap(shape, target))


@register_rule(
    bare_operation(lambda x: ops.transpose(x, (0, 1))),
    bare_operation(lambda x: ops.swapaxes(x, 1, 1)),
    bare_operation(lambda x: ops.moveaxis(x, 1, 1)),
)
class TransposeOperationRule(Rule):
    """`ops.transpose`, `ops.swapaxes`, `ops.moveaxis`."""

    def propagate(self, operation: Any, context: Interpreter, *args: Any, **kwargs: Any) -> Form:
        shape = args[0].shape
        # Sizes that tell the axes apart.
        sizes = tuple(range(2, 2 + len(shape)))
        axes = tuple(size - 2 for size in after(operation, sizes))
        return context.move(args[0], PermuteMap(shape, axes))


class TakeOperationRule(Rule):
    """Base of operations that take entries of every axis by their places."""

    def places(self, operation: Any, axis: int, size: int, rank: int) -> Any:
        """What is taken of an axis, counted with that of the batch, as an array of places."""
        raise NotImplementedError

    def propagate(self, operation: Any, context: Interpreter, *args: Any, **kwargs: Any) -> Form:
        form, shape = args[0], args[0].shape
        found = (self.places(operation, k + 1, size, len(shape)) for k, size in enumerate(shape))
        places = tuple(None if one is None else tuple(one.tolist()) for one in found)
        return copied(context, form, TakeMap(shape, places))


@register_rule(bare_operation(lambda x: ops.flip(x, 1)))
class FlipOperationRule(TakeOperationRule):
    """`ops.flip`."""

    def places(self, operation: Any, axis: int, size: int, rank: int) -> Any:
        return np.arange(size)[::-1] if axis - 1 in inner_axes(operation.axis, rank) else None


@register_rule(bare_operation(lambda x: ops.repeat(x, 2, 1)))
class RepeatOperationRule(TakeOperationRule):
    """`ops.repeat`."""

    def places(self, operation: Any, axis: int, size: int, rank: int) -> Any:
        named = axis - 1 in inner_axes(operation.axis, rank)
        return np.repeat(np.arange(size), operation.repeats) if named else None


@register_rule(bare_operation(lambda x: ops.take(x, [0], 1)))
class TakeRule(Rule):
    """`ops.take` of places that are the same for all samples."""

    def propagate(self, operation: Any, context: Interpreter, *args: Any, **kwargs: Any) -> Form:
        form, named = [*args, *kwargs.values()]
        if hasattr(named, "is_form") or not hasattr(form, "is_form"):
            raise UnsupportedLayerError(_BY_TENSOR)
        shape = form.shape
        (axis,) = inner_axes(operation.axis, len(shape))
        found = np.asarray(ops.convert_to_numpy(named))
        places: list[tuple[int, ...] | None] = [None] * len(shape)
        if ((found < -shape[axis]) | (found >= shape[axis])).any():
            raise UnsupportedLayerError(
                f"it takes places that an axis of size {shape[axis]} does not have; on some backends these "
                f"are other entries, or NaN. Received: indices from {found.min()} to {found.max()}"
            )
        places[axis] = tuple(np.arange(shape[axis])[found.ravel()].tolist())
        taken = TakeMap(shape, tuple(places))
        target = (*shape[:axis], *found.shape, *shape[axis + 1 :])
        return copied(context, form, compose(ReshapeMap(taken.out_shape, target), taken))


@register_rule(bare_operation(lambda x: ops.tile(x, (1, 2))))
class TileOperationRule(TakeOperationRule):
    """`ops.tile`."""

    def places(self, operation: Any, axis: int, size: int, rank: int) -> Any:
        times = [int(number) for number in np.atleast_1d(operation.repeats)]
        times = [1] * (rank + 1 - len(times)) + times
        if len(times) > rank + 1 or times[0] != 1:
            raise UnsupportedLayerError(_MIXES)
        return np.tile(np.arange(size), times[axis])


@register_rule(bare_operation(lambda x: ops.roll(x, 1, 1)))
class RollOperationRule(TakeOperationRule):
    """`ops.roll`."""

    def places(self, operation: Any, axis: int, size: int, rank: int) -> Any:
        inner_axes(operation.axis, rank)
        axes, shifts = np.broadcast_arrays(operation.axis, operation.shift)
        here = np.atleast_1d(axes % (rank + 1) == axis)
        return np.roll(np.arange(size), np.atleast_1d(shifts)[here].sum())


@register_rule(bare_operation(lambda x: ops.pad(x, ((0, 0), (1, 1)))))
class PadOperationRule(TakeOperationRule):
    """`ops.pad`, with a constant or with entries of the tensor."""

    def places(self, operation: Any, axis: int, size: int, rank: int) -> Any:
        return np.pad(np.arange(size), self._widths(operation, rank)[axis], mode=operation.mode)

    @staticmethod
    def _widths(operation: Any, rank: int) -> list[tuple[int, int]]:
        widths = [tuple(map(int, pair)) for pair in operation.pad_width]
        widths = widths * (rank + 1) if len(widths) == 1 else widths
        if any(widths[0]):
            raise UnsupportedLayerError(_MIXES)
        return widths  # type: ignore[return-value]

    def check(self, operation: Any) -> None:
        super().check(operation)
        if operation.mode not in ("constant", "edge", "reflect", "symmetric", "wrap"):
            raise UnsupportedLayerError(
                'it pads by numbers of its own; use mode="constant", "edge", "reflect" or "symmetric". '
                f"Received: mode={operation.mode!r}"
            )

    def propagate(self, operation: Any, context: Interpreter, *args: Any, **kwargs: Any) -> Form:
        form, shape = args[0], args[0].shape
        widths = self._widths(operation, len(shape))[1:]
        if operation.mode != "constant":
            return super().propagate(operation, context, form)
        value = [*args[1:], *kwargs.values(), None][0]
        form = context.move(form, ZeroPadMap(shape, tuple(widths)))
        if not value:
            return form
        around = np.pad(np.zeros(shape, "float32"), widths, constant_values=value)
        return context.shift(form, ops.convert_to_tensor(around[None]))


@register_rule(bare_operation(lambda x: x[:, :1]))
class GetItemRule(Rule):
    """`x[:, 1:, ::2]`: slices, whole numbers, `None` and `...`."""

    def propagate(self, operation: Any, context: Interpreter, *args: Any, **kwargs: Any) -> Form:
        form, key = args[0], args[1] if len(args) > 1 else kwargs["key"]
        shape, target = form.shape, after(operation, form.shape, key)
        every = self._keys(key, len(shape) + 1)
        if every[0] != slice(None):
            raise UnsupportedLayerError(_MIXES)
        places = [np.atleast_1d(np.arange(n)[k]) for n, k in zip(shape, every[1:], strict=True)]
        taken = TakeMap(shape, tuple(tuple(one.tolist()) for one in places))
        return copied(context, form, compose(ReshapeMap(taken.out_shape, target), taken))

    @staticmethod
    def _keys(key: Any, rank: int) -> list[Any]:
        """What is taken of every axis."""
        keys = [
            one for one in (key if isinstance(key, tuple | list) else (key,)) if one is not None
        ]
        if not all(isinstance(one, int | slice) or one is Ellipsis for one in keys):
            raise UnsupportedLayerError(_BY_TENSOR)
        keys = keys if Ellipsis in keys else [*keys, Ellipsis]
        dots = keys.index(Ellipsis)
        return [*keys[:dots], *[slice(None)] * (rank + 1 - len(keys)), *keys[dots + 1 :]]


class ReducingRule(Rule):
    """Base of sums and means over some axes."""

    def over_rows(self, count: int, rest: int) -> LinearMap:
        """The map from `(count, rest)` onto a vector or `(1, rest)`."""
        raise NotImplementedError

    def propagate(self, operation: Any, context: Interpreter, *args: Any, **kwargs: Any) -> Form:
        form, shape = args[0], args[0].shape
        axes = inner_axes(operation.axis, len(shape))
        kept = tuple(k for k in range(len(shape)) if k not in axes)
        count, rest = (math.prod(shape[k] for k in some) for some in (axes, kept))
        moved = PermuteMap(shape, (*axes, *kept))
        rows = compose(ReshapeMap(moved.out_shape, (1, count, rest)), moved)
        whole = compose(self.over_rows(count, rest), rows)
        return context.linear(
            form, compose(ReshapeMap(whole.out_shape, after(operation, shape)), whole)
        )


@register_rule(bare_operation(lambda x: ops.mean(x, 1)))
class MeanOperationRule(ReducingRule):
    """`ops.mean`."""

    def over_rows(self, count: int, rest: int) -> LinearMap:
        return MeanMap((1, count, rest))


@register_rule(bare_operation(lambda x: ops.sum(x, 1)))
class SumOperationRule(ReducingRule):
    """`ops.sum`."""

    def over_rows(self, count: int, rest: int) -> LinearMap:
        turned = PermuteMap((1, count, rest), (0, 2, 1))
        return compose(DenseMap(ops.ones((count, 1)), turned.out_shape), turned)
