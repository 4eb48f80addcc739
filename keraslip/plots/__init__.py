"""Pictures: accuracy against epsilon, images with their margins or attacks, a training's course."""

from keraslip.plots.accuracy_curve import accuracy_curve as accuracy_curve
from keraslip.plots.adversarial_grid import adversarial_grid as adversarial_grid
from keraslip.plots.image_grid import image_grid as image_grid
from keraslip.plots.pareto_front import pareto_front as pareto_front
from keraslip.plots.training_curves import training_curves as training_curves

__all__ = ["accuracy_curve", "adversarial_grid", "image_grid", "pareto_front", "training_curves"]
