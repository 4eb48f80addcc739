"""The largest radius at which a sample is certified, by a search that only ever reports certified ones."""

from collections.abc import Callable

import numpy as np

from keraslip.certify.bound.margins import Margins

#: From epsilons of some samples to their margins there.
Bound = Callable[[np.ndarray, np.ndarray], Margins]

#: Relative width at which the search stops, and the most evaluations it makes.
TOLERANCE, EVALUATIONS = 0.01, 12
#: Evaluations of a bound that takes much longer, and how far beyond what is known it looks first.
FEW, FURTHER = 6, 1.05


def certified_radius(start: np.ndarray, cheap: Bound, thorough: Bound | None) -> np.ndarray:
    """Certified radius of every sample, rounded down.

    At epsilon the masks and slopes give gains K_j, and these lines hold at every smaller distance: so
    `rho = min_j (gap_j - rounding_j) / K_j` is certified as far as epsilon. Every evaluation narrows an
    interval; its upper end only says where to look.

    Args:
        start: A first epsilon for every sample, `(n,)`; any number will do, 0 gives radius 0.
        cheap: Margins at given epsilons, for some samples; their gains grow with epsilon.
        thorough: A tighter bound that goes on from there, or `None`; it may tighten only what is open.

    Returns:
        Array `(n,)`; where nothing closes the gap, as far as the search went.
    """
    low, high = _search(start, np.zeros_like(start), cheap, True)
    if thorough is not None:
        # The tighter bound holds wherever the cheap one does; its upper side is not known yet.
        start = np.where(np.isfinite(high) & (low > 0), high, np.where(low > 0, low, start))
        low, _ = _search(start, low, thorough, False)
    return _down(low)


def widened(known: np.ndarray, bound: Bound) -> np.ndarray:
    """Certified radii, `(n,)`, by a bound that takes longer, from those that another one has certified."""
    low, _ = _search(FURTHER * known, known, bound, False, FEW)
    return np.maximum(known, _down(low))


def _down(radius: np.ndarray) -> np.ndarray:
    return np.where(np.isinf(radius), radius, radius * (1.0 - 1e-12))


def _search(
    start: np.ndarray,
    known: np.ndarray,
    bound: Bound,
    monotone: bool,
    evaluations: int = EVALUATIONS,
) -> tuple[np.ndarray, np.ndarray]:
    low, high = known.copy(), np.full_like(known, np.inf)
    epsilon = start.copy()
    active = np.flatnonzero((start > 0.0) & np.isfinite(start))
    for _ in range(evaluations):
        if not len(active):
            break
        at = epsilon[active]
        with np.errstate(over="ignore", invalid="ignore"):  # infinite radii are searched for, too
            rho = bound(at, active).radius
        rho = np.where(np.isnan(rho), 0.0, rho)
        low[active] = np.maximum(low[active], np.minimum(rho, at))
        # With gains that grow no line reaches beyond one of a smaller epsilon.
        beyond = np.where(rho > at, rho if monotone else np.inf, at)
        high[active] = np.minimum(high[active], beyond)
        epsilon[active] = _next(at, rho, low[active], high[active])
        active = active[high[active] > (1.0 + TOLERANCE) * low[active]]
    return low, high


def _next(at: np.ndarray, rho: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Just above where the line crosses zero, which is the radius if the gain stays; or the middle."""
    with np.errstate(over="ignore", invalid="ignore"):
        crossing = (1.0 + TOLERANCE / 2.0) * rho
        middle = np.sqrt(np.maximum(low, high / 64.0)) * np.sqrt(high)
        found = np.where((rho > at) & (rho <= high), crossing, middle)
        # All that epsilon allows is certified and nothing moves: every radius, or a jump upwards.
        return np.where(np.isinf(found), 4.0 * at, found)
