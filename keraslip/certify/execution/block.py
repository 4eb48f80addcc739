"""Blocks of samples as the network takes them."""

import hashlib
from typing import NamedTuple

import numpy as np

from keraslip.certify.norms.rounding import LARGEST, SMALLEST, UNIT32, l2

#: Samples in a block: so many go through all stages before the next ones are read.
SIZE = 1024


class Block(NamedTuple):
    """Some samples."""

    x: np.ndarray  #: Inputs `(n, *shape)`, float32.
    y: np.ndarray | None  #: Classes `(n,)`, or `None`.
    #: L2 distance of each to what was given, where float32 has fewer digits, `(n,)`, rounded up.
    off: np.ndarray

    def radii(self, asked: np.ndarray) -> np.ndarray:
        """Radii around x of balls that hold those of the radii asked for, around what was given."""
        return np.where(self.off > 0.0, np.nextafter(asked + self.off, np.inf), asked)

    def around_given(self, radii: np.ndarray) -> np.ndarray:
        """Radii around what was given, of balls inside those of some radii around x."""
        inside = np.maximum(np.nextafter(radii - self.off, -np.inf), 0.0)
        return np.where(self.off > 0.0, inside, radii)

    def digest(self, radii: np.ndarray) -> str:
        """A hash of what is asked of the block: radii around what was given, `(n,)`."""
        digest = hashlib.sha256(np.ascontiguousarray(self.x).tobytes() + radii.tobytes())
        if self.off.any():
            digest.update(self.off.tobytes())
        digest.update(b"predicted" if self.y is None else self.y.tobytes())
        return digest.hexdigest()[:16]


def in_float32(x: np.ndarray) -> Block:
    """Inputs as the network takes them, and how far these can be from what was given; no labels."""
    if x.dtype.itemsize <= 2 or x.dtype == "float32":
        return Block(x.astype("float32"), None, np.zeros(len(x)))  # nothing is rounded
    with np.errstate(over="ignore"):
        rounded = x.astype("float32")
    largest = np.abs(rounded).max(initial=0.0)
    if not largest <= LARGEST:
        raise ValueError(
            "x holds numbers that float32, in which the network computes, cannot hold. "
            f"Received: dtype {x.dtype}, largest magnitude {np.abs(x).max():.3g}"
        )
    if x.dtype == "float64":
        return Block(rounded, None, l2(x - rounded))
    # Integers, and floats of more digits than float64: each is rounded to the nearest, if at all.
    exact = x.dtype.kind in "iu" and largest < 2.0**24
    most = 1.01 * UNIT32 * np.abs(rounded, dtype="float64") + SMALLEST
    return Block(rounded, None, np.zeros(len(x)) if exact else l2(most))
