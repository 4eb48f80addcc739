"""Data: five sets of images with a validation part, and batches in an order that can be resumed."""

from keraslip.datasets.dataset import Dataset as Dataset
from keraslip.datasets.distances import class_distance as class_distance
from keraslip.datasets.loader import load as load
from keraslip.datasets.shuffled_batches import ShuffledBatches as ShuffledBatches
from keraslip.datasets.tiny_imagenet import arrange_tiny_imagenet as arrange_tiny_imagenet

__all__ = ["Dataset", "ShuffledBatches", "arrange_tiny_imagenet", "class_distance", "load"]
