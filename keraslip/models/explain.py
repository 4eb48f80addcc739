"""Where a bound comes from: the norms and varying units of every layer."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from keras import ops

from keraslip import backend
from keraslip.models.robust_step import Outcome, bound_pass
from keraslip.models.state import RefreshedStarts
from keraslip.rules import Propagation
from keraslip.rules.kept import kept


@dataclass(frozen=True)
class LayerBound:
    """What a layer does to the ball, as means over the samples; estimates by power iteration.

    Args:
        layer: Path of the layer that closes the bound: an activation, or `"logits"`; `"/logits"` where an
            activation has that name.
        local_norm: Norm of the linear maps before it, constant units left out.
        global_norm: The same with all units.
        varying: Share of its units that may vary.
        radius_in: Radius of the ball before.
        radius_out: Radius of the ball after.
    """

    layer: str
    local_norm: float
    global_norm: float
    varying: float
    radius_in: float
    radius_out: float


def explain(model: Any, x: np.ndarray, epsilon: float, power_iterations: int) -> list[LayerBound]:
    """See `LocalLipschitzModel.explain`."""
    names, call = _gains_function(model, power_iterations)
    inside, outside, varying, global_in, global_out = call(x, np.float32(epsilon))
    # A layer whose input cannot vary at all has no radius to divide by; its norm is reported as 0.
    local = np.divide(outside, inside, out=np.zeros_like(outside), where=inside > 0)
    uniform = np.divide(global_out, global_in, out=np.zeros_like(global_out), where=global_in > 0)
    return [
        LayerBound(
            name,
            float(local[i].mean()),
            float(uniform[i].mean()),
            float(varying[i]),
            float(epsilon * inside[i].mean()),
            float(epsilon * outside[i].mean()),
        )
        for i, name in enumerate(names)
    ]


def _gains_function(model: Any, power_iterations: int) -> tuple[list[str], Any]:
    """Names of the layers and the compiled pass, kept on the model for the next call."""
    names: list[str] = []

    def function(x: Any, epsilon: Any) -> list[Any]:
        found = {}
        for bound in ("local", "global"):
            starts = RefreshedStarts(model.warm_starts)
            context = Propagation(epsilon, starts, bound, power_iterations)
            found[bound] = bound_pass(model, x, None, context)
        names[:] = [record.key for record in found["local"].records]
        names.append("/logits" if "logits" in names else "logits")
        return [*_gains(found["local"]), *_gains(found["global"])[:2]]

    key = ("explain", power_iterations)
    return kept(model, key, lambda: (names, backend.compiled(model, function)))


def _gains(outcome: Outcome) -> list[Any]:
    """Gain before and after each layer `(layers, batch)`, and its varying share `(layers,)`."""
    each = ops.zeros_like(outcome.lipschitz)
    before, after, varying = [], [], []
    for record in outcome.records:
        before.append(each + sum(ball.gain for ball, _ in record.form.terms))
        after.append(each + record.ball.gain)
        mask = record.ball.varying
        varying.append(ops.ones(()) if mask is None else ops.mean(mask))
    before.append(each + sum(ball.gain for ball, _ in outcome.last.terms))
    after.append(outcome.lipschitz)
    varying.append(ops.ones(()))
    return [ops.stack(before), ops.stack(after), ops.stack(varying)]


def print_table(rows: list[LayerBound], epsilon: float) -> None:
    """Prints the rows of `explain`."""
    from rich.console import Console
    from rich.table import Table

    table = Table(
        title=f"epsilon {epsilon:.4g}; means over the samples; estimate (power iteration)"
    )
    table.add_column("layer")
    for column in ("local norm", "global norm", "varying", "radius in", "radius out"):
        table.add_column(column, justify="right")
    for row in rows:
        norms = (f"{row.local_norm:.3f}", f"{row.global_norm:.3f}", f"{row.varying:.1%}")
        table.add_row(row.layer, *norms, f"{row.radius_in:.3f}", f"{row.radius_out:.3f}")
    Console().print(table)
