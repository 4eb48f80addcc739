"""Pictures: accuracy against epsilon, test images with their margins, the course of a training."""

from keraslip.plots.accuracy_curve import accuracy_curve as accuracy_curve
from keraslip.plots.image_grid import image_grid as image_grid
from keraslip.plots.training_curves import training_curves as training_curves

__all__ = ["accuracy_curve", "image_grid", "training_curves"]
