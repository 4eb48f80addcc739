"""Losses on clean and worst-case logits."""

from keraslip.losses.bcp_loss import BCPLoss as BCPLoss
from keraslip.losses.by_name import get as get
from keraslip.losses.by_name import names as names
from keraslip.losses.calibrated_lipschitz_margin_loss import (
    CalibratedLipschitzMarginLoss as CalibratedLipschitzMarginLoss,
)
from keraslip.losses.certified_radius_loss import CertifiedRadiusLoss as CertifiedRadiusLoss
from keraslip.losses.emma_loss import EMMALoss as EMMALoss
from keraslip.losses.gloro_loss import GloRoLoss as GloRoLoss
from keraslip.losses.offset_cross_entropy_loss import LogitAnnealingLoss as LogitAnnealingLoss
from keraslip.losses.offset_cross_entropy_loss import (
    OffsetCrossEntropyLoss as OffsetCrossEntropyLoss,
)
from keraslip.losses.robust_loss import RobustLoss as RobustLoss
from keraslip.losses.trades_loss import TradesLoss as TradesLoss

__all__ = [
    "BCPLoss",
    "CalibratedLipschitzMarginLoss",
    "CertifiedRadiusLoss",
    "EMMALoss",
    "GloRoLoss",
    "LogitAnnealingLoss",
    "OffsetCrossEntropyLoss",
    "RobustLoss",
    "TradesLoss",
    "get",
    "names",
]
