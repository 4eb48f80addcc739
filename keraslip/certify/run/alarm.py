"""The alarm: some certificates are attacked, and evidence against one stops the program."""

from typing import Any

import numpy as np

from keraslip.attacks import pgd_l2
from keraslip.certify.bound.evaluate import Evaluator
from keraslip.certify.execution.executed import Executed, self_check
from keraslip.certify.execution.violation import violated
from keraslip.certify.norms.rounding import LARGEST, l2
from keraslip.certify.run.findings import Findings

#: Share of the certificates that is attacked, and how many at least, or all.
SHARE, AT_LEAST = 0.01, 32
#: Where in the ball of a certified radius the attack ends: no rounding of the search reaches so far.
INSIDE = 0.999
#: Steps of an attack on what is not certified, and on what is.
_STEPS, _ALARM_STEPS = 20, 10


def attacked(
    model: Any,
    x: np.ndarray,
    label: np.ndarray,
    epsilon: np.ndarray,
    batch_size: int,
    valid: bool,
    seed: int = 0,
    steps: int = _STEPS,
) -> np.ndarray:
    """Points that an attack found, in batches of few sizes: each of them may be compiled.

    Args:
        model: The model.
        x: Inputs `(n, *shape)`, float32.
        label: Classes `(n,)`.
        epsilon: Radii `(n,)`.
        batch_size: Samples in a batch, at most.
        valid: Whether points stay in the range of valid inputs where x is. Certificates do not.
        seed: Of the attack.
        steps: Of the attack.

    Returns:
        Float32 array of the shape of x, no further than epsilon away in float64.
    """
    size = min(batch_size, max(16, 1 << (len(x) - 1).bit_length()))
    filled = np.resize(np.arange(len(x)), max(1, -(-len(x) // size)) * size)
    given = model.input_range if model.compiled else (0.0, 1.0)
    inside = valid and given is not None and x.min() >= given[0] and x.max() <= given[1]
    points = pgd_l2(
        model,
        x[filled],
        label[filled],
        # Further away no float32 is left to attack with.
        np.minimum(epsilon[filled], np.sqrt(LARGEST)),
        steps=steps,
        input_range=given if inside else None,
        batch_size=size,
        seed=seed,
        verbose=False,
    )
    return points[: len(x)]


class Alarm:
    """Attacks some certificates of every block, chosen by a seed that nobody knows beforehand.

    Args:
        model: The model.
        executed: Runs it.
        evaluate: Bounds its execution in float32.
        rng: Chooses the samples.
        exact: Whether the certificates are about the ideal network, which float32 may round across a tie.
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

    def balls(
        self,
        found: Findings,
        x: np.ndarray,
        logits: np.ndarray,
        epsilon: np.ndarray,
        rows: np.ndarray,
    ) -> None:
        """Attacks some of the certified samples `rows` at epsilon; `logits` are those executed of x.

        Raises:
            CertificateViolation: if one of them contradicts its certificate.
        """
        rows = self._some("balls", rows[epsilon[rows] > 0.0])
        if len(rows):
            points = self._points(x[rows], found.label[rows], epsilon[rows])
            self._audit(found, x, logits, points, rows, epsilon)

    def radii(self, found: Findings, x: np.ndarray, logits: np.ndarray, rows: np.ndarray) -> None:
        """Attacks some of the samples `rows` just inside of their certified radius, see `balls`.

        Raises:
            CertificateViolation: if a label changes there.
        """
        radius = found.radius
        rows = self._some("radii", rows[np.isfinite(radius[rows]) & (radius[rows] > 0.0)])
        if len(rows):
            points = self._points(x[rows], found.label[rows], INSIDE * radius[rows])
            # The Lipschitz bound is about the ball of epsilon.
            anywhere = Findings.empty(found.label)
            self._audit(anywhere, x, logits, points, rows, radius)

    def _audit(
        self,
        found: Findings,
        x: np.ndarray,
        logits: np.ndarray,
        points: np.ndarray,
        rows: np.ndarray,
        epsilon: np.ndarray,
    ) -> None:
        how = self.evaluate, self.exact, logits
        audit(self.executed, found, x, points, rows, epsilon, *how)

    def _points(self, x: np.ndarray, label: np.ndarray, epsilon: np.ndarray) -> np.ndarray:
        seed = int(self.rng.integers(2**63))
        size = self.evaluate.batch_size
        return attacked(self.model, x, label, epsilon, size, False, seed, _ALARM_STEPS)

    def _some(self, what: str, rows: np.ndarray) -> np.ndarray:
        missing = min(len(rows), max(1, AT_LEAST - self._done[what]))
        count = max(missing, round(SHARE * len(rows)))
        self._done[what] += count
        return np.sort(self.rng.choice(rows, count, replace=False))


def audit(
    executed: Executed,
    found: Findings,
    x: np.ndarray,
    points: np.ndarray,
    rows: np.ndarray,
    epsilon: np.ndarray,
    evaluate: Evaluator | None = None,
    exact: bool = False,
    logits: np.ndarray | None = None,
) -> None:
    """Holds attacked points against their certificates.

    Args:
        executed: Runs the model.
        found: What was certified.
        x: Inputs.
        points: What the attack made of `x[rows]`.
        rows: The samples.
        epsilon: Radii.
        evaluate: Bounds the model's execution; none is taken to round nothing.
        exact: Whether the certificates are about the ideal network.
        logits: Executed logits of x, if they are known.

    Raises:
        CertificateViolation: if one of them contradicts its certificate.
    """
    before = executed.logits(x[rows]) if logits is None else logits[rows]
    before, after = before.astype("float64"), executed.logits(points).astype("float64")
    label = found.label[rows]
    inner, error = after, np.zeros_like(after)
    if evaluate is not None:
        got = evaluate(points, label, np.zeros(len(points)), checked=True)
        inner, error = got.logits, got.center_error
    apart = np.linalg.norm((points.astype("float64") - x[rows]).reshape(len(rows), -1), axis=1)
    inside = apart <= epsilon[rows]
    flipped = inside & _flipped(after, label, error if exact else np.zeros_like(error))
    # Executed logits carry rounding that the Lipschitz bound is not about.
    moved, rounding = l2(after - before), found.rounding[rows] + l2(error)
    with np.errstate(invalid="ignore"):
        steep = inside & (moved > found.lipschitz[rows] * apart + rounding)
    for wrong, what in (
        (flipped, "An attack changed a certified label."),
        (steep, "The logits moved further than the Lipschitz bound allows."),
    ):
        for i in np.flatnonzero(wrong):
            row = rows[i]
            raise violated(what, x=x[row], attacked=points[i], label=label[i], epsilon=epsilon[row])
    known = np.isfinite(after).all(axis=1) & ~np.isnan(error).any(axis=1)
    self_check(points[known], after[known], inner[known], error[known])


def _flipped(logits: np.ndarray, label: np.ndarray, error: np.ndarray) -> np.ndarray:
    """Whether logits contradict a certificate, `(n,)`: it promises a label without a tie, of finite numbers.

    Args:
        logits: Executed logits `(n, classes)`.
        label: Classes.
        error: How far they may be from those that the certificate is about; zero if it is about them.
    """
    samples = np.arange(len(label))
    with np.errstate(invalid="ignore", over="ignore"):
        gap = logits[samples, label][:, None] - logits
        slack = error + error[samples, label][:, None]
        lost = np.where(slack > 0.0, gap < -slack, ~(gap > 0.0))
    lost[samples, label] = False
    return lost.any(axis=1)
