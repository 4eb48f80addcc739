"""Whether an activation is what it says: slopes, ranges and supports at points of boxes."""

import numpy as np

from keraslip.activations import Activation
from keraslip.activations.sampled import activation_problem
from keraslip.arithmetic import float64, training
from keraslip.testing.failure import in_float64, require

#: Of the sums made here, in float64; and of float32.
_NOISE, _ROUNDED = 1e-12, 1e-5
#: Draws of boxes.
_DRAWS = 4


def check_activation(activation: Activation, shape: tuple[int, ...] = (8,), seed: int = 0) -> None:
    """Holds an activation to what it says of its slopes, at points of boxes of all sizes.

    `certify` does a part of that at first use. Here it is done more often, and in training too.

    Args:
        activation: Of any arithmetic.
        shape: Shape of one input, without the batch axis.
        seed: Of the points.

    Raises:
        AssertionError: naming the method that is wrong: `call`, `slopes`, `kept`, `range`, `support` or
            `is_elementwise`.

    Example:

    ```python
    keraslip.testing.check_activation(HardTanhActivation())
    ```
    """
    rng, exact = np.random.default_rng(seed), in_float64(activation, "call", shape)
    made = exact.call(np.zeros((1, *shape))).shape
    require(made == (1, *shape), "call", f"of shape {(1, *shape)} it makes {made}")
    _check_elementwise(exact, shape, rng)
    for _ in range(_DRAWS):
        problem = activation_problem(exact, shape, rng)
        if problem is not None:
            raise AssertionError(problem)
    _check_training(activation, exact, shape, rng)


def _check_elementwise(exact: Activation, shape: tuple[int, ...], rng: np.random.Generator) -> None:
    """An output of an elementwise activation stays where its own input does."""
    if not exact.is_elementwise:
        return
    z, other = rng.standard_normal((2, 32, *shape))
    still = rng.uniform(size=z.shape) < 0.5
    change = np.abs(exact.call(np.where(still, z, other)) - exact.call(z))
    words = "an output changes while the input in its place does not"
    require(change[still] <= _NOISE * (1 + np.abs(z).max()), "is_elementwise", words)


def _check_training(
    activation: Activation, exact: Activation, shape: tuple[int, ...], rng: np.random.Generator
) -> None:
    """The same numbers where networks are trained."""
    trained = activation.to(training)
    z = rng.standard_normal((4, *shape)).astype("float32")
    rho = rng.exponential(0.5, (4, *shape)).astype("float32")
    given = training.constant(z), training.constant(rho)
    found = float64.constant(trained.call(given[0]))
    off = np.abs(found - exact.call(z.astype("float64"))).max()
    words = f"in training it is another function than in certificates, by up to {off:.3g}"
    require(off <= _ROUNDED * (1 + np.abs(found).max()), "call", words)
    mine = trained.kept(*given)
    theirs = exact.kept(z.astype("float64"), rho.astype("float64"))
    for name in ("rows", "columns"):
        here, there = float64.constant(getattr(mine, name)), np.asarray(getattr(theirs, name))
        left, right = np.broadcast_to(here, z.shape), np.broadcast_to(there, z.shape)
        words = f"in training their {name} are others than in certificates"
        require(np.abs(left - right) <= _ROUNDED * (1 + np.abs(right)), "kept", words)
