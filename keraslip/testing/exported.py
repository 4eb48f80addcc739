"""Whether the exported graph of a layer's formulas says what certificates say, without a file."""

from importlib import import_module
from typing import Any

import numpy as np

from keraslip.certify.execution.kept_network import network_of
from keraslip.export.exporter import differing
from keraslip.testing.failure import require
from keraslip.typing import Array


def check_graph(model: Any, x: Array, epsilon: float) -> None:
    """Holds the graph that `export` would write against `certify(effort="frozen")`."""
    network, _ = network_of(model)
    logits = np.asarray(model.predict(x, verbose=0), "float32")
    graph = import_module("keraslip.export.frozen_graph")
    try:
        found = graph.answers(network, x, epsilon, logits)
    except Exception as error:
        raise AssertionError(
            f"export: a formula fails in the exported graph ({error!r}). Write it on self.arithmetic, for "
            "any number of samples and without a Python branch on values"
        ) from error
    names = differing(model, x, epsilon, found)
    require(not names, "export", f"the exported graph answers differently ({', '.join(names)})")
