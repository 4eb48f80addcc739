"""Where the bound of a network is loose: local and global norm of every layer."""

from typing import Any

import numpy as np

from keraslip.certify.execution.kept_network import network_of
from keraslip.models.explain import explain

#: Images that the local norms are averaged over, and power iterations for each.
SAMPLES, ITERATIONS = 64, 30


def layer_bounds(model: Any, x: np.ndarray) -> list[dict[str, Any]]:
    """Norms of every layer that closes a bound, the logits last.

    Args:
        model: A compiled `LocalLipschitzModel`.
        x: Inputs `(n, *shape)`; the first ones are used.

    Returns:
        For each layer its name, its proved global norms (one for each branch that enters it), the means
        of its estimated local and global norm, share of varying units and radii.
    """
    proved: dict[str, list[float]] = {}
    for name, operator in network_of(model)[0].operators():
        proved.setdefault(name, []).append(float(operator.norm))
    rows = explain(model, x[:SAMPLES], model.epsilon_value, ITERATIONS)
    return [
        {
            "layer": row.layer,
            "proved_norms": proved.get(row.layer, []),
            "global_norm": row.global_norm,
            "local_norm": row.local_norm,
            "varying": row.varying,
            "radius_in": row.radius_in,
            "radius_out": row.radius_out,
        }
        for row in rows
    ]
