"""The alarm: some certificates are attacked, and evidence against one stops the program."""

from typing import Any

import numpy as np

from keraslip.certify.bound.evaluate import Evaluator
from keraslip.certify.execution.attack import ALARM_STEPS, INSIDE, attacked
from keraslip.certify.execution.executed import Executed, self_check
from keraslip.certify.execution.violation import violated
from keraslip.certify.norms.rounding import l2
from keraslip.certify.run.samples import Samples

#: Share of the certificates that is attacked, and how many at least, or all.
SHARE, AT_LEAST = 0.01, 32


class Alarm:
    """Attacks some certificates of every block, chosen by a seed that nobody knows beforehand.

    Certificates that are `exact` are about the ideal network, which float32 may round across a tie.
    """

    def __init__(
        self,
        model: Any,
        executed: Executed,
        evaluate: Evaluator,
        rng: np.random.Generator,
        exact: bool = False,
    ) -> None:
        self.model, self.executed, self.evaluate = model, executed, evaluate
        self.rng, self.exact = rng, exact
        self._done = {"balls": 0, "radii": 0}

    def balls(self, samples: Samples, rows: np.ndarray) -> None:
        """Attacks some of the certified samples `rows` at epsilon."""
        self._attack(samples, self._some("balls", rows[samples.epsilon[rows] > 0.0]))

    def radii(self, samples: Samples, rows: np.ndarray) -> None:
        """Attacks some of the samples `rows` just inside of their certified radius, see `balls`."""
        radius = samples.radius
        rows = self._some("radii", rows[np.isfinite(radius[rows]) & (radius[rows] > 0.0)])
        # The Lipschitz bound is about the ball of epsilon.
        self._attack(samples.at(radius), rows, INSIDE)

    def _attack(self, samples: Samples, rows: np.ndarray, inside: float = 1.0) -> None:
        if not len(rows):
            return
        x, label, epsilon = samples.balls(rows)
        seed, size = int(self.rng.integers(2**63)), self.evaluate.batch_size
        points = attacked(self.model, x, label, inside * epsilon, size, False, seed, ALARM_STEPS)
        audit(self.executed, samples, points, rows, self.evaluate, self.exact)

    def _some(self, what: str, rows: np.ndarray) -> np.ndarray:
        missing = min(len(rows), max(1, AT_LEAST - self._done[what]))
        count = max(missing, round(SHARE * len(rows)))
        self._done[what] += count
        return np.sort(self.rng.choice(rows, count, replace=False))


def audit(
    executed: Executed,
    samples: Samples,
    points: np.ndarray,
    rows: np.ndarray,
    evaluate: Evaluator | None = None,
    exact: bool = False,
) -> None:
    """Raises a CertificateViolation if `points`, attacks of `samples.x[rows]`, contradict what was certified.

    `evaluate` bounds the model's execution; without it nothing is taken to round. Of certificates that are
    `exact` the ideal network is the subject.
    """
    x, label, epsilon = samples.balls(rows)
    before = samples.logits[rows].astype("float64")
    after = executed.logits(points).astype("float64")
    inner, error = after, np.zeros_like(after)
    if evaluate is not None:
        got = evaluate(points, label, np.zeros(len(points)), checked=True)
        inner, error = got.logits, got.center_error
    apart = np.linalg.norm((points.astype("float64") - x).reshape(len(rows), -1), axis=1)
    inside = apart <= epsilon
    flipped = inside & _flipped(after, label, error if exact else np.zeros_like(error))
    # Executed logits carry rounding that the Lipschitz bound is not about.
    moved, rounding = l2(after - before), samples.rounding[rows] + l2(error)
    with np.errstate(invalid="ignore"):
        steep = inside & (moved > samples.lipschitz[rows] * apart + rounding)
    for wrong, what in (
        (flipped, "An attack changed a certified label."),
        (steep, "The logits moved further than the Lipschitz bound allows."),
    ):
        for i in np.flatnonzero(wrong):
            raise violated(what, x=x[i], attacked=points[i], label=label[i], epsilon=epsilon[i])
    known = np.isfinite(after).all(axis=1) & ~np.isnan(error).any(axis=1)
    self_check(points[known], after[known], inner[known], error[known])


def _flipped(logits: np.ndarray, label: np.ndarray, error: np.ndarray) -> np.ndarray:
    """Whether executed logits contradict a certificate, which promises finite numbers and no tie.

    They may be as far off as `error` from those that it is about; zero if it is about them.
    """
    samples = np.arange(len(label))
    with np.errstate(invalid="ignore", over="ignore"):
        gap = logits[samples, label][:, None] - logits
        slack = error + error[samples, label][:, None]
        lost = np.where(slack > 0.0, gap < -slack, ~(gap > 0.0))
    lost[samples, label] = False
    return lost.any(axis=1)
