"""The cascade: cheap bounds first, dear ones for what is still open, an attack in between."""

from collections.abc import Callable
from concurrent.futures import Executor
from typing import Any

import numpy as np

from keraslip.certify.bound.evaluate import Evaluation, Evaluator
from keraslip.certify.bound.expected_norms import expected_norms
from keraslip.certify.bound.global_norms import Norms, global_norms
from keraslip.certify.bound.local_norms import LocalNorms, OneSample, proved
from keraslip.certify.bound.margins import Margins
from keraslip.certify.bound.network import Network
from keraslip.certify.execution.executed import Executed, check_rounding, self_check
from keraslip.certify.norms.rounding import Execution, l2
from keraslip.certify.run.alarm import Alarm, attacked
from keraslip.certify.run.findings import CERTIFIED_BY, Findings, Report
from keraslip.certify.run.progress import prove_norms
from keraslip.certify.run.radius import certified_radius
from keraslip.certify.run.settings import Settings


class Cascade:
    """Certifies blocks of samples of one model.

    Args:
        model: A `LocalLipschitzModel`.
        network: Its steps.
        settings: How to certify.
        one: Local norm of one sample; the proved one by default.
        executor: Works on several samples at once.
        rng: Chooses what the alarm attacks.
    """

    def __init__(
        self,
        model: Any,
        network: Network,
        settings: Settings,
        rng: np.random.Generator,
        one: OneSample = proved,
        executor: Executor | None = None,
    ) -> None:
        self.model, self.network, self.settings = model, network, settings
        self.executed = Executed(model, settings.batch_size)
        execution = Execution.of(settings.arithmetic)
        self.evaluate = Evaluator(network, execution, settings.batch_size)
        #: What runs is float32, whatever the certificates are about.
        self.rounded = Evaluator(network, Execution.of("float32"), settings.batch_size)
        exact = settings.arithmetic == "float64"
        self.alarm = Alarm(model, self.executed, self.rounded, rng, exact)
        self.dense = LocalNorms(False, one, executor)
        guesses = expected_norms if settings.conv == "auto" else None
        self.convolution = LocalNorms(True, one, executor, guesses)

    def begin(self, x: np.ndarray, y: np.ndarray | None) -> tuple[Findings, np.ndarray]:
        """Predictions of a block: what is wrong, tied or not finite is settled.

        Args:
            x: Inputs `(n, *shape)`.
            y: Classes `(n,)`, or `None` for the predicted ones.

        Returns:
            The findings, and the executed logits.
        """
        logits = self.executed.logits(x)
        check_rounding(self.network, x, logits)
        predicted = logits.argmax(axis=1)
        found = Findings.empty(predicted.astype("int64") if y is None else y)
        top = logits.max(axis=1, keepdims=True)
        found.status[(logits == top).sum(axis=1) > 1] = "tied"
        found.status[predicted != found.label] = "misclassified"
        found.status[~np.isfinite(logits).all(axis=1)] = "nonfinite"
        return found, logits

    def run(
        self,
        x: np.ndarray,
        epsilon: np.ndarray,
        found: Findings,
        logits: np.ndarray,
        report: Report,
        inner: np.ndarray | None = None,
    ) -> None:
        """Settles the open samples of a block.

        Args:
            x: Inputs `(n, *shape)`.
            epsilon: Radii `(n,)`.
            found: What `begin` returned; filled in place.
            logits: Executed logits.
            report: Told of the progress.
            inner: Radii of what is attacked, if not those: for x that is rounded from what was given.

        Raises:
            CertificateViolation: if the alarm goes off.
        """
        conv = self.settings.conv
        if self.settings.radius:
            found.radius[:] = np.nan  # until it was searched for
        report("global norms", len(x) - len(found.open))
        prove_norms(self.network, report)
        self._stage("global", global_norms, found, x, epsilon, logits, report)
        if self.settings.effort == "full":
            report("dense norms", 0)
            self._stage("dense", self.dense, found, x, epsilon, logits, report)
            report("attack", 0)
            self._attack(found, x, epsilon if inner is None else inner, report)
            if conv != "global":
                report("convolution norms", 0)
                rows = self._promising(found, x, epsilon) if conv == "auto" else found.open
                self._stage(
                    "convolution", self.convolution, found, x, epsilon, logits, report, rows
                )
        open_now = found.open
        found.status[open_now] = np.where(np.isnan(found.margin[open_now]), "nonfinite", "unknown")
        report("alarm", len(open_now))
        self._alarm(found, x, logits, epsilon)
        if self.settings.radius:
            report("radius", 0)
            self._radius(found, x, logits, epsilon, report)

    def _stage(
        self,
        name: str,
        norms: Norms,
        found: Findings,
        x: np.ndarray,
        epsilon: np.ndarray,
        logits: np.ndarray,
        report: Report,
        rows: np.ndarray | None = None,
    ) -> None:
        first = name == "global"
        # The first stage gives a margin to the samples that are settled already, too.
        chosen = np.arange(len(x)) if first else found.open if rows is None else rows
        for part in np.array_split(chosen, -(-len(chosen) // self.settings.batch_size) or 1):
            if not len(part):
                continue
            got = self.evaluate(
                x[part],
                found.label[part],
                epsilon[part],
                norms,
                self.settings.backwards,
                checked=first,
            )
            report(name, self._settle(name, got, found, part, x, logits))

    def _settle(
        self,
        name: str,
        got: Evaluation,
        found: Findings,
        rows: np.ndarray,
        x: np.ndarray,
        logits: np.ndarray,
    ) -> int:
        least = got.margins.least
        found.margin[rows] = np.maximum(found.margin[rows], least)  # NaN stays NaN
        found.lipschitz[rows] = np.minimum(found.lipschitz[rows], got.lipschitz)
        known = np.isfinite(got.lipschitz) & (least > 0.0)
        settled = known & (found.status[rows] == "pending")
        self._check_execution(name, got, found, rows, x, logits, settled)
        found.status[rows[settled]] = name
        return int(settled.sum())

    def _check_execution(
        self,
        name: str,
        got: Evaluation,
        found: Findings,
        rows: np.ndarray,
        x: np.ndarray,
        logits: np.ndarray,
        settled: np.ndarray,
    ) -> None:
        """Holds executed logits against exact ones, within what float32 may round at the center.

        The first stage does so for every sample with finite numbers, certified or not. Where certificates
        are about the ideal network, this takes another pass, for those settled.
        """
        exact, error, chosen, at_center = got.logits, got.error, settled, True
        if self.settings.arithmetic == "float64":
            if settled.any():
                label, none = found.label[rows[settled]], np.zeros(settled.sum())
                again = self.rounded(x[rows[settled]], label, none, checked=True)
                error = np.full_like(error, np.inf)
                error[settled] = again.center_error
        elif name == "global":
            error = got.center_error
            known = np.isfinite(logits[rows]) & np.isfinite(exact) & ~np.isnan(error)
            chosen = settled | known.all(axis=1)
        else:
            at_center = (
                False  # where the first stage knew nothing, the ball's rounding is better than none
            )
        if chosen.any():
            at = rows[chosen]
            self_check(x[at], logits[at], exact[chosen], error[chosen])
            found.rounding[at] = l2(error[chosen]) if at_center else found.rounding[at]

    def _promising(self, found: Findings, x: np.ndarray, epsilon: np.ndarray) -> np.ndarray:
        """Open samples that local norms of convolutions could certify at all."""
        rows = found.open
        if not len(rows) or not any(op.costly for _, op in self.network.operators()):
            return rows[:0]
        got = self.evaluate(x[rows], found.label[rows], epsilon[rows], expected_norms, True)
        return rows[got.margins.least > 0.0]

    def _attack(self, found: Findings, x: np.ndarray, epsilon: np.ndarray, report: Report) -> None:
        rows = found.open[epsilon[found.open] > 0.0]
        if not len(rows):
            return
        size = self.settings.batch_size
        points = attacked(self.model, x[rows], found.label[rows], epsilon[rows], size, valid=True)
        fooled = self.executed.logits(points).argmax(axis=1) != found.label[rows]
        found.status[rows[fooled]] = "attacked"
        found.counterexamples |= {
            int(i): p for i, p in zip(rows[fooled], points[fooled], strict=True)
        }
        report("attack", int(fooled.sum()))

    def _alarm(
        self, found: Findings, x: np.ndarray, logits: np.ndarray, epsilon: np.ndarray
    ) -> None:
        """Attacks some certified samples; a hit, or a quotient above the bound, ends the program."""
        certified = np.flatnonzero(np.isin(found.status, CERTIFIED_BY))
        self.alarm.balls(found, x, logits, epsilon, certified)

    def _radius(
        self,
        found: Findings,
        x: np.ndarray,
        logits: np.ndarray,
        epsilon: np.ndarray,
        report: Report,
    ) -> None:
        hopeless = np.isin(found.status, ("misclassified", "tied", "nonfinite"))
        rows = np.flatnonzero(~hopeless)
        if len(rows):
            found.radius[rows] = self._radii(found, x, epsilon, rows, report)
        found.radius[hopeless] = 0.0
        self.alarm.radii(found, x, logits, rows)

    def _radii(
        self, found: Findings, x: np.ndarray, epsilon: np.ndarray, rows: np.ndarray, report: Report
    ) -> np.ndarray:
        """Certified radius of some samples."""
        x, label = x[rows], found.label[rows]

        def bound(norms: Norms, backwards: bool) -> Callable[[np.ndarray, np.ndarray], Margins]:
            def margins(epsilon: np.ndarray, i: np.ndarray) -> Margins:
                by = "local" if backwards else "global"
                report(f"certified radii, {by} norms: {len(x) - len(i)} of {len(x)} found", 0)
                return self.evaluate(x[i], label[i], epsilon, norms, backwards).margins

            return margins

        thorough = bound(self.dense, True) if self.settings.effort == "full" else None
        # The gain at the center says where to begin; where nothing moves there, any place will do.
        at_center = self.evaluate(x, label, np.zeros(len(x))).margins
        line, asked = at_center.radius, np.where(epsilon[rows] > 0.0, epsilon[rows], 1.0)
        start = np.where((line > 0.0) & np.isfinite(line), line, asked)
        start[~(at_center.least > 0.0)] = 0.0
        radius = certified_radius(start, bound(global_norms, False), thorough)
        if self.network.is_constant and self.settings.arithmetic == "float64":
            # As executed in float32, numbers that overflow end even this.
            radius = np.where(at_center.least > 0.0, np.inf, radius)
        # The search stops within a tolerance; what is certified at epsilon is so up to epsilon.
        known = np.where(np.isin(found.status[rows], CERTIFIED_BY), epsilon[rows], 0.0)
        return np.maximum(radius, known)
