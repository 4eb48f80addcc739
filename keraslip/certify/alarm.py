"""The alarm: evidence against a certificate stops the program."""

import numpy as np

from keraslip.certify.execution import Executed
from keraslip.certify.findings import Findings
from keraslip.certify.violation import violated


def audit(
    executed: Executed,
    found: Findings,
    x: np.ndarray,
    points: np.ndarray,
    rows: np.ndarray,
    epsilon: np.ndarray,
) -> None:
    """Holds attacked points against their certificates.

    Args:
        executed: Runs the model.
        found: What was certified.
        x: Inputs.
        points: What the attack made of `x[rows]`.
        rows: The samples.
        epsilon: Radii.

    Raises:
        CertificateViolation: if one of them contradicts its certificate.
    """
    before, after = executed.logits(x[rows]), executed.logits(points)
    label = found.label[rows]
    for i, row in enumerate(rows):
        apart = np.linalg.norm((points[i].astype("float64") - x[row]).reshape(-1))
        inside = apart <= epsilon[row]
        moved = np.linalg.norm(after[i].astype("float64") - before[i])
        # Executed logits carry rounding that the Lipschitz bound is not about.
        rounding = 1e-3 * (1.0 + np.abs(before[i]).max())
        flipped = inside and after[i].argmax() != label[i]
        steep = moved > found.lipschitz[row] * apart + rounding
        if flipped or steep:
            what = (
                "An attack changed a certified label."
                if flipped
                else "The logits moved further than the Lipschitz bound allows."
            )
            raise violated(what, x=x[row], attacked=points[i], label=label[i], epsilon=epsilon[row])
