"""What `LocalLipschitzModel.compile` is told about certified training, checked."""

from typing import Any

from keraslip import losses
from keraslip.checks import check_count, check_epsilon, check_range
from keraslip.rules import BOUNDS
from keraslip.rules.locality import check_local, default_bound
from keraslip.schedules import Constant, LinearRamp, Schedule

#: How far beyond the target epsilon training goes by default, as the paper does for MNIST and CIFAR-10.
TRAIN_EPSILON_FACTOR = 1.1
#: Iterations for each sample's norms, where none are given: what brings them within 2 % of the truth.
POWER_ITERATIONS = 5
#: Evaluation takes at least so many: it chooses the best model, and is no bottleneck.
EVALUATION_ITERATIONS = 16


def uniform_iterations(count: int) -> int:
    """Iterations for norms without masks in a training step: a fifth more, for they cost one vector."""
    return -(-6 * count // 5)


def checked_options(**given: Any) -> dict[str, Any]:
    """The arguments of `compile` that Keras does not know, by name, with defaults filled in."""
    if given["epsilon"] is None:
        raise ValueError("compile needs epsilon, the L2 radius to certify in raw input units.")
    epsilon, loss, bound = check_epsilon(given["epsilon"]), given["loss"], given["bound"]
    sparsity = check_epsilon(given["sparsity"], "sparsity")
    if bound is None:
        bound = default_bound(given["local"], sparsity)
    if bound not in BOUNDS:
        raise ValueError(f"bound must be one of {BOUNDS}. Received: bound={bound!r}")
    # Where epsilon is too large for the data, BCPLoss falls to guessing; this loss keeps the clean accuracy
    # (docs/results.md).
    loss = losses.get("gloro" if loss is None else loss)
    return {
        "epsilon": epsilon,
        "loss": loss,
        "train_epsilon": _train_epsilon(given["train_epsilon"], epsilon, loss),
        "sparsity": sparsity,
        "power_iterations": check_count(given["power_iterations"], "power_iterations"),
        "bound": bound,
        "input_range": check_range(given["input_range"]),
        "local": check_local(given["local"]),
    }


def usual_schedule(loss: Any, end: float) -> Schedule:
    """How epsilon goes to its last value in a run with a loss."""
    return LinearRamp(0.0, end) if getattr(loss, "ramps", True) else Constant(end)


def _train_epsilon(value: Any, epsilon: float, loss: Any) -> Schedule:
    if isinstance(value, Schedule):
        return value
    if value is None:
        return usual_schedule(loss, TRAIN_EPSILON_FACTOR * epsilon)
    return Constant(check_epsilon(value, "train_epsilon"))
