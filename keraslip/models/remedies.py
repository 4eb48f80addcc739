"""What a run that does not learn can be told."""

from typing import Any

from keraslip.losses import BCPLoss, GloRoLoss, TradesLoss
from keraslip.schedules.schedule import PiecewiseLinear

_GLORO = "or the loss keraslip.losses.GloRoLoss()"
_LOSSES = (
    (GloRoLoss, ""),
    (BCPLoss, f"a kappa with an end value above 0, {_GLORO}"),
    (TradesLoss, f"a smaller beta, {_GLORO}"),
)


def ramp(model: Any, params: dict[str, Any]) -> list[str]:
    """A sentence on how epsilon rises in a run; none for schedules whose course is not known."""
    schedule = getattr(model, "train_epsilon", None)
    if not isinstance(schedule, PiecewiseLinear) or "epochs" not in params:
        return []
    begin, until = schedule.positions[0], schedule.positions[-1]
    if begin == until:
        return [f"Epsilon is {schedule.values[0]:.4g} from the first step on."]
    epochs = params["epochs"]
    return [
        f"Epsilon rises from {schedule.values[0]:.4g} to {schedule.values[-1]:.4g} over {until - begin:.0%} "
        f"of the run: {(until - begin) * epochs:.3g} of {epochs} epochs."
    ]


def remedies(model: Any) -> str:
    """What to change, in the words of a program: nothing that is so already."""
    changes = ["a smaller epsilon", "a longer run"]
    positions = getattr(getattr(model, "train_epsilon", None), "positions", [0.0, 0.5])
    if positions[-1] < 1.0 or len(positions) == 1:
        until = 0.8 if positions[-1] < 0.8 else 1.0
        changes.append(
            f"a slower ramp (train_epsilon=keraslip.schedules.LinearRamp(0, 1.1 * epsilon, until={until}))"
        )
    changes.append("a smaller learning rate")
    loss = getattr(model, "robust_loss", None)
    other = next((text for kind, text in _LOSSES if isinstance(loss, kind)), _GLORO)
    return f"Start again with {', '.join([*changes, other] if other else changes)}."
