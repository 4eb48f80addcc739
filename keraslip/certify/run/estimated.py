"""Guarantee "estimate": the flags of power iterations, which promise nothing."""

from typing import Any

import numpy as np

from keraslip.certify.execution.fingerprint import graph_fingerprint
from keraslip.certify.result.certificates import Certificates
from keraslip.certify.run.inputs import all_samples
from keraslip.certify.run.settings import Settings
from keraslip.input_range import untold
from keraslip.rules.bounded import check_bounded


def estimated(
    model: Any, x: Any, y: Any, epsilon: np.ndarray, settings: Settings, steps: int | None = None
) -> Certificates:
    """See `keraslip.LocalLipschitzModel.certify`; one epsilon only, and a stream is read whole.

    Raises:
        ValueError: for a radius for each sample, or a search for radii.
    """
    if epsilon.ndim or settings.radius:
        raise ValueError(
            "guarantee='estimate' takes one epsilon for all samples and finds no radii; use "
            "guarantee='proved'."
        )
    check_bounded(model)
    x, y = all_samples(model, x, y, steps)
    with untold():  # by `all_samples`
        found = model.estimate(x, y, float(epsilon), "local", batch_size=settings.batch_size)
    n = len(found.label)
    status = np.where(found.certified, "estimated", "not estimated")
    status = np.where(found.prediction != found.label, "misclassified", status)
    details = {"power_iterations": found.power_iterations, "bound": found.bound}
    return Certificates(
        np.asarray(found.label, dtype="int64"),
        np.zeros(n, dtype=bool),
        np.asarray(found.margin, dtype="float64"),
        np.asarray(found.lipschitz, dtype="float64"),
        None,
        status.astype("U16"),
        np.full(n, float(epsilon)),
        "estimate",
        settings.arithmetic,
        {**details, "network": graph_fingerprint(model)},
    )
