"""Rule of `EinsumDense`."""

import math
import string
from typing import Any

import keras
from keras import ops

from keraslip.linear import DenseMap, LinearMap, PermuteMap, ReshapeMap, compose
from keraslip.rules.linear import DenseRule, full_precision
from keraslip.rules.registry import register_rule
from keraslip.rules.rule import UnsupportedLayerError
from keraslip.typing import Shape


@register_rule(keras.layers.EinsumDense)
class EinsumDenseRule(DenseRule):
    """One kernel for every position of the axes that it does not name: a dense layer."""

    def check(self, operation: Any) -> None:
        super().check(operation)
        inputs, kernel, outputs = _labels(operation.equation, None)
        first = inputs[0] if inputs else ""
        if set(inputs) & set(kernel) & set(outputs) or first in kernel or outputs[:1] != first:
            raise UnsupportedLayerError(
                "it is no dense layer: every axis of the kernel must be one that is summed, or one of the "
                f"output alone, and the batch must stay first. Received: equation={operation.equation!r}"
            )

    def linear_map(self, layer: Any, in_shape: Shape) -> LinearMap:
        inputs, kernel, outputs = _labels(layer.equation, len(in_shape) + 1)
        inputs, outputs = inputs[1:], outputs[1:]
        summed = [label for label in inputs if label in kernel]
        kept = [label for label in inputs if label not in kernel]
        free = [label for label in kernel if label not in summed]
        weights = full_precision(layer.kernel)
        size = dict(zip(inputs, in_shape, strict=True)) | dict(
            zip(kernel, weights.shape, strict=True)
        )

        def total(labels: list[str]) -> int:
            return math.prod(size[label] for label in labels)

        weights = ops.transpose(weights, [kernel.index(label) for label in (*summed, *free)])
        weights = ops.reshape(weights, (total(summed), total(free)))
        moved = PermuteMap(in_shape, tuple(inputs.index(label) for label in (*kept, *summed)))
        rows = compose(ReshapeMap(moved.out_shape, (total(kept), total(summed))), moved)
        dense = compose(DenseMap(weights, rows.out_shape), rows)
        apart = (*kept, *free)
        whole = compose(ReshapeMap(dense.out_shape, tuple(size[label] for label in apart)), dense)
        return compose(PermuteMap(whole.out_shape, tuple(map(apart.index, outputs))), whole)


def _labels(equation: str, rank: int | None) -> tuple[str, str, str]:
    """Labels of the input, the kernel and the output; those that dots stand for are capitals.

    Without the rank of the input, with the batch axis, dots stand for one axis.
    """
    inputs, rest = equation.replace(" ", "").split(",")
    kernel, outputs = rest.split("->")
    named = len(inputs.replace(".", ""))
    many = string.ascii_uppercase[: 1 if rank is None else rank - named]
    inputs, outputs = (part.replace("...", many) for part in (inputs, outputs))
    return inputs, kernel, outputs
