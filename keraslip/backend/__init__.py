"""What `keras.ops` lacks: input gradients and compilation, one small file a backend.

Only the module of the active backend is imported, so that none of the others has to be installed.
"""

from collections.abc import Callable, Iterable
from importlib import import_module
from typing import Any

import keras

from keraslip.typing import Compiled, Function, Gradient

_active = keras.backend.backend()

if _active in ("tensorflow", "jax", "torch"):
    _backend = import_module(f"keraslip.backend.{_active}")
else:
    raise ImportError(
        "keraslip needs gradients and so runs on Keras' tensorflow, jax and torch backends; "
        f"set KERAS_BACKEND to one of them. Received: {_active}"
    )

__all__ = [
    "compiled",
    "foolbox_model",
    "hooked",
    "input_gradient",
    "logits_module",
    "place_among_processes",
    "reduced_precision",
    "ways_to_run",
]


def input_gradient(model: keras.Model, objective: Callable[..., Any]) -> Gradient:
    """Gradient of a per-sample objective of the logits with respect to the model's input.

    The model runs in inference mode and its current weights are read at every call. The objective is a
    backend-free function `objective(logits, *args) -> (batch,)`, in which no sample's value depends on
    another sample. What is returned is called as `call(x, *args) -> (values, gradients)`. TensorFlow and JAX
    compile once for each shape of `x`, so keep the function and pad the last batch.
    """
    return _backend.input_gradient(model, objective)


def compiled(model: keras.Model, function: Function) -> Compiled:
    """A backend-free function of tensors, compiled where the backend can, from and to NumPy arrays.

    The model's weights have their values at the time of a call. It is traced once for each shape of its
    arguments.
    """
    return _backend.compiled(model, function)


def ways_to_run() -> dict[str, Callable[..., Any]]:
    """The ways in which a model may run and may differ, by name; each is called as `compiled` is."""
    return _backend.ways_to_run()


def reduced_precision() -> str | None:
    """How to switch off products of less than float32 precision, or `None` if they are off."""
    return _backend.reduced_precision()


def hooked(layers: Iterable[Any]) -> str | None:
    """What may change inputs or outputs of some layers from outside, and how to remove it, or `None`."""
    return _backend.hooked(layers)


def place_among_processes() -> tuple[int, int]:
    """Number of this process, from 0, and how many processes train together."""
    return _backend.place_among_processes()


def foolbox_model(foolbox: Any, model: keras.Model, bounds: tuple[float, float]) -> Any:
    """The model as Foolbox, the module that is given, takes one of the active backend."""
    return _backend.foolbox_model(foolbox, model, bounds)


def logits_module(model: keras.Model) -> Any:
    """Logits of the model as a `torch.nn.Module` that takes images with channels first.

    Raises:
        ValueError: On another backend than torch.
    """
    if _active != "torch":
        raise ValueError(
            "PyTorch attacks need Keras' torch backend: save the model, set KERAS_BACKEND=torch and "
            f"load it there. Received: backend {_active!r}"
        )
    return _backend.LogitsModule(model, channels_first=True)
