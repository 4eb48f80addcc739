"""What a certificate will cost: counted from the sizes of the layers, before anything is proved."""

import math
import os
from dataclasses import dataclass
from typing import Any

from keraslip.certify.bound.evaluate import PER_ENTRY, rows_at_once
from keraslip.certify.operators.kernels import band_of, factored, is_written_out
from keraslip.certify.operators.proved import WRITTEN_OUT
from keraslip.linear import AdjointMap, Composition, ConvMap, DenseMap, LinearMap, Stack, Sum
from keraslip.rules.map_check import parts

#: Multiplications in a second of one core: of NumPy's products of matrices in float64 on common processors.
RATE = 1e10
#: Passes through the network that an image takes: where the first stage settles it (its center, and the
#: magnitudes of that), and where no stage does (four of those, the composite bound of three classes or so, 21
#: gradients of the attack at half the price, guesses of norms by power iterations).
LEAST, MOST = 2, 60
#: Bytes for every coefficient: the model's, the certifier's, their magnitudes, both folded, and in float32.
_PER_COEFFICIENT = 40
#: Bytes for every number of every layer while the network is probed, and passes on one image that this takes.
_PROBED, _PROBES = 80, 30
#: Applications of a map that is written out while its norm is proved, each ten times as slow as a product.
_APPLIED = 240 * 10
#: Most bytes of a band.
_BAND = 2**31


@dataclass(frozen=True)
class Cost:
    """A rough price, good to a factor of about two; local norms of convolutions come on top."""

    products: float  #: Multiplications of the network on one image.
    once: float  #: Multiplications of probes and of the proofs of its norms, once for its weights.
    memory: float  #: Bytes.

    def __str__(self) -> str:
        works = self.once, LEAST * self.products, MOST * self.products
        once, least, most = (_seconds(work / RATE) for work in works)
        each = most if least == most else f"{least} to {most}"
        return (
            f"A certificate takes about {_bytes(self.memory)} of memory and, on one core, about {once} for "
            f"probes and norms, once, then {each} an image, local norms of convolutions not "
            f'included (conv="global" leaves them out). Counted from the sizes of the layers at {RATE:.0e} '
            "multiplications a second: good to a factor of two or so."
        )

    @property
    def warning(self) -> str | None:
        """What to do where this machine's memory will not do; `None` where it will, or is not known."""
        there = memory_of_machine()
        if there is None or self.memory <= there:
            return None
        return (
            f"This machine has {_bytes(there)}, which is too little for a certificate. Remedy: smaller "
            "images, fewer channels, or GlobalAveragePooling2D in place of Flatten before a Dense layer."
        )


def cost_of(model: Any) -> Cost:
    """The cost of certificates of a model that can be bounded.

    Args:
        model: A functional Keras model, all of whose layers have rules.
    """
    found = parts(model)
    maps = [one for _, linear_map in found.maps for one in _pieces(linear_map)]
    shapes = [math.prod(shape) for *_, shape in found.activations]
    sizes = [math.prod(one.out_shape) for one in maps] + shapes
    entries = sum(sizes)
    rows = rows_at_once(max(sizes), entries, 256)
    coefficients = sum(math.prod(weight.shape) for weight in model.weights)
    products = sum(_products(one) for one in maps)
    norms = [_norm(one) for one in maps]
    proofs = PER_ENTRY * entries * rows + max((room for _, room in norms), default=0.0)
    return Cost(
        products=products,
        once=_PROBES * products + sum(work for work, _ in norms),
        memory=_PER_COEFFICIENT * coefficients + max(proofs, _PROBED * entries),
    )


def memory_of_machine() -> float | None:
    """Bytes of memory, `None` where the system does not say."""
    try:
        return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    except (AttributeError, ValueError, OSError):  # Windows has no sysconf
        return None


def _pieces(linear_map: LinearMap) -> list[LinearMap]:
    """The maps that one is made of."""
    if isinstance(linear_map, Composition):
        inside = [linear_map.inner, linear_map.outer]
    elif isinstance(linear_map, Sum | Stack):
        inside = list(linear_map.maps)
    elif isinstance(linear_map, AdjointMap):
        inside = [linear_map.of]
    else:
        return [linear_map]
    return [one for part in inside for one in _pieces(part)]


def _products(one: LinearMap) -> float:
    """Multiplications of one application."""
    if isinstance(one, DenseMap):
        return math.prod(one.in_shape) * one.kernel.shape[-1]
    if isinstance(one, ConvMap):
        return math.prod(one.kernel.shape[:3]) * math.prod(one.out_shape)
    return math.prod(one.in_shape)


def _norm(one: LinearMap) -> tuple[float, float]:
    """Multiplications and bytes of the proof of a norm."""
    if isinstance(one, DenseMap):
        return _of_matrix(*one.kernel.shape)
    if isinstance(one, ConvMap):
        return _of_convolution(one)
    inputs, outputs = math.prod(one.in_shape), math.prod(one.out_shape)
    known = one.isometry or one.copies or inputs * outputs > WRITTEN_OUT
    return (0.0, 0.0) if known else _of_matrix(inputs, outputs)


def _of_matrix(rows: int, columns: int) -> tuple[float, float]:
    """Its Gram matrix on the smaller side, Lanczos steps and a factorisation or two."""
    small, large = sorted((rows, columns))
    return small**2 * large + 120.0 * small**2 + small**3, 8.0 * (2 * rows * columns + 4 * small**2)


def _of_convolution(one: ConvMap) -> tuple[float, float]:
    height, width, per_group, channels = one.kernel.shape
    groups, phases = one.geometry.groups, math.prod(one.geometry.strides)
    small, large = sorted((channels // groups, per_group * phases))
    if height == width == groups == 1:
        return _of_matrix(per_group, channels)
    # Complex Gram matrices of half of the frequencies.
    frequencies = 0.5 * math.prod(one.in_shape[:2]) / phases
    work = 4.0 * groups * frequencies * small**2 * (large + small)
    if not is_written_out(one):
        return work, 2.0**28
    coefficients, (size, band) = _products(one), band_of(one)
    work += _APPLIED * coefficients + factored(one)
    return work, 2.0**28 + 24.0 * coefficients + min(16.0 * size * band, _BAND)


def _seconds(seconds: float) -> str:
    if seconds < 1e-5:
        return "0.01 ms or less"
    number, unit = (seconds, "s") if seconds >= 0.1 else (1e3 * seconds, "ms")
    return f"{seconds / 60.0:.0f} min" if seconds >= 100.0 else f"{float(f'{number:.2g}'):g} {unit}"


def _bytes(count: float) -> str:
    return f"{max(count / 1e9, 0.1):.1f} GB"
