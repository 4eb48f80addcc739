"""Margins of a set of samples at given radii, in chunks of bounded memory."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields, replace
from functools import cache
from typing import Any

import numpy as np
from threadpoolctl import ThreadpoolController

from keraslip.certify.bound.box import closed_in_box
from keraslip.certify.bound.center import center_error
from keraslip.certify.bound.composite import composite
from keraslip.certify.bound.margins import Margins, margins_of
from keraslip.certify.bound.network import Network
from keraslip.certify.bound.norm_sources import Norms, global_norms
from keraslip.certify.bound.sound_pass import SoundPass
from keraslip.certify.norms.rounding import UNIT64, Execution, gamma, times, up

#: Bytes that one step of a pass may take, about: more is given back to the system and fetched again; and that
#: all of it may.
_MEMORY, _WHOLE = 2**26, 2**30
#: Bytes of a pass for every entry of its tensors: centers, errors, slopes and boxes.
PER_ENTRY = 48
#: Pairs of classes that go back through the network at once.
_PAIRS = 64

#: Makes a pass: a subclass of `SoundPass`, with options.
Kind = Callable[..., SoundPass]


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What a pass says of every sample."""

    margins: Margins  #: Margins against every class.
    lipschitz: np.ndarray  #: Bound on the Lipschitz constant of the logits, `(n,)`.
    logits: np.ndarray  #: Logits in float64, `(n, classes)`.
    #: How far executed logits in the ball may be from exact ones, `(n, classes)`.
    error: np.ndarray
    #: How far executed logits at the center may be from `logits`, `(n, classes)`; infinite unless asked
    #: for.
    center_error: np.ndarray


@dataclass(frozen=True)
class Evaluator:
    """Bounds samples of one network, so many chunks of them at once as there are threads."""

    network: Network
    execution: Execution
    batch_size: int = 256
    threads: int = 1

    def __call__(
        self,
        x: np.ndarray,
        label: np.ndarray,
        epsilon: np.ndarray,
        norms: Norms = global_norms,
        backwards: bool = False,
        hard: bool = False,
        checked: bool = False,
        decides: bool = False,
        kind: Kind | None = None,
    ) -> Evaluation:
        """Margins at epsilon.

        Classes that are still open get the composite bound if it goes `backwards`; `hard` weights are 0 and
        1 only, see `SoundPass`; `checked` logits of the centers are going to be held against executed ones.
        Where it only `decides`, samples that one class leaves open get no more of that bound. `kind` makes
        the pass in place of `SoundPass`.
        """
        room = rows_at_once(self.network.widest, self.network.entries, self.batch_size)
        size = max(1, room // self.threads)

        def one(first: int) -> Evaluation:
            rows = slice(first, first + size)
            # What overflows is infinite or NaN, and certifies nothing.
            with np.errstate(over="ignore", invalid="ignore"):
                given = x[rows].astype("float64"), epsilon[rows]
                found = (kind or SoundPass)(self.network, *given, norms, self.execution, hard)
                margins = margins_of(found, label[rows])
                if backwards:
                    margins = _backwards(found, margins, label[rows], decides)
                return _evaluation(found, margins, checked)

        joined: Evaluation = _joined(self._each(one, range(0, len(x), size)))
        return joined

    def _each(self, one: Callable[[int], Evaluation], chunks: range) -> list[Evaluation]:
        if self.threads == 1:
            return [one(chunk) for chunk in chunks]
        # Products are small: threads of BLAS would mostly wait for one another, and for those of the pools.
        with _libraries().limit(limits=1, user_api="blas"):
            with ThreadPoolExecutor(self.threads) as pool:
                # The first one alone: what operators keep is found once.
                return [one(chunk) for chunk in chunks[:1]] + list(pool.map(one, chunks[1:]))


@cache
def _libraries() -> ThreadpoolController:
    return ThreadpoolController()


def rows_at_once(widest: int, entries: int, batch_size: int) -> int:
    """How many samples go through a network at once, by the entries of its largest tensor, and of all."""
    room = min(_MEMORY // (96 * widest), _WHOLE // (PER_ENTRY * entries))
    return max(1, min(batch_size, room))


def _evaluation(found: SoundPass, margins: Margins, checked: bool) -> Evaluation:
    gain, moved = np.zeros(len(found.logits)), np.zeros_like(found.logits)
    for index, operator in found.network.logits.terms.items():
        view = found.balls[index].views[0]
        gain = up(gain + times(view.reach.gain, found.norms(operator, None, view.columns)))
        rows = operator.row_norms(view.columns)
        moved = up(moved + times(view.reach.rounding[:, None], rows))
    error = up(found.logits_error + moved)
    at_center = center_error(found) if checked else np.full_like(error, np.inf)
    return Evaluation(margins, gain, found.logits, error, at_center)


def _backwards(found: SoundPass, margins: Margins, label: np.ndarray, decides: bool) -> Margins:
    """The margins with the composite bound where a class is open."""
    margins = replace(
        margins,
        gain=margins.gain.copy(),
        rounding=margins.rounding.copy(),
        closed=margins.closed.copy(),
    )
    wanted = ~(margins.each > 0.0) & np.isfinite(margins.gap)
    if decides:
        # Most samples that stay open do so for the class that is nearest, and none of a wrong prediction
        # is certified: so that class comes first, and the others only where it is closed.
        wanted &= (margins.gap > 0.0).all(axis=1, keepdims=True)
        each = np.where(wanted, margins.each, np.inf)
        nearest = wanted & (np.arange(each.shape[1]) == each.argmin(axis=1)[:, None])
        _tighten(found, margins, label, nearest)
        wanted &= ~nearest & (~nearest | (margins.each > 0.0)).all(axis=1, keepdims=True)
    _tighten(found, margins, label, wanted)
    return margins


def _tighten(found: SoundPass, margins: Margins, label: np.ndarray, wanted: np.ndarray) -> None:
    """Puts the composite bound into the margins of some samples and classes, `(batch, classes)`."""
    samples, rivals = np.nonzero(wanted)
    gain, rounding, closed = margins.gain, margins.rounding, margins.closed
    for first in range(0, len(samples), _PAIRS):
        rows, classes = samples[first : first + _PAIRS], rivals[first : first + _PAIRS]
        bound = composite(found, rows, label[rows], classes)
        logits, gap = found.logits[rows, classes], margins.gap[rows, classes]
        subtracted = gamma(2, UNIT64) * (np.abs(logits) + np.abs(gap))
        total = up(bound.rounding + subtracted)
        epsilon = found.epsilon[rows]
        better = (
            bound.gain * epsilon + total < gain[rows, classes] * epsilon + rounding[rows, classes]
        )
        at = rows[better], classes[better]
        gain[at], rounding[at] = bound.gain[better], total[better]
        closed[rows, classes] = closed_in_box(found, rows, label[rows], classes)


def _joined(parts: list[Any]) -> Any:
    """Arrays of all chunks, one chunk after the other; or a dataclass of such arrays."""
    if isinstance(parts[0], np.ndarray):
        return np.concatenate(parts)
    named = (field.name for field in fields(parts[0]))
    return type(parts[0])(*(_joined([getattr(part, name) for part in parts]) for name in named))
