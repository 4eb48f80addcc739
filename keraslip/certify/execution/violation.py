"""The alarm: evidence against a certificate stops the program and keeps the example."""

import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

#: The environment's variable that names the folder of examples.
VARIABLE = "KERASLIP_VIOLATIONS"


class CertificateViolation(RuntimeError):
    """A certificate was contradicted: by an attack, by a quotient, or by the executed logits.

    Args:
        message: What happened.
        path: The file with the example; `None` if it could not be written.
        example: The example itself: arrays and numbers by name.
        reason: Why the example is not where it was asked for, if so.
    """

    def __init__(
        self,
        message: str,
        path: Path | None = None,
        example: dict[str, Any] | None = None,
        reason: str | None = None,
    ) -> None:
        saved = "" if path is None else f" The example is saved in {path}."
        lost = "" if reason is None else f" It could not be saved as asked for: {reason}."
        kept = " It is in the error's `example` alone: save it." if path is None else ""
        super().__init__(
            f"{message}{saved}{lost}{kept} No certificate of this model can be trusted until this is "
            "understood; please report it with the example."
        )
        self.message, self.path, self.reason = message, path, reason
        self.example = {} if example is None else example

    def __reduce__(self) -> tuple[Any, ...]:
        # An error that crosses a process keeps its example.
        return type(self), (self.message, self.path, self.example, self.reason)


def violated(message: str, **example: Any) -> CertificateViolation:
    """The error to raise, its example saved first: where it was asked for, else among temporary files.

    A folder that cannot be written never hides the violation.
    """
    reason = None
    for folder in (_folder(), Path(tempfile.gettempdir())):
        try:
            return CertificateViolation(message, _save(folder, message, example), example, reason)
        except (OSError, ValueError) as error:
            reason = reason or str(error)
    return CertificateViolation(message, None, example, reason)


def check_folder() -> None:
    """Raises a ValueError if examples could not be saved where `KERASLIP_VIOLATIONS` says.

    Nothing is left behind. Without the variable there is no promise to keep: what cannot be written to the
    working folder goes among temporary files.
    """
    if not os.environ.get(VARIABLE):
        return
    folder = _folder()
    try:
        existing = folder
        while not existing.exists() and existing != existing.parent:
            existing = existing.parent
        # Trying is the only test that knows read-only disks and users that may write anywhere.
        with tempfile.TemporaryFile(dir=existing):
            pass
    except (OSError, ValueError) as error:
        raise ValueError(
            f"Examples that contradict a certificate could not be saved: the folder that {VARIABLE} names "
            f"cannot be written ({error}). Name another one, or unset it. Received: {VARIABLE}={folder}"
        ) from None


def _folder() -> Path:
    return Path(os.environ.get(VARIABLE, "."))


def _save(folder: Path, message: str, example: dict[str, Any]) -> Path:
    """Writes an example to the first free number."""
    folder.mkdir(parents=True, exist_ok=True)
    number = 0
    while True:
        path = folder / f"keraslip-violation-{number}.npz"
        try:
            # Several processes never take one name.
            file = open(path, "xb")  # noqa: SIM115
        except FileExistsError:
            number += 1
            continue
        try:
            with file:
                np.savez(file, message=message, **example)
        except BaseException:
            path.unlink(missing_ok=True)  # half of an example helps nobody
            raise
        return path.resolve()
