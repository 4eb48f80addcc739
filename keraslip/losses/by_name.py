"""Losses by name, as Keras has its own: what `compile`, the command line and searches take."""

from importlib import import_module
from typing import Any

import keras

from keraslip.loss_names import LOSSES


def names() -> list[str]:
    """The names that `get` knows, the default of `compile` first."""
    return list(LOSSES)


def get(identifier: Any) -> Any:
    """A loss on clean and worst-case logits.

    Args:
        identifier: One of `names()`, a class, an instance, a config of
            `keras.saving.serialize_keras_object`, or `None`.

    Returns:
        The loss; `None` for `None`.

    Raises:
        ValueError: for an unknown name, and for what is no loss on pairs of logits, such as Keras' own.

    Example:

    ```python
    keraslip.losses.get("gloro")
    ```
    """
    found = identifier
    if isinstance(identifier, str) and identifier in LOSSES:
        found = getattr(import_module("keraslip.losses"), LOSSES[identifier])
    elif isinstance(identifier, dict):
        found = keras.saving.deserialize_keras_object(identifier)
    if isinstance(found, type):
        found = found()
    if identifier is not None and not _takes_pairs(found):
        raise ValueError(
            f"loss must be one of {', '.join(LOSSES)}, or a loss on clean and worst-case logits such as "
            f"keraslip.losses.GloRoLoss(). Received: loss={identifier!r}"
        )
    return found


def _takes_pairs(loss: Any) -> bool:
    # Keras' own losses take one tensor, not clean and worst-case logits.
    return isinstance(loss, keras.losses.Loss) and not type(loss).__module__.startswith("keras.")
