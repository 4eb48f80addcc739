"""Certification of many samples: blocks, progress, interruption, and the final result."""

import hashlib
import secrets
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import keras
import numpy as np
import scipy

from keraslip.certify.bound.local_norms import OneSample, probabilistic, proved
from keraslip.certify.bound.network import Network
from keraslip.certify.execution.executed import check_probes
from keraslip.certify.execution.kept_network import network_of, unchanged
from keraslip.certify.execution.precision import check_precision
from keraslip.certify.execution.violation import check_folder
from keraslip.certify.result.certificates import ARRAYS, Certificates
from keraslip.certify.result.joining import differences, joined
from keraslip.certify.run.cascade import Cascade
from keraslip.certify.run.findings import CERTIFIED_BY, Findings, Report
from keraslip.certify.run.inputs import Block, blocks, empty, wrong_count
from keraslip.certify.run.progress import Told, progress
from keraslip.certify.run.settings import Settings
from keraslip.rules.bounded import check_bounded
from keraslip.version import __version__

#: Samples that go through the whole cascade before the next ones are read.
_BLOCK = 1024


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
    with progress(verbose) as report:
        return _certify(model, x, y, epsilon, settings, report, resume, steps)


def _certify(
    model: Any,
    x: Any,
    y: Any,
    epsilon: np.ndarray,
    settings: Settings,
    report: Told,
    resume: Certificates | None,
    steps: int | None,
) -> Certificates:
    # Data that are refused are refused at once.
    check_bounded(model)
    shape, classes = tuple(model.inputs[0].shape[1:]), model.outputs[0].shape[-1]
    stream, count = blocks(x, y, _BLOCK, shape, classes, steps, model)
    report.expect(count)
    report("the network is written down and probed", 0)
    network, digest = network_of(model)
    seed = secrets.randbits(64)
    rng = np.random.default_rng(seed)
    details = _details(settings, digest, seed)
    _check_resume(resume, details, settings)
    done: list[Certificates] = []
    with ThreadPoolExecutor(settings.threads) as pool:
        executor = pool if settings.threads > 1 else None
        cascade = Cascade(model, network, settings, rng, _norm(network, settings, rng), executor)
        check_probes(model, network, cascade.executed)
        first = 0
        try:
            for block in stream:
                radii = _radii(epsilon, first, len(block.x), count)
                before = None if resume is None else _part(resume, first, len(block.x))
                first += len(block.x)
                details["blocks"].append(_digest(block, radii))
                _check_block(resume, details["blocks"])
                # The result is listed before it is filled: Ctrl-C keeps what it holds by then.
                if before is not None and before.complete:
                    done.append(before)
                    report("resumed", len(block.x))
                    continue
                _one_block(cascade, block, radii, report, done, settings, details)
            if epsilon.ndim and first != len(epsilon):
                raise wrong_count(epsilon)
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
    return joined(done, details)


def _one_block(
    cascade: Cascade,
    block: Block,
    radii: np.ndarray,
    report: Report,
    done: list[Certificates],
    settings: Settings,
    details: dict[str, Any],
) -> None:
    report("predictions", 0)
    found, logits = cascade.begin(block.x, block.y)
    try:
        inner = block.around_given(radii)
        cascade.run(block.x, block.radii(radii), found, logits, report, inner)
    finally:
        # What is certified around x at the larger radius is so around what was given, at the one asked for.
        radius = block.around_given(found.radius)
        certified = np.isin(found.status, CERTIFIED_BY)
        found.radius[:] = np.where(certified, np.maximum(radius, radii), radius)
        done.append(_certificates(found, radii, settings, details))


def _certificates(
    found: Findings, epsilon: np.ndarray, settings: Settings, details: dict[str, Any]
) -> Certificates:
    return Certificates(
        found.label,
        np.isin(found.status, CERTIFIED_BY),
        found.margin,
        found.lipschitz,
        found.radius if settings.radius else None,
        found.status,
        epsilon,
        settings.guarantee,
        settings.arithmetic,
        details,
        found.counterexamples,
    )


def _norm(network: Network, settings: Settings, rng: np.random.Generator) -> OneSample:
    if settings.guarantee == "proved":
        return proved
    # Every norm that a sample may take gets its share of delta: two stages, and the radius search.
    calls = sum(1 for _ in network.operators()) * (2 + 12 * settings.radius)
    return probabilistic(settings.delta / calls, rng)


def _radii(epsilon: np.ndarray, first: int, size: int, count: int | None) -> np.ndarray:
    if epsilon.ndim == 0:
        return np.full(size, float(epsilon))
    if count is not None and len(epsilon) != count or first + size > len(epsilon):
        raise wrong_count(epsilon)
    return epsilon[first : first + size]


def _digest(block: Block, radii: np.ndarray) -> str:
    """A hash of what a block asks for."""
    digest = hashlib.sha256(np.ascontiguousarray(block.x).tobytes() + radii.tobytes())
    if block.off.any():
        digest.update(block.off.tobytes())
    digest.update(b"predicted" if block.y is None else block.y.tobytes())
    return digest.hexdigest()[:16]


def check_inputs(found: Certificates, block: Block) -> None:
    """Raises for inputs that are not those that were certified, where the certificates tell.

    Args:
        found: Certificates; joined ones do not tell.
        block: All inputs, as the network takes them, without labels.

    Raises:
        ValueError: naming the samples.
    """
    for number, known in enumerate(found.details.get("blocks", [])):
        rows = slice(number * _BLOCK, (number + 1) * _BLOCK)
        # Whether labels were given is not kept.
        asked = [Block(block.x[rows], y, block.off[rows]) for y in (None, found.label[rows])]
        if known not in [_digest(part, found.epsilon[rows]) for part in asked]:
            raise ValueError(
                "These inputs are not those that were certified. "
                f"Received: others among samples {rows.start} to {min(rows.stop, len(found)) - 1}"
            )


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


def _check_resume(resume: Certificates | None, details: dict[str, Any], settings: Settings) -> None:
    if resume is None:
        return
    asked = _certificates(Findings.empty(np.zeros(0, "int64")), np.zeros(0), settings, details)
    if names := differences(asked, resume):
        raise ValueError(
            "These certificates cannot be resumed: they were made with other weights or options, layers or "
            f"settings of Keras, or by other versions. Certify again. Received: others of {names}"
        )


def _check_block(resume: Certificates | None, blocks_now: list[str]) -> None:
    known = blocks_now if resume is None else resume.details.get("blocks", [])
    if len(blocks_now) <= len(known) and known[len(blocks_now) - 1] != blocks_now[-1]:
        raise ValueError(
            "These certificates cannot be resumed: they were made of other inputs, labels or radii."
        )


def _part(certificates: Certificates, first: int, size: int) -> Certificates | None:
    """The certificates of a block, `None` if there are not that many."""
    if first + size > len(certificates):
        return None
    rows = slice(first, first + size)
    examples = certificates.counterexamples.items()
    arrays = {
        name: getattr(certificates, name)[rows]
        for name in ARRAYS
        if getattr(certificates, name) is not None
    }
    kept = {i - first: x for i, x in examples if first <= i < first + size}
    return replace(certificates, **arrays, counterexamples=kept)
