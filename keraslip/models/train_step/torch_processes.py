"""Data parallel training on PyTorch: what the processes of a group tell each other."""

from collections.abc import Sequence
from typing import Any

import torch
import torch.distributed as dist

from keraslip.models.state import seed_states


class Processes:
    """The processes of the default group, which train the same model on different samples.

    Raises:
        RuntimeError: if the group was not set up.
    """

    def __init__(self, model: Any) -> None:
        if not (dist.is_available() and dist.is_initialized()):
            raise RuntimeError(
                "There is no group of processes: start the script with torchrun and call "
                "torch.distributed.init_process_group() first. Received: no default process group"
            )
        variables = [*model.weights, *seed_states(model)]
        self._check_alike(variables)
        for variable in variables:
            dist.broadcast(variable.value.data, src=0)

    @staticmethod
    def _check_alike(variables: Sequence[Any]) -> None:
        """Raises where the processes built different models: a broadcast would hang, or mix weights up."""
        shapes: list[Any] = [None] * dist.get_world_size()
        dist.all_gather_object(shapes, [tuple(v.shape) for v in variables])
        if any(other != shapes[0] for other in shapes):
            counts = [len(other) for other in shapes]
            raise ValueError(
                "Every process must build the same model. "
                f"Received: weights of other shapes; numbers of weights {counts}"
            )

    def average(self, tensors: Sequence[torch.Tensor | None], samples: int) -> list[Any]:
        """Means over the samples of all processes, of means over this one's; `None` stays `None`."""
        given = [tensor for tensor in tensors if tensor is not None]
        count = given[0].new_full((1,), samples)
        flat = torch.cat([*(tensor.reshape(-1) * samples for tensor in given), count])
        dist.all_reduce(flat)
        sizes = [tensor.numel() for tensor in given]
        means = iter((flat[:-1] / flat[-1]).split(sizes))
        return [
            None if tensor is None else next(means).view_as(tensor).to(tensor.dtype)
            for tensor in tensors
        ]

    def add_up(self, variables: Sequence[Any]) -> None:
        """Sums of metric variables over all processes: totals and counts."""
        for variable in variables:
            total = variable.value.detach().clone()
            dist.all_reduce(total)
            variable.assign(total)
