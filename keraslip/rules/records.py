"""What a pass notes of every place where it closes a form."""

import math
from dataclasses import dataclass

from keras import ops

from keraslip.bounds.ball import AffineForm, Ball
from keraslip.typing import Tensor


@dataclass(frozen=True, eq=False)
class LayerRecord:
    """What happened where a form was closed, for logs and `explain`."""

    key: str  #: Path of the operation in the model.
    form: AffineForm  #: The form before.
    ball: Ball  #: The ball after.


def varying_share(records: list[LayerRecord]) -> Tensor:
    """Share of units that may vary, over the activations whose masks the bound uses; `()`, 1 for none."""
    varying, units = 0.0, 0
    for record in records:
        mask = record.ball.varying
        if mask is None:
            continue
        count = math.prod(record.form.shape)
        units += count
        varying = varying + count * ops.mean(mask)
    return ops.convert_to_tensor(varying / units if units else 1.0)
