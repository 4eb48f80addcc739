"""Schedules of epsilon and kappa over a training run."""

from keraslip.schedules.schedule import Constant as Constant
from keraslip.schedules.schedule import LinearRamp as LinearRamp
from keraslip.schedules.schedule import PiecewiseLinear as PiecewiseLinear
from keraslip.schedules.schedule import Schedule as Schedule
from keraslip.schedules.schedule import at_progress as at_progress
from keraslip.schedules.schedule import current as current

__all__ = ["Constant", "LinearRamp", "PiecewiseLinear", "Schedule", "at_progress", "current"]
