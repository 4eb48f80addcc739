"""Labels of a batch in one form, whatever form they come in; what is no label is never certified."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import keras
from keras import ops

from keraslip.typing import Tensor


@dataclass(frozen=True, eq=False)
class Labels:
    """Labels of a batch, all of them classes of the model.

    Where what was given is no label, a class that is not predicted stands for it: whoever counts it, counts
    an error.
    """

    index: Tensor  #: Classes, `(batch,)`.
    one_hot: Tensor  #: The same as rows, `(batch, classes)`, float32.
    valid: Tensor  #: Whether that is what was given, `(batch,)`.
    given: Tensor  #: The labels in the form that they were given in.

    @classmethod
    def of(cls, y: Tensor | None, logits: Tensor) -> "Labels":
        """Labels for logits: indices `(batch,)` or `(batch, 1)`, or one-hot; the predicted ones if `None`."""
        predicted, classes = ops.argmax(logits, axis=-1), logits.shape[-1]
        rows = y is not None and is_one_hot(y, classes)
        if y is None:
            index, valid = predicted, ops.ones_like(predicted, dtype="bool")
        else:
            index, valid = _of_rows(y) if rows else _of_indices(y, classes)
        index = ops.where(valid, index, (ops.cast(predicted, "int32") + 1) % classes)
        one_hot = rows_of(index, classes)
        given = one_hot if rows or y is None else ops.reshape(index, ops.shape(y))
        return cls(index, one_hot, valid, given)

    def weights(self, sample_weight: Tensor | None) -> Tensor:
        """Sample weights that leave out what has no label."""
        valid = ops.cast(self.valid, "float32")
        if sample_weight is None:
            return valid
        weight = ops.cast(sample_weight, "float32")
        return weight * ops.reshape(valid, (-1, *(1,) * (len(weight.shape) - 1)))


def is_one_hot(y: Tensor, classes: int) -> bool:
    """Whether labels are rows rather than indices, by their shape."""
    return len(y.shape) == 2 and y.shape[-1] == classes and classes > 1


def rows_of(index: Tensor, classes: int) -> Tensor:
    """One-hot rows `(batch, classes)` of class indices; zeros for an index that is no class."""
    # By comparison: one_hot fails for such an index on some backends.
    same = ops.expand_dims(index, -1) == ops.arange(classes, dtype=index.dtype)
    return ops.cast(same, "float32")


def _of_rows(y: Tensor) -> tuple[Tensor, Tensor]:
    rows = ops.cast(y, "float32")
    binary = ops.all(ops.logical_or(rows == 0.0, rows == 1.0), axis=-1)
    valid = ops.logical_and(binary, ops.sum(rows, axis=-1) == 1.0)
    return ops.cast(ops.argmax(rows, axis=-1), "int32"), valid


def _of_indices(y: Tensor, classes: int) -> tuple[Tensor, Tensor]:
    y = ops.reshape(y, (-1,))
    kind = keras.backend.standardize_dtype(y.dtype)
    if "float" in kind:
        y = ops.cast(y, "float32")
        whole = ops.floor(y) == y
        valid = ops.logical_and(whole, ops.logical_and(y >= 0.0, y < float(classes)))
        return ops.cast(ops.where(valid, y, ops.zeros_like(y)), "int32"), valid
    if kind == "int64":
        # A number too large for int32 must not become a small one.
        y = ops.clip(y, -1, classes)
    y = ops.cast(y, "int32")
    return y, ops.logical_and(y >= 0, y < classes)


class InvalidLabels(keras.metrics.Metric):
    """Counts, inside compiled steps, samples without a label; the logs show nothing of it."""

    def __init__(self, name: str = "invalid_labels") -> None:
        super().__init__(name=name)
        self.count = self.add_variable((), "zeros", name="count")

    def update_state(self, valid: Tensor) -> None:
        self.count.assign_add(ops.sum(1.0 - ops.cast(valid, "float32")))

    def result(self) -> dict[str, Tensor]:
        return {}

    def check(self, classes: int) -> None:
        """Raises if there was one."""
        count = int(ops.convert_to_numpy(self.count))
        if count:
            raise ValueError(
                f"Labels must lie in 0..{classes - 1}, for the model has {classes} classes, or be one-hot. "
                "A sample without such a label is left out of the loss and never certified. "
                f"Received: {count} such samples"
            )


def metric_form(metrics: Iterable[Any]) -> str | None:
    """The form that metrics of Keras want labels in, `"index"` or `"one-hot"`; `None` if either will do."""
    found = {form for metric in keras.tree.flatten(list(metrics)) if (form := _form(metric))}
    if len(found) > 1:
        raise ValueError(
            "Metrics must all want class indices (such as SparseCategoricalAccuracy) or all want one-hot "
            f"labels (such as CategoricalAccuracy). Received: metrics={list(metrics)!r}"
        )
    return found.pop() if found else None


def _form(metric: Any) -> str | None:
    named = [metric, getattr(metric, "_fn", None), *type(metric).__mro__]
    for thing in named:
        fixed = str(getattr(thing, "__module__", "")).startswith("keras.")
        name = thing if isinstance(thing, str) else getattr(thing, "__name__", "") if fixed else ""
        name = name.lower().replace("_", "")
        if name.startswith("sparse"):
            return "index"
        if "categorical" in name:
            return "one-hot"
    return None
