"""What a set of certificates amounts to, as plain numbers for the JSON files."""

import math
from typing import Any

import numpy as np

from keraslip.certify import Certificates
from keraslip.cli.subject import Subject
from keraslip.cli.tables import percent, reached
from keraslip.cli.units import unit

#: Quantiles of the certified radius in a summary.
QUANTILES = (0.1, 0.25, 0.5, 0.75, 0.9)


def summarize(found: Certificates, y: np.ndarray) -> dict[str, Any]:
    """Certified accuracy, the share that every stage settled, and what it rests on."""
    accuracy = (
        float(np.mean(found.estimated & (found.label == y)))
        if found.guarantee == "estimate"
        else found.certified_accuracy(y)
    )
    bounded = found.lipschitz[np.isfinite(found.lipschitz)]
    return {
        "epsilon": float(found.epsilon[0]),
        "samples": len(found),
        "settled": settled(found),
        "guarantee": promise(found),
        "arithmetic": found.arithmetic,
        "certified_accuracy": accuracy,
        "status": found.shares,
        "complete": found.complete,
        "lipschitz": float(bounded.mean()) if len(bounded) else None,
        "radius": radius_quantiles(found),
        "average_radius": average_radius(found),
        "details": found.details,
    }


def verdict(found: Certificates, y: np.ndarray, subject: Subject) -> list[str]:
    """What was found, in one line or two; of a run that was stopped what is known of how many images."""
    summary, done, images = summarize(found, y), settled(found), len(subject.x)
    epsilon = f"at epsilon {subject.epsilon:.4g}"
    if done == images:
        accuracy = f"{percent(summary['certified_accuracy'])} % {epsilon}"
        lines = [
            f"certified accuracy {accuracy} on {images} {subject.split} samples: {promise(found)}"
        ]
    else:
        right = int((found.certified & (found.label == y)).sum())
        lines = [
            f"partial: {done} of {images} samples are settled, {right} of them certified with the right "
            f"label {epsilon}; {images - done} are pending: {promise(found)}"
        ]
    if found.radius is not None and (radius := summary["radius"]) is not None:
        known = int((~np.isnan(found.radius)).sum())
        of = "the samples" if known == images else f"the {known} samples with a radius"
        lines.append(
            f"certified radius ({unit(subject.x)}): half of {of} reach {reached(radius['0.5'])}, a tenth "
            f"reach {reached(radius['0.9'])} (average {reached(summary['average_radius'])})"
        )
    return lines


def promise(found: Certificates) -> str:
    """The guarantee in words."""
    if found.guarantee == "estimate":
        return "estimate (power iteration)"
    about = {"float32": "float32 execution", "float64": "real arithmetic"}[found.arithmetic]
    if found.guarantee == "probabilistic":
        return f"probabilistic (delta {found.details['delta']:g} a sample, {about})"
    return f"{found.guarantee} ({about})"


def settled(found: Certificates) -> int:
    """How many samples are not pending."""
    return int((np.asarray(found.status) != "pending").sum())


def average_radius(found: Certificates) -> float | None:
    """Average of the known certified radii, 0 for wrong predictions, rounded down."""
    known = _known_radii(found)
    if not len(known):
        return None
    average = math.fsum(known) / len(known)
    return math.nextafter(average, 0.0) if math.isfinite(average) else average


def _known_radii(found: Certificates) -> np.ndarray:
    return np.empty(0) if found.radius is None else found.radius[~np.isnan(found.radius)]


def radius_quantiles(found: Certificates) -> dict[str, float] | None:
    """Quantiles of the known certified radii, each one that a sample has; 0 for wrong predictions."""
    known = _known_radii(found)
    if not len(known):
        return None
    values = np.quantile(known, QUANTILES, method="lower").tolist()
    return {f"{quantile:g}": value for quantile, value in zip(QUANTILES, values, strict=True)}
