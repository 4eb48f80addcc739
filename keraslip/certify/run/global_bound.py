"""What the global bound alone would certify: proved as certificates are, without any locality."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np

from keraslip.certify.bound.evaluate import Evaluator
from keraslip.certify.execution.kept_network import network_of
from keraslip.certify.norms.rounding import Execution

#: Radius at which every unit varies that varies anywhere.
_EVERYWHERE = 1e6


def global_margins(
    model: Any, x: np.ndarray, y: np.ndarray, epsilons: Iterable[float], batch_size: int = 256
) -> tuple[list[np.ndarray], np.ndarray]:
    """Margins of labels by global norms with slopes of 0 and 1, as executed in float32, for comparison.

    Its gains are those of a ball in which every unit varies, which hold in smaller ones; only what rounds is
    counted for the ball asked for. What runs was held against the network by the samples' certificates.

    Returns:
        For every radius the margins `(n,)`, NaN where a number is not finite; and bounds of the Lipschitz
        constant of the logits, `(n,)`.
    """
    network, _ = network_of(model)
    evaluate, ones = Evaluator(network, Execution.of("float32"), batch_size), np.ones(len(x))
    everywhere = evaluate(x, y, _EVERYWHERE * ones, hard=True)
    margins = []
    for epsilon in epsilons:
        near = evaluate(x, y, epsilon * ones).margins
        gain = np.maximum(near.gain, everywhere.margins.gain)
        margins.append(replace(near, gain=gain).least)
    return margins, everywhere.lipschitz
