"""Certification of many samples: blocks, progress, interruption, and the final result."""

import secrets
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import keras
import numpy as np
import scipy

from keraslip.certify.bound.network import Network
from keraslip.certify.bound.norm_sources import OneSample, probabilistic, proved
from keraslip.certify.execution import block
from keraslip.certify.execution.executed import check_probes
from keraslip.certify.execution.kept_network import network_of, unchanged
from keraslip.certify.execution.precision import check_precision
from keraslip.certify.execution.violation import check_folder
from keraslip.certify.result.certificates import Certificates, differences, foundation
from keraslip.certify.run.cascade import Cascade
from keraslip.certify.run.inputs import blocks, empty, with_radii
from keraslip.certify.run.progress import progress
from keraslip.certify.run.radius_search import MOST
from keraslip.certify.run.settings import Settings
from keraslip.rules.bounded import check_bounded
from keraslip.version import __version__


def certify(
    model: Any,
    x: Any,
    y: Any,
    epsilon: np.ndarray,
    settings: Settings,
    verbose: Any,
    resume: Certificates | None,
    steps: int | None = None,
) -> Certificates:
    """See `keraslip.LocalLipschitzModel.certify`."""
    check_folder()
    with progress(verbose) as report, ThreadPoolExecutor(settings.threads) as pool:
        # Data that are refused are refused at once.
        check_bounded(model)
        stream, count = blocks(model, x, y, block.SIZE, steps)
        report.expect(count)
        report("the network is written down and probed", 0)
        network, digest = network_of(model)
        seed = secrets.randbits(64)
        rng = np.random.default_rng(seed)
        details = _details(settings, digest, seed)
        before = Before(resume, settings, details)
        parts = with_radii(stream, epsilon, count)
        done: list[Certificates] = []
        executor = pool if settings.threads > 1 else None
        # Two stages and two rounds of boxes, and the radius search.
        norm = one_norm(network, settings, rng, 4 + MOST * settings.radius)
        cascade = Cascade(model, network, settings, rng, report, norm, executor)
        check_probes(model, network, cascade.executed)
        try:
            for part, asked in parts:
                known = before.certificates(part.digest(asked), len(part.x))
                # The result is listed before it is filled: Ctrl-C keeps what it holds by then.
                if known is None:
                    _one_block(cascade, part, asked, done, details)
                else:
                    done.append(known)
                    report("resumed", len(known))
        except KeyboardInterrupt:
            if not done:
                raise
        if not unchanged(model, digest):
            raise RuntimeError(
                "The model's weights changed while it was being certified, or the settings of a layer or of "
                "Keras; the result is void. Certify again when training has stopped."
            )
        check_precision(model)
        if not done:
            raise empty()
        return Certificates.chained(done, details)


def _one_block(
    cascade: Cascade,
    part: block.Block,
    radii: np.ndarray,
    done: list[Certificates],
    details: dict[str, Any],
) -> None:
    cascade.report("predictions", 0)
    samples = cascade.begin(part, radii)
    try:
        cascade.run(samples)
    finally:
        done.append(samples.to_certificates(cascade.settings, details))


def one_norm(
    network: Network, settings: Settings, rng: np.random.Generator, passes: int
) -> OneSample:
    """The local norm of one sample: every one that it may take in some passes gets its share of delta."""
    if settings.guarantee == "proved":
        return proved
    calls = sum(1 for _ in network.operators()) * passes
    return probabilistic(settings.delta / calls, rng)


def _details(settings: Settings, digest: str, seed: int) -> dict[str, Any]:
    return {
        **settings.describe(),
        "seed": seed,
        "network": digest,
        "blocks": [],
        "backend": keras.backend.backend(),
        "versions": {
            "keraslip": __version__,
            "keras": keras.__version__,
            "numpy": np.__version__,
            "scipy": scipy.__version__,
        },
    }


class Before:
    """Certificates of the same samples, if there are any; asked block by block.

    What they rest on is held against `details`, to whose `blocks` the digest of every block is added.
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
        if not resume.details.get("blocks"):
            raise ValueError(
                "These certificates cannot be resumed: they do not say which inputs they are about, as those "
                "that were joined, or taken out of others. Resume the parts they were made of. "
                f"Received: certificates of {len(resume)} samples"
            )

    def certificates(self, digest: str, size: int) -> Certificates | None:
        """The certificates of the next block of so many samples, `None` if it was not finished."""
        first, self._first = self._first, self._first + size
        number = len(self._blocks)
        self._blocks.append(digest)
        if self._resume is None:
            return None
        known = self._resume.details["blocks"]
        if number >= len(known):
            return None
        if known[number] != digest:
            raise ValueError(
                "These certificates cannot be resumed: they were made of other inputs, labels or radii."
            )
        part = self._resume.part(first, size)
        return part if part is not None and part.complete else None
