"""Certificates of several parts as one result."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from keraslip.certify.result.certificates import ARRAYS, Certificates


def joined(parts: Sequence[Certificates], details: dict[str, Any]) -> Certificates:
    """All samples of the parts, one part after the other.

    Args:
        parts: At least one.
        details: Those of the result.
    """
    examples: dict[int, np.ndarray] = {}
    first = 0
    for part in parts:
        examples |= {first + i: x for i, x in part.counterexamples.items()}
        first += len(part)
    arrays: dict[str, Any] = {
        name: np.concatenate([getattr(part, name) for part in parts])
        for name in ARRAYS
        if getattr(parts[0], name) is not None
    }
    return replace(parts[0], **arrays, details=details, counterexamples=examples)


def shared_details(parts: Sequence[Certificates]) -> dict[str, Any]:
    """What the parts rest on.

    Raises:
        ValueError: if there are no parts, or they do not rest on the same.
    """
    if not parts:
        raise ValueError("There are no certificates to join. Received: an empty list")
    for number, other in enumerate(parts[1:], 1):
        if names := differences(parts[0], other):
            raise ValueError(
                "Only certificates of one model, made with the same options, can be joined: certify all "
                f"parts again with these alike. Received: part {number} differs from part 0 in {names}"
            )
    details = {key: value for key, value in parts[0].details.items() if key != "blocks"}
    seeds = [part.details.get("seed") for part in parts]
    if len(set(seeds)) > 1:
        details["seeds"] = seeds
    return details


def differences(one: Certificates, other: Certificates) -> list[str]:
    """Names of what two results do not share, of all that their promises rest on.

    A file of a keraslip that did not record the network says nothing of it: it shares it with no other.
    """
    first, second = _foundation(one), _foundation(other)
    names = [key for key in {**first, **second} if first.get(key) != second.get(key)]
    return names if "network" in {**first, **second} else ["network", *names]


def _foundation(part: Certificates) -> dict[str, Any]:
    """All that must be the same: random seed and hashes of the samples need not."""
    others = ("seed", "seeds", "blocks")
    own = {key: value for key, value in part.details.items() if key not in others}
    radius = part.radius is not None
    return {"guarantee": part.guarantee, "arithmetic": part.arithmetic, "radius": radius, **own}
