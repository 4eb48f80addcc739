"""The cascade: cheap bounds first, expensive ones for what is still open, an attack in between."""

from concurrent.futures import Executor
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from keraslip.certify.bound.evaluate import Evaluation, Evaluator, Kind
from keraslip.certify.bound.network import Network
from keraslip.certify.bound.norm_sources import (
    LocalNorms,
    Norms,
    OneSample,
    expected_norms,
    global_norms,
    proved,
)
from keraslip.certify.bound.tight_pass import HopefulPass, TightPass
from keraslip.certify.execution.attack import attacked
from keraslip.certify.execution.block import Block
from keraslip.certify.execution.executed import Executed, check_rounding, self_check
from keraslip.certify.norms.rounding import Execution, l2
from keraslip.certify.run.alarm import Alarm
from keraslip.certify.run.progress import Report, prove_norms
from keraslip.certify.run.radius_search import RadiusSearch
from keraslip.certify.run.samples import Samples
from keraslip.certify.run.settings import Settings

#: Multiplications of the proof of a norm, up to which it is tried before more expensive ones: 1 and 4 s.
_ROUNDS = 2e10, 1e11
#: Operations for the boxes of one sample at one activation, in the first and the second round: 10 ms and 1 s.
_BOXES = 1e7, 1e9
#: Numbers in the tensors of all samples that the backend runs at once, about, 1 GB.
_NUMBERS = 2**28


