"""Keras' own compiled functions, traced again where a layer was changed since."""

from typing import Any

from keraslip.rules.bounded import check_bounded
from keraslip.rules.kept import is_stale


class FreshFunctions:
    """Mixin of `LocalLipschitzModel`: `fit`, `evaluate` and `predict` are about the network as it is.

    Keras keeps the functions that it compiled until `compile`, whatever is done to the layers; it asks for
    them by these methods.
    """

    def make_train_function(self: Any, force: bool = False) -> Any:
        """See `keras.Model`.

        Raises:
            ValueError: if layers were frozen or unfrozen since the optimizer was built, or all are frozen.
            NotImplementedError: at a layer that was changed to one without a rule.
        """
        stale = self._is_stale("train", self._check_changed)
        self._check_trainable()
        return super().make_train_function(stale or force)  # type: ignore[misc]

    def make_test_function(self: Any, force: bool = False) -> Any:
        """See `keras.Model`."""
        stale = self._is_stale("test", check_bounded)
        return super().make_test_function(stale or force)  # type: ignore[misc]

    def make_predict_function(self: Any, force: bool = False) -> Any:
        """See `keras.Model`."""
        return super().make_predict_function(self._is_stale("predict") or force)  # type: ignore[misc]

    def _is_stale(self: Any, function: str, check: Any = None) -> bool:
        step = (self.bound, self.locality, self.power_iterations, self.sparsity)
        losses = (getattr(self, "robust_loss", None), getattr(self, "train_epsilon", None))
        return is_stale(self, function, *step, *losses, check=check)

    @staticmethod
    def _check_changed(model: Any) -> None:
        check_bounded(model)
        model._check_trainable()

    def _check_trainable(self: Any) -> None:
        if not self.trainable_variables:
            raise ValueError(
                "There is nothing to train: every weight is frozen (trainable=False). Unfreeze a layer and "
                "compile again. Received: a model without trainable weights"
            )
        optimizer = self.optimizer
        known = getattr(optimizer, "_trainable_variables", None) if optimizer.built else None
        if known and {id(v) for v in known} != {id(v) for v in self.trainable_variables}:
            raise ValueError(
                "Layers were frozen or unfrozen, or have new weights, since the model was compiled: call "
                f"compile again. Received: {len(self.trainable_variables)} weights to train, an optimizer of "
                f"{len(known)}"
            )
