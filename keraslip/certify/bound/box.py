"""The last layer over ball and box at once, by its dual: for one epsilon, never for radii."""

import numpy as np

from keraslip.certify.bound.nodes import ActivationNode
from keraslip.certify.bound.sound_pass import SoundPass
from keraslip.certify.norms.rounding import UNIT64, gamma, l2, times, up

#: Steps of the search for the dual's multiplier; any count is sound.
_STEPS = 8
#: Multipliers stay this far away from zero.
_SMALL = 1e-300
#: Sums of products below this may have lost some of them to underflow.
_LOST = 2.0**-900


def closed_in_box(
    found: SoundPass, samples: np.ndarray, label: np.ndarray, rival: np.ndarray
) -> np.ndarray:
    """Upper bound of how far the ball closes the gap between label and rival, `(pairs,)` (P6).

    The activation before the logits moves inside a ball **and** inside a box: clips keep it there. For `g =
    w_j - w_y` the maximum of `g . d` over `||d|| <= r, low <= d <= high` is at most `lam r^2 / 2 + sum(g d -
    lam d^2 / 2)` at `d = clip(g / lam, low, high)`, for every lam > 0. All terms are positive, so rounding
    is relative; that d is a rounded optimum costs its square only.

    Reference:

    - Boyd, Vandenberghe, 2004, Convex Optimization, section 5.1 (weak duality).
    """
    pairs, network = np.arange(len(label)), found.network
    errors = found.logits_error[samples]
    logits = found.logits[samples]
    total = errors[pairs, label] + errors[pairs, rival]
    # Subtracting the logits rounds once.
    sizes = np.abs(logits[pairs, label]) + np.abs(logits[pairs, rival])
    total = up(total + gamma(4, UNIT64) * sizes)
    for ball, (head, off, _) in network.heads.items():
        g = head[rival] - head[label]
        written = off[label] + off[rival]
        view = found.balls[ball].views[0]
        radius = view.reach.at(found.epsilon)[samples]
        weights = np.ones_like(g)
        if view.columns is not None:
            weights = view.columns[samples].reshape(g.shape)
        closes = up(times(l2(times(np.abs(g), weights)), radius))
        g = g * weights
        node = network.activations.get(ball)
        if node is not None:
            low, high = (side.reshape(g.shape) for side in _changes(found, node, samples))
            with np.errstate(divide="ignore", invalid="ignore"):
                # In units of the weighed change; where the weight is zero nothing moves.
                low = np.where(weights > 0.0, low / weights, 0.0)
                high = np.where(weights > 0.0, high / weights, 0.0)
            closes = np.minimum(closes, _dual(g, low, high, radius))
        total = up(total + closes + times(written, radius))
    return total


def _changes(
    found: SoundPass, node: ActivationNode, samples: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Smallest (at most 0) and largest (at least 0) change of every output, rounded outwards."""
    ball = found.balls[node.index]
    assert ball.z is not None and ball.rho is not None
    z, rho, activation = ball.z[samples], ball.rho[samples], node.activation
    low, high = activation.range(z - rho, z + rho)
    output = found.centers[node.index][samples]
    # Of the ends, and of the outputs there.
    few = 4.0 + activation.lipschitz + activation.roundings * (1.0 + activation.lipschitz)
    room = few * UNIT64 * (activation.offset + np.abs(output) + np.abs(z) + rho)
    return np.minimum(low - output - room, 0.0), np.maximum(high - output + room, 0.0)


def _dual(g: np.ndarray, low: np.ndarray, high: np.ndarray, radius: np.ndarray) -> np.ndarray:
    """Smallest of a few values of the dual, rounded up, `(pairs,)`."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        lam = np.maximum(l2(g) / radius, _SMALL)
        best = np.full(len(g), np.inf)
        for _ in range(_STEPS):
            d = np.clip(g / lam[:, None], low, high)
            terms = g * d - 0.5 * lam[:, None] * np.square(d)
            value = up(up(terms.sum(axis=1), g.shape[1]) + 0.5 * (lam * radius) * radius)
            # NaN says nothing, nor does a sum of products that may have vanished.
            best = np.fmin(best, np.where(value > _LOST, value, np.inf))
            lam = np.maximum(lam * np.minimum(l2(d) / radius, 1.0), _SMALL)
    return best
