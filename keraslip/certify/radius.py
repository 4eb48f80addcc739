"""The largest radius at which a sample is certified, by a search that only ever reports certified ones."""

from collections.abc import Callable

import numpy as np

from keraslip.certify.margins import Margins

#: From epsilons of some samples to their margins there.
Bound = Callable[[np.ndarray, np.ndarray], Margins]

#: Relative width at which the search stops, and the most evaluations it makes.
TOLERANCE, EVALUATIONS = 0.01, 12


def certified_radius(start: np.ndarray, cheap: Bound, thorough: Bound | None) -> np.ndarray:
    """Certified radius of every sample, rounded down.

    At epsilon the masks and slopes give gains K_j, and these lines hold at every smaller distance: so
    `rho = min_j (gap_j - rounding_j) / K_j` is certified as far as epsilon, and K_j grows with epsilon, so
    nothing above `max(epsilon, rho)` can be certified. Every evaluation narrows both sides.

    Args:
        start: A first epsilon for every sample, `(n,)`; any number will do, 0 gives radius 0.
        cheap: Margins at given epsilons, for some samples.
        thorough: A tighter bound that goes on from there, or `None`.

    Returns:
        Array `(n,)`, infinite where nothing closes the gap.
    """
    low, high = _search(start, np.zeros_like(start), cheap)
    if thorough is not None:
        # The tighter bound holds wherever the cheap one does; its upper side is not known yet.
        low, high = _search(np.where(low > 0, low, start), low, thorough)
    return np.where(np.isinf(low), low, low * (1.0 - 1e-12))


def _search(start: np.ndarray, known: np.ndarray, bound: Bound) -> tuple[np.ndarray, np.ndarray]:
    low, high = known.copy(), np.full_like(known, np.inf)
    epsilon = start.copy()
    active = np.flatnonzero((start > 0.0) & np.isfinite(start))
    for _ in range(EVALUATIONS):
        if not len(active):
            break
        with np.errstate(over="ignore", invalid="ignore"):  # infinite radii are searched for, too
            rho = bound(epsilon[active], active).radius
        rho = np.where(np.isnan(rho), 0.0, rho)
        low[active] = np.maximum(low[active], np.minimum(rho, epsilon[active]))
        high[active] = np.minimum(high[active], np.maximum(rho, epsilon[active]))
        # All that epsilon allows is certified and nothing moves: every radius, or a jump upwards.
        endless = np.isinf(high[active])
        epsilon[active] = np.where(
            endless,
            4.0 * epsilon[active],
            np.sqrt(np.maximum(low[active], _floor(high[active])) * high[active]),
        )
        active = active[high[active] > (1.0 + TOLERANCE) * low[active]]
    return low, high


def _floor(high: np.ndarray) -> np.ndarray:
    """A lower end to divide from where nothing is certified yet."""
    return high / 64.0
