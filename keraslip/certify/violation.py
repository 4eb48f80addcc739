"""The alarm: evidence against a certificate stops the program and keeps the example."""

import os
from pathlib import Path
from typing import Any

import numpy as np


class CertificateViolation(RuntimeError):
    """A certificate was contradicted: by an attack, by a quotient, or by the executed logits.

    Args:
        message: What happened.
        path: The file with the example.
    """

    def __init__(self, message: str, path: Path) -> None:
        super().__init__(
            f"{message} The example is saved in {path}. No certificate of this model can be trusted until "
            "this is understood; please report it with that file."
        )
        self.path = path


def violated(message: str, **example: Any) -> CertificateViolation:
    """The error to raise, its example saved first.

    Args:
        message: What happened.
        **example: Arrays and numbers to save.
    """
    folder = Path(os.environ.get("KERASLIP_VIOLATIONS", "."))
    number = 0
    while (path := folder / f"keraslip-violation-{number}.npz").exists():
        number += 1
    folder.mkdir(parents=True, exist_ok=True)
    np.savez(path, message=message, **example)
    return CertificateViolation(message, path.resolve())
