"""Files of certificates: arrays by name in a `.npz`, beside what they rest on."""

import json
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from keraslip.certify.result.status import of_today
from keraslip.files import whole
from keraslip.typing import FilePath

#: Version of the file format. In 1 the stage "slopes" was called "global".
FORMAT = 2
_EXAMPLE = "counterexample_"
#: What reading something else than certificates may raise.
_UNREADABLE = (
    AttributeError, EOFError, KeyError, TypeError, ValueError, zipfile.BadZipFile, zlib.error,
)  # fmt: skip


class _NewerFormat(Exception):
    """A file of a later version."""


def write(
    path: FilePath,
    arrays: Mapping[str, np.ndarray],
    meta: Mapping[str, Any],
    counterexamples: Mapping[int, np.ndarray],
) -> None:
    """Writes a file in one go: what was there before stays if that fails."""
    examples = {f"{_EXAMPLE}{index}": x for index, x in counterexamples.items()}
    told = np.array(json.dumps({"format": FORMAT, **meta}))
    with whole(Path(path)) as partial, partial.open("wb") as file:
        np.savez_compressed(file, **arrays, **examples, meta=told)  # type: ignore[arg-type]


def read(path: FilePath, names: Sequence[str], optional: Sequence[str] = ()) -> dict[str, Any]:
    """What `write` wrote: arrays by name, all of one length, what `meta` says, and `counterexamples`.

    `None` stands for optional arrays that are missing; a ValueError says that a file holds none of this.
    """
    # Opened here: NumPy leaves the file open where it cannot read it.
    with open(path, "rb") as file:
        try:
            return _read(file, names, optional)
        except _UNREADABLE as error:
            raise ValueError(
                f"{path} holds no certificates: what Certificates.save and keraslip certify write is needed. "
                f"Received: {error!r}"
            ) from None
        except _NewerFormat as error:
            raise ValueError(
                f"{path} has format {error}, newer than this keraslip reads ({FORMAT}); "
                "update keraslip."
            ) from None


def _read(file: BinaryIO, names: Sequence[str], optional: Sequence[str]) -> dict[str, Any]:
    with np.load(file, allow_pickle=False) as stored:
        meta = json.loads(str(stored["meta"]))
        if meta["format"] > FORMAT:
            raise _NewerFormat(meta["format"])
        missing = {name: None for name in optional if name not in stored}
        arrays = {name: stored[name] for name in names if name not in missing}
        examples = {
            int(name.removeprefix(_EXAMPLE)): stored[name]
            for name in stored.files
            if name.startswith(_EXAMPLE)
        }
    if any(value.shape != arrays["status"].shape[:1] for value in arrays.values()):
        raise ValueError("its arrays differ in length")
    arrays["status"] = of_today(arrays["status"])
    told = {name: meta[name] for name in ("guarantee", "arithmetic", "details")}
    return {**arrays, **missing, **told, "counterexamples": examples}
