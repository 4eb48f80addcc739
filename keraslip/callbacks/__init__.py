"""Callbacks for `fit`: what happens to the bound during a run."""

from keraslip.callbacks.lipschitz_monitor import LipschitzMonitor as LipschitzMonitor

__all__ = ["LipschitzMonitor"]