class Cascade:
    """Certifies blocks of samples of one model; `rng` chooses what the alarm attacks.

    Local norms of one sample are the proved ones by default; an executor works on several samples at once.
    """

    def __init__(
        self,
        model: Any,
        network: Network,
        settings: Settings,
        rng: np.random.Generator,
        report: Report,
        one: OneSample = proved,
        executor: Executor | None = None,
    ) -> None:
        # Of large images the backend holds fewer at once, and so does the attack.
        size = max(1, min(settings.batch_size, _NUMBERS // network.entries))
        settings = replace(settings, batch_size=size)
        self.model, self.network, self.settings = model, network, settings
        self.report = report
        self.executed = Executed(model, settings.batch_size)
        execution = Execution.of(settings.arithmetic)
        # Random norms are drawn in the order of a seed.
        threads = settings.threads if settings.guarantee == "proved" else 1
        self.evaluate = Evaluator(network, execution, settings.batch_size, threads)
        #: What runs is float32, whatever the certificates are about.
        self.rounded = replace(self.evaluate, execution=Execution.of("float32"))
        exact = settings.arithmetic == "float64"
        self.alarm = Alarm(model, self.executed, self.rounded, rng, exact)
        guesses = expected_norms if settings.conv == "auto" else None
        #: Norms of every stage of the proof, by its name.
        self.norms: dict[str, Norms] = {
            "slopes": global_norms,
            "dense": LocalNorms(False, one, executor),
            "boxes": LocalNorms(False, one, executor),
        }
        self._convolutions = LocalNorms(True, one, executor, guesses)

    def begin(self, block: Block, radii: np.ndarray) -> Samples:
        """Predictions of a block: what is wrong, tied or not finite is settled."""
        logits = self.executed.logits(block.x)
        check_rounding(self.network, block.x, logits)
        self.executed.check_alone(self.network)
        return Samples.begin(block, radii, logits)

    def run(self, samples: Samples) -> None:
        """Settles the open samples of a block, in place; a CertificateViolation if the alarm goes off."""
        if self.settings.radius:
            samples.radius[:] = np.nan  # until it was searched for
        self.report("global norms", len(samples) - len(samples.open))
        prove_norms(self.network, self.report)
        # The first stage gives a margin to the samples that are settled already, too.
        self._stage("slopes", samples, np.arange(len(samples)))
        if self.settings.effort == "full":
            self._go_on(samples)
        rows = samples.open
        samples.settle(rows, np.where(np.isnan(samples.margin[rows]), "nonfinite", "unknown"))
        self.report("alarm", len(rows))
        # A hit, or a quotient above the bound, ends the program.
        self.alarm.balls(samples, np.flatnonzero(samples.certified))
        if self.settings.radius:
            self.report("radius", 0)
            self._radius(samples)

    def _go_on(self, samples: Samples) -> None:
        """What is more expensive, for what the first stage left open."""
        self.report("dense norms", 0)
        self._stage("dense", samples, samples.open)
        self.report("attack", 0)
        self._attack(samples)
        self.report("boxes", 0)
        self._boxes(samples)
        conv = self.settings.conv
        if conv != "global":
            self.report("convolution norms", 0)
            self._convolve(samples)

    def _convolve(self, samples: Samples) -> None:
        """Local norms of convolutions, the cheap ones first, where they could be enough."""
        if self.settings.conv == "local":
            self.norms["convolution"] = self._convolutions
            self._stage("convolution", samples, samples.open)
            return
        hopeful, prices = self._promising(samples, samples.open, np.inf), self._prices()
        for most in prices:
            rows = np.intersect1d(hopeful, samples.open)
            if most < prices[-1]:
                rows = self._promising(samples, rows, most)
            self.norms["convolution"] = replace(self._convolutions, most=most)
            self._stage("convolution", samples, rows)

    def _boxes(self, samples: Samples) -> None:
        """Boxes by the composite bound, of samples that they could certify."""
        guess = partial(HopefulPass, most=_BOXES[-1])
        hopeful = self._hopeful(samples, samples.open, self.norms["boxes"], guess)
        for most in _BOXES:
            rows = np.intersect1d(hopeful, samples.open)
            self._stage("boxes", samples, rows, partial(TightPass, most=most))

    def _prices(self) -> list[float]:
        """The highest price of the proofs in every round: often the cheap ones will do."""
        prices = {op.price for _, op in self.network.operators() if op.costly}
        if self.settings.guarantee != "proved" or not prices:
            return [np.inf]  # other bounds cost about the same for every layer
        below = {max(p for p in prices if p <= most) for most in _ROUNDS if min(prices) <= most}
        return sorted(below | {max(prices)})

    def _stage(
        self, name: str, samples: Samples, rows: np.ndarray, kind: Kind | None = None
    ) -> None:
        """Settles those of some samples that the bounds of a stage certify."""
        size = self.settings.batch_size
        for part in np.array_split(rows, -(-len(rows) // size)) if len(rows) else ():
            norms, first = self.norms[name], name == "slopes"
            back = self.settings.backwards
            balls = samples.balls(part)
            got = self.evaluate(*balls, norms, back, checked=first, decides=True, kind=kind)
            self.report(name, self._settle(name, got, samples, part))

    def _settle(self, name: str, got: Evaluation, samples: Samples, rows: np.ndarray) -> int:
        least = got.margins.least
        samples.margin[rows] = np.maximum(samples.margin[rows], least)  # NaN stays NaN
        samples.lipschitz[rows] = np.minimum(samples.lipschitz[rows], got.lipschitz)
        known = np.isfinite(got.lipschitz) & (least > 0.0)
        settled = known & (samples.status[rows] == "pending")
        self._check_execution(name, got, samples, rows, settled)
        samples.settle(rows[settled], name)
        return int(settled.sum())

    def _check_execution(
        self, name: str, got: Evaluation, samples: Samples, rows: np.ndarray, settled: np.ndarray
    ) -> None:
        """Holds executed logits against exact ones, within what float32 may round at the center.

        The first stage does so for every sample with finite numbers, certified or not. Where certificates
        are about the ideal network, this takes another pass, for those settled.
        """
        exact, error, chosen, at_center = got.logits, got.error, settled, True
        if self.settings.arithmetic == "float64":
            if settled.any():
                label, none = samples.label[rows[settled]], np.zeros(settled.sum())
                again = self.rounded(samples.x[rows[settled]], label, none, checked=True)
                error = np.full_like(error, np.inf)
                error[settled] = again.center_error
        elif name == "slopes":
            error = got.center_error
            known = np.isfinite(samples.logits[rows]) & np.isfinite(exact) & ~np.isnan(error)
            chosen = settled | known.all(axis=1)
        else:
            # Where the first stage knew nothing, the ball's rounding is better than none.
            at_center = False
        if chosen.any():
            at = rows[chosen]
            self_check(samples.x[at], samples.logits[at], exact[chosen], error[chosen])
            if at_center:
                samples.rounding[at] = l2(error[chosen])

    def _promising(self, samples: Samples, rows: np.ndarray, most: float) -> np.ndarray:
        """Those that local norms of convolutions could certify, if no proof costs more than `most`."""
        if not any(op.costly for _, op in self.network.operators()):
            return rows[:0]
        return self._hopeful(samples, rows, partial(expected_norms, most=most))

    def _hopeful(
        self, samples: Samples, rows: np.ndarray, norms: Norms, kind: Kind | None = None
    ) -> np.ndarray:
        """Those that guesses of a bound would certify."""
        if not len(rows):
            return rows
        got = self.evaluate(*samples.balls(rows), norms, True, decides=True, kind=kind)
        return rows[got.margins.least > 0.0]

    def _attack(self, samples: Samples) -> None:
        # Around x, inside the balls around what was given.
        radii = samples.block.around_given(samples.asked)
        rows = samples.open[radii[samples.open] > 0.0]
        if not len(rows):
            return
        x, label, size = samples.x[rows], samples.label[rows], self.settings.batch_size
        points = attacked(self.model, x, label, radii[rows], size, valid=True)
        fooled = self.executed.logits(points).argmax(axis=1) != label
        samples.settle(rows[fooled], "attacked")
        found = zip(rows[fooled], points[fooled], strict=True)
        samples.counterexamples |= {int(i): point for i, point in found}
        self.report("attack", int(fooled.sum()))

    def _radius(self, samples: Samples) -> None:
        hopeless = np.isin(samples.status, ("misclassified", "tied", "nonfinite"))
        rows = np.flatnonzero(~hopeless)
        if len(rows):
            search = RadiusSearch(self.evaluate, self.norms, self.settings, self.report)
            samples.radius[rows] = search(samples, rows)
        samples.radius[hopeless] = 0.0
        self.alarm.radii(samples, rows)
