"""Several devices: what the engines of the backends leave open.

TensorFlow's `tf.distribute` and JAX's `keras.distribution` work with keraslip as they are. PyTorch trains in
one process for each device: `data_parallel` and `ProcessBatches` are what that takes.
"""

from keraslip.distribution.data_parallel import data_parallel as data_parallel
from keraslip.distribution.process_batches import ProcessBatches as ProcessBatches

__all__ = ["ProcessBatches", "data_parallel"]
