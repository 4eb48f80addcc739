"""A network of one's own: a function in a Python file."""

import functools
import inspect
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from keraslip.cli.usual import OWN_MODEL, is_own, own_file
from keraslip.files import run_file
from keraslip.models import LocalLipschitzModel


def builder(name: str, **fixed: Any) -> Callable[..., LocalLipschitzModel]:
    """The function that builds a network, by the name of an application or as `FILE.py:FUNCTION`.

    Args:
        name: One of these.
        **fixed: `activation`, `threshold`, `input_shape` and `classes` as the run has them; `None` for the
            function's own default. A function of one's own is passed those that its signature names. It may
            return a plain Keras model, or one that ends in a softmax: it is converted.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if there is no such function or application.
    """
    from keraslip import applications

    found = _own(name) if is_own(name) else applications.get(name)
    if is_own(name):
        named = inspect.signature(found).parameters
        fixed = {key: value for key, value in fixed.items() if key in named}
    return functools.partial(found, **{k: v for k, v in fixed.items() if v is not None})


def build_alone(name: str) -> Any:
    """The model that a function of one's own returns without arguments."""
    return _checked(name, function(name)())


def function(name: str) -> Callable[..., Any]:
    """The function of `FILE.py:FUNCTION`; its file is run once."""
    path = own_file(name)
    called = name.removeprefix(path).removeprefix(":")
    run(Path(path))
    found = getattr(sys.modules[_module(Path(path))], called, None)
    if not callable(found):
        raise ValueError(
            f"{path} has no function {called!r}: name one that returns a model, {OWN_MODEL}. "
            f"Received: {name}"
        )
    return found


def know(name: str) -> None:
    """Runs the file of a network of one's own, so that layers of one's own are known; else nothing.

    Only for names that the user gives now: what a folder names may be a stranger's.
    """
    if is_own(name):
        run(Path(own_file(name)))


def run(path: Path) -> None:
    """Runs a Python file once."""
    if not path.is_file():
        raise FileNotFoundError(f"There is no file {path}.")
    name = _module(path)
    known = sys.modules.get(name)
    if known is not None and Path(str(known.__file__)) == path.resolve():
        return
    run_file(name, path)


def _module(path: Path) -> str:
    """A name that hides no package."""
    return f"keraslip_own_{path.stem}"


def _own(name: str) -> Callable[..., LocalLipschitzModel]:
    own = function(name)

    @functools.wraps(own)
    def build(**arguments: Any) -> LocalLipschitzModel:
        from keraslip.convert.conversion import from_keras, is_ready

        model = _checked(name, own(**arguments))
        return model if is_ready(model) else from_keras(model)

    return build


def _checked(name: str, model: Any) -> Any:
    import keras

    if not isinstance(model, keras.Model):
        raise ValueError(f"{name} must return a Keras model. Received: {model!r}")
    return model
