"""Certificates: what is proved of a trained network around each input.

Rooms, each built on those before it:

- `norms/`: spectral norms that are proved, and all that is known of rounding.
- `operators/`: linear maps with what a proof adds to them.
- `bound/`: the network written down in float64, and what can happen to it in a ball.
- `execution/`: the network as the backend runs it, held against the network as it is written down.
- `result/`: certificates, their file, their table, and the evidence for the checker.
- `run/`: many samples, stage by stage.
- `check.py`: the independent checker; it shares nothing with the rest and is kept and run alone.

Words:

- **sample**: an input and its label; the *ball* around it holds all inputs within a radius, *epsilon*.
- **step**: a linear map, a sum or an activation of the network. An activation closes a ball: what it gives
  lies in a ball of its own around its *center*, the value at the sample. Its *reach* is that ball's radius.
- **pending map**: the product of all linear maps between a ball and a step. It is multiplied out before it is
  bounded, so that nothing is lost between two layers.
- **norm**: how much a map can lengthen a vector. *Global*: for all samples. *Local*: without the units that
  cannot vary in this sample's ball.
- **box**: how far every single entry of a step can be from its center.
- **slopes**: how steep an activation can be inside the box. *Anchored*: seen from the center. *Hard*: between
  any two points of the box.
- **margin**: what is left at least of the gap between the label's logit and another one, all over the
  ball.
- **rounding**: what floating point may have added; the *execution* says of which arithmetic. *Slack* is
  that of coefficients which a layer computes itself, *terms* the longest sum in a map.
- **stage**: one kind of bound, from the cheapest to the most expensive; what settles a sample is its
  *status*.
- **block**: the samples that go through all stages before the next ones are read.
- **emulation**: the network step by step in NumPy's float32; it says how much an honest execution errs.

Names are imported when they are first used: the independent checker beside them needs NumPy alone.
"""

from typing import TYPE_CHECKING

from keraslip.lazy import attach as _attach

if TYPE_CHECKING:
    from keraslip.certify.execution.violation import CertificateViolation as CertificateViolation
    from keraslip.certify.operators import register_operator as register_operator
    from keraslip.certify.result.certificates import Certificates as Certificates
else:
    __getattr__, __dir__ = _attach(
        __name__,
        {
            "CertificateViolation": "keraslip.certify.execution.violation",
            "Certificates": "keraslip.certify.result.certificates",
            "register_operator": "keraslip.certify.operators",
        },
    )

__all__ = ["CertificateViolation", "Certificates", "register_operator"]
