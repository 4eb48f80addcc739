"""Weights that come with the package: float16 on disk, so that certificates are about exactly what loads."""

import json
from importlib.resources import as_file, files
from importlib.resources.abc import Traversable
from typing import Any

import numpy as np

from keraslip.applications._spec import Net


def _folder() -> Traversable:
    return files("keraslip") / "weights"


def shipped() -> list[str]:
    """The names that `weights=` takes."""
    return sorted(file.name[:-4] for file in _folder().iterdir() if file.name.endswith(".npz"))


def card(name: str) -> dict[str, Any]:
    """What is known of weights that come with the package: data, settings of their training, results.

    Args:
        name: What `weights=` takes: "digits", for instance.

    Returns:
        The content of their model card; accuracies are fractions, epsilon is in units of the input, pixels
        in [0, 1], and guarantees are about exactly the weights that load.

    Raises:
        ValueError: If no weights of that name come with the package.

    Example:

    ```python
    card = keraslip.applications.card("digits")
    print(card["certified_accuracy"], card["epsilon"], card["guarantee"])
    ```
    """
    if name not in shipped():
        raise ValueError(f"`name` must be one of {', '.join(shipped())}. Received: name={name!r}")
    content: dict[str, Any] = json.loads((_folder() / f"{name}.json").read_text(encoding="utf-8"))
    return content


def trained_as(net: Net, weights: Any) -> dict[str, Any]:
    """The settings of the training of weights that come with the package; none for others.

    Raises:
        ValueError: If the weights are another network's.
    """
    if not isinstance(weights, str) or weights not in shipped():
        return {}
    settings: dict[str, Any] = card(weights)["settings"]
    if settings["application"] != net.name:
        raise ValueError(
            f"The weights {weights!r} are those of {settings['application']}. "
            f"Received: weights={weights!r} for {net.name}"
        )
    return settings


def chosen(name: str, given: Any, settings: dict[str, Any], usual: Any) -> Any:
    """An argument as given, else as it was in training, else as usual.

    Raises:
        ValueError: If given and trained differ.
    """
    if settings and given not in (None, settings[name]):
        raise ValueError(
            f"`{name}` is {settings[name]!r} in these weights: leave it out. Received: {name}={given!r}"
        )
    return settings.get(name, usual) if given is None else given


def arrays(model: Any) -> dict[str, np.ndarray]:
    """The weights of a model's layers by name, as they are stored."""
    named = {
        f"{layer.name}/{weight.name}": np.asarray(value)
        for layer in model.layers
        for weight, value in zip(layer.weights, layer.get_weights(), strict=True)
    }
    stored = {name: value.astype("float16") for name, value in named.items()}
    if not all(np.isfinite(value).all() for value in stored.values()):
        raise ValueError("There are weights that float16 cannot hold.")
    return stored


def load_into(model: Any, name: str) -> None:
    """Sets the weights of a model's layers to those that come with the package.

    Raises:
        ValueError: If the model has others: another shape of inputs, for instance.
    """
    with as_file(_folder() / f"{name}.npz") as path, np.load(path, allow_pickle=False) as file:
        stored = dict(file)
    own = {f"{layer.name}/{w.name}": w for layer in model.layers for w in layer.weights}
    shapes, there = ({k: tuple(v.shape) for k, v in of.items()} for of in (own, stored))
    if shapes != there:
        differ = sorted(k for k in {*shapes, *there} if shapes.get(k) != there.get(k))
        first = differ[0]
        raise ValueError(
            f"The weights {name!r} are of another network than this one: leave `input_shape` and `classes` "
            f"out. Received: {first} of shape {shapes.get(first)}, stored {there.get(first)}"
        )
    for key, value in stored.items():
        own[key].assign(value.astype("float32"))
