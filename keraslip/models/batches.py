"""Batches on their way into a step: checked before it, in one form, their labels counted after it."""

from typing import Any

from keras import ops

from keraslip.backend.structure import only_input, only_target, packed, unpacked
from keraslip.models.data import check_batch
from keraslip.models.labels import is_one_hot, rows_of


class Batches:
    """Mixin of `LocalLipschitzModel`: what Keras asks with inputs and labels."""

    #: The form of labels that metrics were made for, once it is known.
    _label_form: str | None = None

    def __call__(self: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        """The model's outputs; one input may come alone, in a list or in a dictionary with its name."""
        if len(self.inputs) == 1:
            inputs = packed(self, only_input(self, inputs))
        return super().__call__(inputs, *args, **kwargs)  # type: ignore[misc]

    def compute_metrics(
        self: Any, x: Any, y: Any, y_pred: Any, sample_weight: Any = None
    ) -> dict[str, Any]:
        """Called by Keras; gives metrics labels of the one form that they were made for."""
        logits, y = unpacked(y_pred), only_target(self, y)
        classes, rows = logits.shape[-1], is_one_hot(y, logits.shape[-1])
        if self._label_form is None:  # Keras chooses "accuracy" by the labels that come first
            self._label_form = "one-hot" if rows else "index"
        if rows and self._label_form == "index":
            y = ops.argmax(y, axis=-1)
        elif not rows and self._label_form == "one-hot":
            y = rows_of(ops.cast(ops.reshape(y, (-1,)), "int32"), classes)
        weights = only_target(self, sample_weight)
        found: dict[str, Any] = super().compute_metrics(x, y, logits, weights)  # type: ignore[misc]
        return found

    def _get_metrics_result_or_logs(self: Any, logs: Any) -> Any:
        # Keras calls it once, at the end of an epoch and of `evaluate`.
        logs = super()._get_metrics_result_or_logs(logs)  # type: ignore[misc]
        self.invalid_labels.check(self.outputs[0].shape[-1])
        return logs

    def train_on_batch(self: Any, x: Any, y: Any = None, *args: Any, **kwargs: Any) -> Any:
        """One training step, as `keras.Model.train_on_batch`; labels are checked first."""
        self._assert_compile_called("train_on_batch")
        check_batch(self, x, y)
        return super().train_on_batch(x, y, *args, **kwargs)  # type: ignore[misc]

    def test_on_batch(self: Any, x: Any, y: Any = None, *args: Any, **kwargs: Any) -> Any:
        """One evaluation step, as `keras.Model.test_on_batch`; labels are checked first."""
        self._assert_compile_called("test_on_batch")
        check_batch(self, x, y)
        return super().test_on_batch(x, y, *args, **kwargs)  # type: ignore[misc]
