"""Losses on clean and worst-case logits."""

from keraslip.losses.bcp_loss import BCPLoss as BCPLoss
from keraslip.losses.by_name import get as get
from keraslip.losses.by_name import names as names
from keraslip.losses.gloro_loss import GloRoLoss as GloRoLoss
from keraslip.losses.robust_loss import RobustLoss as RobustLoss
from keraslip.losses.trades_loss import TradesLoss as TradesLoss

__all__ = ["BCPLoss", "GloRoLoss", "RobustLoss", "TradesLoss", "get", "names"]
