"""Projected gradient descent on the margin, in the L2 ball and the input range."""

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import keras
import numpy as np

from keraslip.attacks import ball, checks, margin
from keraslip.backend.structure import logits_of
from keraslip.checks import check_count, check_labels, check_radii


def pgd_l2(
    model: keras.Model,
    x: Any,
    y: Any,
    epsilon: Any,
    steps: int = 100,
    restarts: int = 1,
    input_range: tuple[float, float] | None | Literal["model"] = "model",
    seed: int = 0,
    batch_size: int = 256,
    targets: Any = None,
    step_size: float | None = None,
    verbose: bool | int | Literal["auto"] = "auto",
) -> np.ndarray:
    """Search adversarial inputs by projected gradient descent on the margin of the logits.

    Untargeted, it lowers `logit_y - max of the others`. The first run starts at `x`; every
    further one starts at a random point of the ball and pushes towards the next class in the
    order of the clean logits, as the largest other logit is not always the easiest to reach.
    With `targets` all runs raise the margin of the target class instead. A sample is left alone
    once it fools the model by a clear margin.

    Args:
        model: Any Keras model that maps `(batch, ...)` to logits `(batch, classes)`. Of a softmax at its end
            the logits are attacked.
        x: Inputs, `(batch, ...)`, inside the input range.
        y: True classes, integers of shape `(batch,)`. May be None with `targets`.
        epsilon: L2 radius in input units, a number or one for each sample, `(batch,)`.
        steps: Gradient steps of a run.
        restarts: Number of runs.
        input_range: Pair `(lowest, highest)` of valid inputs or None for no range. By default the
            range of a compiled keraslip model, `(0, 1)` for any other model.
        seed: Seed of the random starts. Same seed, same result; no global state is touched.
        batch_size: Largest number of samples the model sees at once.
        targets: Classes to drive the samples to, integers of shape `(batch,)`, or None.
        step_size: Length of a run's first step; later steps shrink linearly towards zero.
            Defaults to `20 * epsilon / steps`, at most epsilon.
        verbose: Whether to show a progress bar. "auto" shows one on a terminal.

    Returns:
        Float32 NumPy array of the shape of `x`: for each sample the point with the largest
        violation of the margin found, `x` itself if nothing is better or if `x` already fools the
        model. `||result - x||_2 <= epsilon`, and all entries are inside the input range.

    Raises:
        ValueError: If an argument is invalid, among others inputs outside the range.

    Example:
        ```python
        x_adversarial = keraslip.attacks.pgd_l2(model, x_test, y_test, epsilon=0.25)
        ```

    Reference:
        Madry et al., "Towards Deep Learning Models Resistant to Adversarial Attacks", 2018.
        Gowal et al., "An Alternative Surrogate Loss for PGD-based Adversarial Testing", 2019.
    """
    if isinstance(input_range, str) and input_range == "model":
        input_range = checks.model_range(model)
    low, high = checks.check_range(input_range)
    x = checks.check_inputs(x, low, high)
    radii = np.broadcast_to(check_radii(epsilon, len(x)), (len(x),))
    steps = check_count(steps, "steps")
    restarts = check_count(restarts, "restarts")
    size = check_count(batch_size, "batch_size")
    seed = check_count(seed, "seed", least=0)
    lengths = _first_lengths(step_size, radii, steps)
    if not len(x):
        return x
    model = margin.onto_logits(model)
    labels, sign = _labels(model, x, y, targets)
    size = -(-len(x) // -(-len(x) // size))  # equal batches
    rivals = margin.rivals(model, x, labels, size, restarts if targets is None else 0)
    gradient = margin.margin_gradient(model)
    search = _Search(
        gradient, x, labels, rivals, sign, radii, lengths, low, high, steps, seed, size
    )
    show = sys.stdout.isatty() if verbose == "auto" else bool(verbose)
    return search.run(restarts, show)


@dataclass
class _Search:
    """What stays fixed during a search; `run` holds what moves."""

    gradient: Callable[..., tuple[np.ndarray, np.ndarray]]
    x: np.ndarray
    labels: np.ndarray
    rivals: np.ndarray
    sign: np.float32
    epsilon: np.ndarray
    lengths: np.ndarray
    low: float
    high: float
    steps: int
    seed: int
    size: int

    def run(self, restarts: int, show: bool) -> np.ndarray:
        """Return the best points of all runs."""
        everyone = np.arange(len(self.x))
        best, value = self.x.copy(), np.empty(len(self.x))
        for rows in self.batches(everyone):
            value[rows], _ = self.evaluate(rows, best, 0)
        # Beyond this violation no rounding brings the label back. Nothing to do: already fooled.
        idle = (value < 0) | (self.epsilon == 0)
        goal = np.where(idle, np.inf, -1e-4 - 1e-2 * np.abs(value))
        total = restarts * (self.steps + 1)
        bar = keras.utils.Progbar(total, verbose=int(show), stateful_metrics=["fooled"])
        for restart in range(restarts):
            points = self.starts(restart)
            for step in range(self.steps + 1):
                for rows in self.batches(everyone[value > goal]):
                    self.advance(rows, points, best, value, restart, step)
                bar.add(1, [("fooled", np.mean(value < 0))])
        return best

    def advance(
        self,
        rows: np.ndarray,
        points: np.ndarray,
        best: np.ndarray,
        value: np.ndarray,
        restart: int,
        step: int,
    ) -> None:
        """Evaluate the points of some samples, keep the better ones, move on. Works in place."""
        values, gradients = self.evaluate(rows, points, restart)
        better = values < value[rows]
        best[rows[better]] = points[rows[better]]
        value[rows[better]] = values[better]
        if step < self.steps:
            along = ball.directions(gradients, rows, self.seed, restart, step + 1)
            length = ball.per_sample(self.lengths[rows] * (1 - step / self.steps), along)
            points[rows] = self.project(points[rows] - length * along, rows)

    def evaluate(
        self, rows: np.ndarray, points: np.ndarray, restart: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Margins and gradients of some samples, padded to the one compiled batch size."""
        full = np.resize(rows, self.size)
        rivals = self.rivals[full, restart % self.rivals.shape[1]]
        values, gradients = self.gradient(points[full], self.labels[full], rivals, self.sign)
        return values[: len(rows)], gradients[: len(rows)]

    def starts(self, restart: int) -> np.ndarray:
        """Return `x` for the first run, then points uniform in the ball."""
        points = self.x.copy()
        if restart > 0:
            for rows in self.batches(np.arange(len(points))):
                noise = ball.uniform(points.shape[1:], rows, self.seed, restart, 0)
                noise *= ball.per_sample(self.epsilon[rows], noise)
                points[rows] = self.project(points[rows] + noise, rows)
        return points

    def project(self, points: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Map points of some samples into their balls and the input range."""
        return ball.project(points, self.x[rows], self.epsilon[rows], self.low, self.high)

    def batches(self, rows: np.ndarray) -> Iterator[np.ndarray]:
        """Split rows into batches."""
        return (rows[i : i + self.size] for i in range(0, len(rows), self.size))


def _labels(
    model: keras.Model, x: np.ndarray, y: Any, targets: Any
) -> tuple[np.ndarray, np.float32]:
    """Checked classes and the sign with which their margin is minimised."""
    logits = logits_of(model, x[:1])
    shape = tuple(getattr(logits, "shape", ()))
    if len(shape) != 2 or shape[1] < 2:
        raise ValueError(
            "`model` must map inputs to logits of shape (batch, classes) with two classes or more; "
            "of one sigmoid output keraslip.from_keras(model) makes two. "
            f"Received: {model.name} with outputs of shape {shape}"
        )
    if y is not None or targets is None:
        y = _classes(y, len(x), shape[1], "`y`")
    if targets is None:
        return y, np.float32(1.0)
    return _classes(targets, len(x), shape[1], "`targets`"), np.float32(-1.0)


def _classes(labels: Any, samples: int, classes: int, name: str) -> np.ndarray:
    return check_labels(labels, classes, samples, name, one_hot=False).astype("int32")


def _first_lengths(step_size: float | None, epsilon: np.ndarray, steps: int) -> np.ndarray:
    """First step of each sample, `(batch,)`."""
    if step_size is None:
        # A random start opposite the goal must come round: shorter steps end on the way there.
        return epsilon * min(1.0, 20.0 / steps)
    number = isinstance(step_size, (int, float, np.number))
    if not number or not 0 < step_size < float("inf"):
        raise ValueError(f"`step_size` must be positive. Received: step_size={step_size!r}")
    return np.full(epsilon.shape, float(step_size))
