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
