"""The backend's own outputs, operation by operation, against the certifier's steps: once for a network.

Every operation of a model gets dense random inputs, those it has on random images among them, and so does the
certifier's copy of it, in float64. They may differ by what rounding can do in that one operation. Then the
whole model is run, for a compiler sees more than one operation at a time.
"""

import secrets
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from keraslip import backend
from keraslip.certify.bound.network import Network, Visited
from keraslip.certify.execution.operator_check import operator_problems
from keraslip.certify.execution.precision import REMEDY, ReducedPrecisionError
from keraslip.certify.execution.probe_inputs import Expected, expected, images
from keraslip.certify.execution.whole_model import trajectory, wrong_ways
from keraslip.rules import MismatchError
from keraslip.rules.walk import run

#: Rms error, as a share of the outputs, up to which an operation is taken to be right but for its digits.
_FEW_DIGITS = 2.0**-6
#: Numbers in the outputs of operations that are run at once.
_AT_ONCE = 2**23


class Probed(NamedTuple):
    """One operation on probing inputs, and the backend's outputs `(rows, *shape)` by the way it was run."""

    expected: Expected
    executed: dict[str, np.ndarray]


def probe(model: Any, network: Network) -> None:
    """Compares a model as it runs with the network that is certified.

    Raises:
        MismatchError: naming the layer.
    """
    # What overflows is left out.
    with np.errstate(over="ignore", invalid="ignore"):
        _probe(model, network, np.random.default_rng(secrets.randbits(64)))


def _probe(model: Any, network: Network, rng: np.random.Generator) -> None:
    for node, problem in operator_problems(network, rng):
        raise MismatchError(
            f"No certificate can pass {node.name!r}: {problem}. Remedy: correct the layer's linear map, or "
            "the operator that is registered for it; if both are keraslip's, please report it."
        )
    x = images(model, network, rng)
    errors: dict[int, np.ndarray] = {}
    fits = np.ones(len(x), bool)
    for probed in operations(model, network, x, rng):
        _check(probed)
        errors |= probed.expected.errors
        fits &= probed.expected.fits[: len(x)]
    values = trajectory(network, x, errors, fits, rng)
    for way, visited, distance in wrong_ways(model, network, x, values):
        found = f"run with what stands before it, it puts logits {distance:.3g} away from where they belong"
        raise MismatchError(_wrong(visited, way, found))


def operations(
    model: Any, network: Network, x: np.ndarray, rng: np.random.Generator
) -> Iterator[Probed]:
    """Every operation on its own: what it should make of its inputs, and what the backend makes of them.

    As many at once as memory holds, for a backend compiles what it runs at once.
    """
    block: list[Expected] = []
    for one in expected(network, x, rng):
        block.append(one)
        if sum(other.exact.size for other in block) > _AT_ONCE:
            yield from _executed(model, block)
            block = []
    yield from _executed(model, block)


def _executed(model: Any, block: list[Expected]) -> Iterator[Probed]:
    fed = {index: rows for one in block for index, rows in one.fed.items()}

    def each(*tensors: Any) -> list[Any]:
        known = dict(zip(fed, tensors, strict=True))
        return [run(one.visited.on(known)) for one in block]

    ways = backend.ways_to_run().items() if block else ()
    outputs = {way: compile_for(model, each)(*fed.values()) for way, compile_for in ways}
    for k, one in enumerate(block):
        yield Probed(one, {way: found[k] for way, found in outputs.items()})


def _check(probed: Probed) -> None:
    visited, exact, fits = probed.expected.visited, probed.expected.exact, probed.expected.fits
    for way, executed in probed.executed.items():
        if executed.shape != exact.shape:
            shapes = f"{executed.shape[1:]}, and not {exact.shape[1:]}"
            raise MismatchError(_wrong(visited, way, f"its output has the shape {shapes}"))
        distance, allowed = np.abs(executed - exact)[fits], probed.expected.allowed[fits]
        right = distance <= allowed
        if not right.all():
            worst = np.argmax(np.where(right, -1.0, np.nan_to_num(distance, nan=np.inf)))
            found = (
                f"on random inputs its output is {distance.flat[worst]:.3g} away, where rounding allows "
                f"{allowed.flat[worst]:.3g}"
            )
            few_digits = _is_rounding(executed[fits], exact[fits])
            error = ReducedPrecisionError if few_digits else MismatchError
            raise error(_wrong(visited, way, found, few_digits))


def _is_rounding(executed: np.ndarray, exact: np.ndarray) -> bool:
    """Whether every output is right but for its last digits; those of another network are further off."""
    axes = tuple(range(1, exact.ndim))
    with np.errstate(all="ignore"):
        off = np.square(executed - exact).sum(axes) / np.square(exact).sum(axes)
    off = off[np.isfinite(off)]  # float16 overflows early
    return bool(len(off) and (off <= _FEW_DIGITS**2).all())


def _wrong(visited: Visited, way: str, found: str, few_digits: bool = False) -> str:
    operation = visited.call.operation
    remedy = (
        "correct the rule if the layer is your own (its map, bias or kind), replace the layer if it is one "
        "of Keras, and please report it if the rule is keraslip's"
    )
    if getattr(operation, "data_format", None) == "channels_first":
        remedy = (
            "use data_format='channels_last' (some backends add biases of images with channels first along "
            f"another axis), or {remedy}"
        )
    if few_digits:
        found += "; it seems that the backend computes in less than float32"
        remedy = f"{REMEDY}; if none is on, {remedy}"
    return (
        f"{type(operation).__name__} at {visited.call.path!r} does not compute what its rule says ({way}): "
        f"{found}. A certificate would be about another network. Remedy: {remedy}."
    )
