"""Searches for hyperparameters with keras-tuner, by certified accuracy on validation data."""

from importlib.util import find_spec

# keras-tuner needs tensorboard on one of the backends and does not declare it: without, every trial fails.
if any(find_spec(name) is None for name in ("keras_tuner", "tensorboard")):
    raise ImportError(
        'Searches need keras-tuner and tensorboard: pip install "keraslip[tuner]"',
        name="keras_tuner",
    )

# isort: split
from keraslip.tuning.hyper_model import LipschitzHyperModel as LipschitzHyperModel
from keraslip.tuning.hyper_model import certified_objective as certified_objective
from keraslip.tuning.results import trial_rows as trial_rows
from keraslip.tuning.results import write_results as write_results

__all__ = ["LipschitzHyperModel", "certified_objective", "trial_rows", "write_results"]
