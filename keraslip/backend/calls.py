"""Calls of a model from NumPy to NumPy: compiled once, in batches of one size, never of another network."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from keraslip import backend
from keraslip.backend.structure import packed, unpacked
from keraslip.rules.kept import is_stale, kept


def compiled_once(model: Any, key: Any, function: Callable[..., list[Any]]) -> Any:
    """A compiled function, kept on the model for the next call with the same key.

    The key names everything besides the model that the function depends on.
    """
    return kept(model, key, lambda: backend.compiled(model, function))


def in_batches(
    call: Callable[..., Sequence[np.ndarray]], arrays: Sequence[np.ndarray], size: int
) -> list[np.ndarray]:
    """What a compiled function makes of many samples: every batch has one size, so that none is traced again.

    The last batch is filled with its last sample; no sample's result may depend on another sample.
    """
    parts = [
        _filled(call, [a[i : i + size] for a in arrays], size)
        for i in range(0, len(arrays[0]), size)
    ]
    return [np.concatenate(part) for part in zip(*parts, strict=True)]


def _filled(call: Any, arrays: Sequence[np.ndarray], size: int) -> list[np.ndarray]:
    count = len(arrays[0])
    full = [np.concatenate([part, part[-1:].repeat(size - count, 0)]) for part in arrays]
    return [out[:count] for out in call(*full)]


def fresh_predictions(model: Any, x: Any, batch_size: int) -> Any:
    """What `model.predict` says of the model as it is now."""
    # A model of our own sees to it itself.
    if not hasattr(model, "warm_starts") and is_stale(model, "predict"):
        model.make_predict_function(force=True)
    return unpacked(model.predict(packed(model, x), batch_size=batch_size, verbose=0))
