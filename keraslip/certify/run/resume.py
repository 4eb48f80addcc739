"""Going on with the certificates of an interrupted run."""

from typing import Any

from keraslip.certify.result.certificates import Certificates, differences, foundation
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
        now = foundation(settings.guarantee, settings.arithmetic, settings.radius, details)
        if names := differences(now, resume.foundation):
            raise ValueError(
                "These certificates cannot be resumed: they were made with other weights or options, layers "
                "or settings of Keras, or by other versions. Certify again. "
                f"Received: others of {names}"
            )

    def certificates(self, digest: str, size: int) -> Certificates | None:
        """The certificates of the next block of so many samples, `None` if it was not finished.

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
