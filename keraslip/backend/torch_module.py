"""A Keras model as a module of PyTorch; imported on the torch backend only."""

from typing import Any

import keras
import torch

from keraslip.backend.structure import logits_of


class _Logits(torch.autograd.Function):
    """Logits whose gradient reaches the input alone: an attack leaves no gradient on the weights."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, model: keras.Model) -> torch.Tensor:
        if not ctx.needs_input_grad[0]:
            return logits_of(model, x)
        with torch.enable_grad():
            inputs = x.detach().requires_grad_()
            logits = logits_of(model, inputs)
        ctx.graph = inputs, logits
        return logits.detach()

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None]:
        inputs, logits = ctx.graph
        (result,) = torch.autograd.grad(
            logits, inputs, gradient, retain_graph=True, materialize_grads=True
        )
        return result, None


class LogitsModule(torch.nn.Module):
    """Logits of a Keras model in inference mode, of images with channels first if so.

    The model is no submodule, so that nothing done to this module changes it.
    """

    def __init__(self, model: keras.Model, channels_first: bool) -> None:
        super().__init__()
        self._model = (model,)
        self._channels_first = channels_first
        self.eval()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits `(batch, classes)`."""
        if self._channels_first and x.ndim == 4:
            x = x.permute(0, 2, 3, 1)
        logits: torch.Tensor = _Logits.apply(x, *self._model)
        return logits
