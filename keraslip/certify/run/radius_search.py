"""Certified radii of the samples of a block: which bounds the search asks, and in which order."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np

from keraslip.certify.bound.evaluate import Evaluator, Kind
from keraslip.certify.bound.margins import Margins
from keraslip.certify.bound.norm_sources import Norms
from keraslip.certify.bound.tight_pass import HopefulPass, TightPass
from keraslip.certify.run.progress import Report
from keraslip.certify.run.radius import (
    EVALUATIONS,
    FEW,
    FURTHER,
    Bound,
    certified_radius,
    widened,
)
from keraslip.certify.run.samples import Samples
from keraslip.certify.run.settings import Settings

#: Operations for the boxes of one sample at one activation: 100 ms, in each of a few evaluations.
BOXES = 1e8
#: Most passes with local norms that a sample takes part in, the guess of boxes included.
MOST = EVALUATIONS + FEW + 1


@dataclass(frozen=True)
class RadiusSearch:
    """Finds the certified radii of samples, with the norms of each stage of a `Cascade`."""

    evaluate: Evaluator
    norms: Mapping[str, Norms]
    settings: Settings
    report: Report

    def __call__(self, samples: Samples, rows: np.ndarray) -> np.ndarray:
        """Certified radii of some samples, none of them misclassified, `(rows,)`."""
        x, label, epsilon = balls = samples.balls(rows)
        full, every = self.settings.effort == "full", np.arange(len(x))
        thorough = self._bound(balls, every, "dense", "local norms") if full else None
        # The gain at the center says where to begin; where nothing moves there, any place will do.
        at_center = self.evaluate(x, label, np.zeros(len(x))).margins
        line, asked = at_center.radius, np.where(epsilon > 0.0, epsilon, 1.0)
        start = np.where((line > 0.0) & np.isfinite(line), line, asked)
        start[~(at_center.least > 0.0)] = 0.0
        cheap = self._bound(balls, every, "slopes", "global norms")
        radius = certified_radius(start, cheap, thorough)
        if full:
            near = self._promising(balls, radius)
            kind = partial(TightPass, most=BOXES)
            tight = self._bound(balls, near, "boxes", "narrower boxes", kind)
            radius[near] = widened(radius[near], tight)
        if self.evaluate.network.is_constant and self.settings.arithmetic == "float64":
            # As executed in float32, numbers that overflow end even this.
            radius = np.where(at_center.least > 0.0, np.inf, radius)
        # The search stops within a tolerance; what is certified at epsilon is so up to epsilon.
        known = np.where(samples.certified[rows], epsilon, 0.0)
        return np.maximum(radius, known)

    def _bound(
        self,
        balls: tuple[np.ndarray, ...],
        rows: np.ndarray,
        stage: str,
        by: str,
        kind: Kind | None = None,
    ) -> Bound:
        """Margins of some of the samples by the norms of a stage."""
        x, label, _ = balls
        norms, backwards = self.norms[stage], stage != "slopes"

        def margins(epsilon: np.ndarray, i: np.ndarray) -> Margins:
            done, at = len(rows) - len(i), rows[i]
            self.report(f"certified radii, {by}: {done} of {len(rows)} found", 0)
            return self.evaluate(x[at], label[at], epsilon, norms, backwards, kind=kind).margins

        return margins

    def _promising(self, balls: tuple[np.ndarray, ...], radius: np.ndarray) -> np.ndarray:
        """Those that a guess of narrower boxes would certify a little beyond what is known."""
        x, label, _ = balls
        rows = np.flatnonzero((radius > 0.0) & np.isfinite(radius))
        if not len(rows):
            return rows
        tried = x[rows], label[rows], FURTHER * radius[rows]
        guess = partial(HopefulPass, most=BOXES)
        got = self.evaluate(*tried, self.norms["boxes"], True, decides=True, kind=guess)
        return rows[got.margins.least > 0.0]
