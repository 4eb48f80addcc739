"""Data of one's own, from an `.npz` file."""

from pathlib import Path
from typing import Any

import numpy as np

from keraslip.datasets.dataset import Dataset, Images, Labels
from keraslip.datasets.splits import hold_out, validation_count

SUFFIX = ".npz"
#: Share of the training samples that is held out where the file has no validation samples.
VALIDATION = 0.1
_HOW = (
    "A file of data is made with np.savez(path, x_train=..., y_train=..., x_test=..., y_test=...); x_val and "
    "y_val, and class_names, are optional. "
)


def load(path: str, validation_split: float | int | None, seed: int) -> Dataset:
    """Reads samples of any shape: `(n, features)`, `(n, steps, channels)`, `(n, height, width, channels)`.

    uint8 values are divided by 255; others keep their units, which are then those of epsilon.

    Args:
        path: The file. Either part, training or test, may be left out.
        validation_split: As for `keraslip.datasets.load`; where the file has validation samples, `None`.
        seed: Decides which samples are held out.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If what it holds is no data of a classifier.
    """
    stored = _read(path)
    names = sorted(name[2:] for name in stored if name.startswith(("x_", "y_")))
    if not {"train", "test"} & set(names):
        raise ValueError(f"{_HOW}Received: {path} with {', '.join(stored) or 'nothing'}")
    parts = {name: _part(stored, name, path) for name in ("train", "val", "test")}
    x, y = parts["train"]
    if not len(parts["val"][0]) and len(x):
        split = VALIDATION if validation_split is None else validation_split
        train, val = hold_out(
            y.astype("int64"), validation_count(split, len(y)), seed, stratify=False
        )
        parts["train"], parts["val"] = (x[train], y[train]), (x[val], y[val])
    elif validation_split is not None:
        raise ValueError(
            f"{path} has validation samples of its own. Received: validation_split={validation_split!r}"
        )
    shape = next(x.shape[1:] for x, _ in parts.values() if len(x))
    for name, (x, _) in parts.items():
        if len(x) and x.shape[1:] != shape:
            raise ValueError(f"x_{name} of {path} has samples of another shape: {x.shape[1:]}")
    empty = np.zeros((0, *shape), "float32")
    samples = {f"x_{name}": x if len(x) else empty for name, (x, _) in parts.items()}
    classes = {f"y_{name}": y for name, (_, y) in parts.items()}
    kept: Any = {**samples, **classes}
    return Dataset(name=path, class_names=_names(stored, parts, path), **kept)


def _read(path: str) -> dict[str, Any]:
    if not Path(path).is_file():
        raise FileNotFoundError(f"There is no file {path}.")
    try:
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except Exception as error:  # whatever zipfile and NumPy say of a damaged file
        # NumPy's own words advise to unpickle what it does not know.
        raise ValueError(f"{path} cannot be read as arrays. {_HOW}Received: {path}") from error


def _part(stored: dict[str, Any], name: str, path: str) -> tuple[Images, Labels]:
    x, y = stored.get(f"x_{name}"), stored.get(f"y_{name}")
    if x is None and y is None:
        return np.zeros((0, 0), "float32"), np.zeros(0, "int32")
    if x is None or y is None or x.ndim < 2 or y.size != len(x) or y.shape[0] != len(x):
        shapes = ", ".join("none" if a is None else str(a.shape) for a in (x, y))
        raise ValueError(
            f"x_{name} needs samples, (n, ...), and y_{name} their classes, (n,), whole numbers from 0 (of "
            f"one-hot rows, argmax). Received: shapes {shapes} in {path}"
        )
    if x.dtype.kind not in "uifb":
        raise ValueError(f"x_{name} of {path} must hold numbers. Received: {x.dtype}")
    y = y.reshape(-1)
    if y.dtype.kind not in "uifb" or not (y == np.floor(y)).all() or (len(y) and y.min() < 0):
        raise ValueError(f"y_{name} of {path} must hold whole numbers from 0. Received: {y.dtype}")
    x = np.divide(x, np.float32(255)) if x.dtype == np.uint8 else x.astype("float32")
    if not np.isfinite(x).all():
        raise ValueError(f"x_{name} of {path} holds numbers that are not finite.")
    return x, y.astype("int32")


def _names(stored: dict[str, Any], parts: dict[str, Any], path: str) -> tuple[str, ...]:
    found = 1 + max(int(y.max()) for _, y in parts.values() if len(y))
    if "class_names" not in stored:
        return tuple(map(str, range(max(found, 2))))
    names = tuple(map(str, stored["class_names"].reshape(-1)))
    if len(names) < found:
        raise ValueError(f"{path} has {len(names)} class names for at least {found} classes.")
    return names
