"""One model in several processes."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from keraslip.models import LocalLipschitzModel


def data_parallel(model: "LocalLipschitzModel") -> "LocalLipschitzModel":
    """Makes `fit` train one model in all processes of a group; for PyTorch, one process for each device.

    The model takes over the weights of process 0. In every training step gradients and warm-start vectors
    become their means over the samples of all processes, in one message, before the optimizer sees them, so
    that weights stay equal. Logs of an epoch and results of `evaluate` are those of all samples.

    Every process must call `fit` and `evaluate` alike and get as many batches as the others, such as its
    rows of the same batches: `ProcessBatches`. Call this again after loading a model.

    Args:
        model: A model, on every process the same.

    Returns:
        The model.

    Raises:
        NotImplementedError: on TensorFlow and JAX, whose own engines do it.
        RuntimeError: if there is no group of processes.
        ValueError: if the processes have built different models.

    Example:

    ```python
    torch.distributed.init_process_group("gloo")  # started by torchrun
    model = keraslip.distribution.data_parallel(model)
    model.compile("adam", epsilon=0.25)
    batches = keraslip.datasets.ShuffledBatches(x, y, batch_size=256, seed=0)
    model.fit(keraslip.distribution.ProcessBatches(batches), shuffle=False, epochs=10)
    ```
    """
    model.data_parallel()
    return model
