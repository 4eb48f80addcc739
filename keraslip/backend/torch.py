"""Input gradients on PyTorch."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import torch


def input_gradient(
    model: keras.Model, objective: Callable[..., Any]
) -> Callable[..., tuple[np.ndarray, np.ndarray]]:
    """See `keraslip.backend.input_gradient`."""

    def call(x: np.ndarray, *args: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        tensors = [keras.ops.convert_to_tensor(a) for a in args]
        with torch.enable_grad():
            # A copy: the caller's array must not become part of a graph.
            inputs = keras.ops.convert_to_tensor(x).detach().clone().requires_grad_()
            values = objective(model(inputs, training=False), *tensors)
            (gradients,) = torch.autograd.grad(values.sum(), inputs, materialize_grads=True)
        return values.detach().cpu().numpy(), gradients.cpu().numpy()

    return call


def compiled(
    model: keras.Model, function: Callable[..., list[Any]]
) -> Callable[..., list[np.ndarray]]:
    """See `keraslip.backend.compiled`."""

    def call(*args: np.ndarray) -> list[np.ndarray]:
        with torch.no_grad():
            outputs = function(*(keras.ops.convert_to_tensor(a) for a in args))
        return [out.cpu().numpy() for out in outputs]

    return call


def reduced_precision() -> str | None:
    """See `keraslip.backend.reduced_precision`."""
    reduced = torch.get_float32_matmul_precision() != "highest"
    if torch.cuda.is_available():
        reduced = (
            reduced or torch.backends.cuda.matmul.allow_tf32 or torch.backends.cudnn.allow_tf32
        )
    if reduced or torch.is_autocast_enabled():
        return (
            "PyTorch computes in TF32 or less; switch it off with "
            "torch.set_float32_matmul_precision('highest'), torch.backends.cuda.matmul.allow_tf32 = False, "
            "torch.backends.cudnn.allow_tf32 = False, and outside of torch.autocast."
        )
    return None


def place_among_processes() -> tuple[int, int]:
    """See `keraslip.backend.place_among_processes`."""
    group = torch.distributed
    if group.is_available() and group.is_initialized():
        return group.get_rank(), group.get_world_size()
    return 0, 1
