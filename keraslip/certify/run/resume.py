"""Going on with the certificates of an interrupted run."""

from typing import Any

import numpy as np

from keraslip.certify.result.certificates import Certificates
from keraslip.certify.run.settings import Settings


class Before:
    """Certificates of the same samples, as far as there are any; asked block by block.

    Args:
        resume: The certificates, or `None`.
        settings: How to certify now.
        details: What the result rests on now; the digest of every block is added to its `blocks`.

    Raises:
        ValueError: if they rest on something else.
    """

    def __init__(
        self, resume: Certificates | None, settings: Settings, details: dict[str, Any]
    ) -> None:
        self._resume, self._blocks, self._first = resume, details["blocks"], 0
        if resume is None:
            return
        if names := _nothing(settings, details).differences(resume):
            raise ValueError(
                "These certificates cannot be resumed: they were made with other weights or options, layers "
                "or settings of Keras, or by other versions. Certify again. "
                f"Received: others of {names}"
            )

    def certificates(self, digest: str, size: int) -> Certificates | None:
        """The certificates of the next block, `None` if it was not finished.

        Args:
            digest: What is asked of the block.
            size: Its samples.

        Raises:
            ValueError: if something else was asked.
        """
        first, self._first = self._first, self._first + size
        number = len(self._blocks)
        self._blocks.append(digest)
        if self._resume is None:
            return None
        known = self._resume.details.get("blocks", [])
        if number < len(known) and known[number] != digest:
            raise ValueError(
                "These certificates cannot be resumed: they were made of other inputs, labels or radii."
            )
        part = self._resume.part(first, size)
        return part if part is not None and part.complete else None


def _nothing(settings: Settings, details: dict[str, Any]) -> Certificates:
    """A result without samples, to compare with."""
    none = np.zeros(0)
    radius = none if settings.radius else None
    told = settings.guarantee, settings.arithmetic, details
    label, certified, status = none.astype("int64"), none.astype(bool), none.astype("U16")
    return Certificates(label, certified, none, none, radius, status, none, *told)
