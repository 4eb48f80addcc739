"""Input gradients on PyTorch."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import keras
import numpy as np
import torch

from keraslip.backend.environment import OFF, reduced_by_variable
from keraslip.backend.structure import logits_of
from keraslip.backend.torch_module import LogitsModule
from keraslip.typing import Compiled, Function, Gradient

#: Environment variables that PyTorch obeys, with the values that leave float32 alone.
_VARIABLES = {
    "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE": OFF,
    "HIPBLASLT_ALLOW_TF32": OFF,
    "IPEX_FP32_MATH_MODE": ("fp32",),
    "PYTORCH_MPS_FAST_MATH": OFF,
}
#: Kinds of devices that autocast knows.
_DEVICES = ("cpu", "cuda", "xpu", "mps", "hpu", "mtia", "maia", "ipu", "xla", "privateuseone")
#: Where `torch.backends` keeps a precision of float32, the one for all first; recurrent layers on GPUs, which
#: cannot be certified, have TF32 as default.
_PRECISIONS = ("", "mkldnn", "mkldnn.matmul", "mkldnn.conv", "mkldnn.rnn", "cudnn", "cuda.matmul")


def input_gradient(model: keras.Model, objective: Callable[..., Any]) -> Gradient:
    def call(x: np.ndarray, *args: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        tensors = [keras.ops.convert_to_tensor(a) for a in args]
        with torch.enable_grad():
            # A copy: the caller's array must not become part of a graph.
            inputs = keras.ops.convert_to_tensor(x).detach().clone().requires_grad_()
            values = objective(logits_of(model, inputs), *tensors)
            (gradients,) = torch.autograd.grad(values.sum(), inputs, materialize_grads=True)
        return values.detach().cpu().numpy(), gradients.cpu().numpy()

    return call


def compiled(model: keras.Model, function: Function) -> Compiled:
    def call(*args: np.ndarray) -> list[np.ndarray]:
        with torch.no_grad():
            outputs = function(*(keras.ops.convert_to_tensor(a) for a in args))
        return [out.cpu().numpy() for out in outputs]

    return call


def ways_to_run() -> dict[str, Callable[..., Any]]:
    return {"eager": compiled}


def reduced_precision() -> str | None:
    for device in _DEVICES:
        if torch.is_autocast_enabled(device):
            return (
                f"PyTorch computes in fewer digits inside of torch.autocast({device!r}); leave it, or switch "
                f"it off with torch.set_autocast_enabled({device!r}, False)."
            )
    for name, on, remedy in (*_switches(), *_old_switches()):
        if on:
            return f"PyTorch may compute products in TF32 or less: {name}; switch that off with {remedy}."
    return reduced_by_variable(_VARIABLES)


def _switches() -> Iterator[tuple[str, bool, str]]:
    """Precisions of float32 by library and operation, of PyTorch 2.9 and later."""
    # TF32 is the default of cuDNN's convolutions, which matters where there is a GPU alone.
    for path in (*_PRECISIONS, *(("cudnn.conv",) if torch.cuda.is_available() else ())):
        place: Any = torch.backends
        for part in filter(None, path.split(".")):
            place = getattr(place, part, None)
        precision = getattr(place, "fp32_precision", "none")
        name = ".".join(filter(None, ("torch.backends", path, "fp32_precision")))
        also = " and torch.set_float32_matmul_precision('highest')" if "matmul" in path else ""
        yield (
            f"{name} is {precision!r}",
            precision not in ("none", "ieee"),
            f"{name} = 'ieee'{also}",
        )


def _old_switches() -> Iterator[tuple[str, bool, str]]:
    """The switches of PyTorch's earlier interface."""
    try:
        precision = torch.get_float32_matmul_precision()
    except RuntimeError:
        precision = "highest"  # both interfaces were used, and the new one has told already
    remedy = "torch.set_float32_matmul_precision('highest')"
    yield f"torch.get_float32_matmul_precision() is {precision!r}", precision != "highest", remedy
    # None where PyTorch is not built for Intel's GPUs.
    name = "torch.backends.mkldnn.allow_tf32"
    yield (
        f"{name} is True",
        bool(getattr(torch.backends.mkldnn, "allow_tf32", None)),
        f"{name} = False",
    )
    if torch.cuda.is_available() and not hasattr(torch.backends, "fp32_precision"):
        for path, place in (
            ("cuda.matmul", torch.backends.cuda.matmul),
            ("cudnn", torch.backends.cudnn),
        ):
            name = f"torch.backends.{path}.allow_tf32"
            yield f"{name} is True", place.allow_tf32, f"{name} = False"


def hooked(layers: Iterable[Any]) -> str | None:
    every = torch.nn.modules.module
    if every._global_forward_hooks or every._global_forward_pre_hooks:
        return (
            "PyTorch calls a hook at every module, which may change what it makes; remove it, by the handle "
            "that torch.nn.modules.module.register_module_forward_hook returned."
        )
    for layer in layers:
        if layer._forward_hooks or layer._forward_pre_hooks:
            return (
                f"PyTorch calls a hook at the layer {layer.name!r}, which may change what it makes; remove "
                "it, by the handle that register_forward_hook returned."
            )
    return None


def place_among_processes() -> tuple[int, int]:
    group = torch.distributed
    if group.is_available() and group.is_initialized():
        return group.get_rank(), group.get_world_size()
    return 0, 1


def foolbox_model(foolbox: Any, model: keras.Model, bounds: tuple[float, float]) -> Any:
    device = model.weights[0].value.device
    return foolbox.PyTorchModel(
        LogitsModule(model, channels_first=False), bounds=bounds, device=device
    )
