"""Turns a `Net` into a `LocalLipschitzModel`: the one place that stacks layers."""

import functools
import inspect
import math
from collections.abc import Callable, Iterator
from os import PathLike, fspath
from pathlib import Path
from typing import Any, Protocol, cast

import keras

from keraslip import layers
from keraslip.applications._activations import activation_layers
from keraslip.applications._spec import Conv, Net, Threshold
from keraslip.applications._weights import chosen, load_into, shipped, trained_as
from keraslip.models import LocalLipschitzModel

_ARGUMENTS = """

    Args:
        activation: "clipped_relu" (learned thresholds), "maxmin", "clipped_maxmin" (learned
            thresholds) or "relu". The default is that of named weights, else "{activation}".
        threshold: Initial threshold of "clipped_relu": a number, or one number for each
            activation layer. The default is {threshold}.
        upper_threshold: The same for the upper thresholds of "clipped_maxmin", default {upper}.
        lower_threshold: The same for the lower thresholds of "clipped_maxmin", default {lower}.
        width: Factor for the number of channels and hidden units; the products are rounded to
            even numbers (MaxMin pairs them), never below 2. The default is that of named weights,
            else 1.
        weights: None for random weights, the name of some that come with the package (see
            `keraslip.applications.card`), or the path of a `.weights.h5` or `.keras` file.
        input_shape: Shape of one input without the batch, by default {input_shape} with the
            channels where `keras.config.image_data_format()` puts them.
        classes: Number of logits.
        name: Name of the model.{further}

    Returns:
        A `keraslip.LocalLipschitzModel` from images in [0, 1] to logits, not compiled.

    Raises:
        ValueError: If an argument is none of the above, or a threshold is given that the
            activation does not use.

    Reference:

    - {reference}
    """

_PAPER = """Huang, Zhang, Shi, Kolter, Anandkumar, "Training Certifiably Robust Neural Networks with
      Efficient Local Lipschitz Bounds", NeurIPS 2021, arXiv 2111.01395."""


class Builder(Protocol):
    """A function that builds a network; classes and name are by default those of the `Net`."""

    def __call__(
        self,
        activation: str | None = None,
        threshold: Threshold = None,
        upper_threshold: Threshold = None,
        lower_threshold: Threshold = None,
        width: float | None = None,
        weights: str | PathLike[str] | None = None,
        input_shape: tuple[int, int, int] | None = None,
        classes: int = ...,
        name: str = ...,
        **own: Any,
    ) -> LocalLipschitzModel:
        """See `_ARGUMENTS`; `own` are what the network takes beside."""


def network(describe: Callable[..., Net], further: str = "", reference: str = _PAPER) -> Builder:
    """Make a function from a network's own arguments to its `Net`, which documents it, its builder."""
    net, own = describe(), inspect.signature(describe).parameters
    _, *shared, _ = inspect.signature(Builder.__call__).parameters.values()
    usual = vars(net)
    parameters = [p.replace(default=usual[p.name]) if p.default is ... else p for p in shared]
    all_of_them = [*parameters, *own.values()]
    signature = inspect.Signature(all_of_them, return_annotation=LocalLipschitzModel)

    @functools.wraps(describe)
    def builder(*args: Any, **kwargs: Any) -> LocalLipschitzModel:
        bound = signature.bind(*args, **kwargs)
        bound.apply_defaults()
        given = bound.arguments
        return build(describe(**{name: given.pop(name) for name in own}), **given)

    words = {**usual, "further": further, "reference": reference}
    builder.__doc__ = (describe.__doc__ or "").rstrip() + _ARGUMENTS.format(**words)
    builder.__signature__ = signature  # type: ignore[attr-defined]
    return cast(Builder, builder)


def build(
    net: Net,
    activation: str | None,
    width: float | None,
    weights: str | PathLike[str] | None,
    input_shape: tuple[int, int, int] | None,
    classes: int,
    name: str,
    **thresholds: Threshold,
) -> LocalLipschitzModel:
    """Build `net` with the given choices; `_ARGUMENTS` says what they mean.

    Every layer has a name of its own, because Keras' automatic names count up within a process:
    two equal networks would differ in whatever goes by the name.
    """
    trained = trained_as(net, weights)
    path = None if trained else _weights_file(weights)
    activation = chosen("activation", activation, trained, net.activation)
    width = chosen("width", width, trained, 1.0)
    activations = iter(activation_layers(net, activation, thresholds))
    inputs = keras.Input(_input_shape(net, input_shape))
    x = inputs
    if net.center:
        x = keras.layers.Rescaling(1.0, -net.center, name="center")(x)
    for index, conv in enumerate(net.convs, start=1):
        before = x
        for layer in _convolution(conv, width, index):
            x = layer(x)
        if conv.residual:
            x = keras.layers.Add(name=f"add_{index}")([before, x])
        x = next(activations)(x)
    x = keras.layers.Flatten(name="flatten")(x)
    for index, units in enumerate(net.hidden, start=1):
        x = layers.MaskedLipschitzDense(_scaled(units, width), name=f"dense_{index}")(x)
        x = next(activations)(x)
    outputs = layers.MaskedLipschitzDense(classes, name="logits")(x)
    model = LocalLipschitzModel(inputs, outputs, name=name)
    if trained:
        load_into(model, str(weights))
    if path is not None:
        model.load_weights(path)
    return model


def _convolution(conv: Conv, width: float, index: int) -> Iterator[keras.layers.Layer]:
    """The layers of one convolution; its kernel starts from N(0, 2 / (k * k * filters)).

    Beside the identity it starts a tenth as large: the sum of both then starts near the identity.
    """
    filters = _scaled(conv.filters, width)
    same = conv.stride == 1 and conv.kernel == 2 * conv.pad + 1
    if conv.pad and not same:
        yield keras.layers.ZeroPadding2D(conv.pad, name=f"pad_{index}")
    yield layers.MaskedLipschitzConv2D(
        filters,
        conv.kernel,
        strides=conv.stride,
        padding="same" if same else "valid",
        kernel_initializer=keras.initializers.RandomNormal(
            stddev=math.sqrt(2.0 / (conv.kernel * conv.kernel * filters))
            * (0.1 if conv.residual else 1.0)
        ),
        name=f"conv_{index}",
    )


def _scaled(count: int, width: float) -> int:
    """`width * count`, rounded to an even number of at least 2."""
    if not (math.isfinite(width) and width > 0):
        raise ValueError(f"`width` must be a positive number. Received: width={width!r}")
    return max(2, 2 * round(width * count / 2))


def _input_shape(net: Net, input_shape: tuple[int, int, int] | None) -> tuple[int, int, int]:
    if input_shape is not None:
        if len(input_shape) != 3:
            raise ValueError(
                "`input_shape` must have three entries, without the batch. "
                f"Received: input_shape={input_shape!r}"
            )
        return input_shape
    height, width, channels = net.input_shape
    channels_first = keras.config.image_data_format() == "channels_first"
    return (channels, height, width) if channels_first else (height, width, channels)


def _weights_file(weights: str | PathLike[str] | None) -> str | None:
    """The path of the weights as a string; an error if there is no such file."""
    if weights is None:
        return None
    path = fspath(weights)
    if Path(path).is_file():
        return path
    if path.endswith((".weights.h5", ".keras")):
        raise ValueError(f"There is no such weights file. Received: weights={path!r}")
    raise ValueError(
        f"No such weights come with the package, which has {', '.join(shipped()) or 'none'}; pass the path "
        f"of a .weights.h5 or .keras file, or None. Received: weights={weights!r}"
    )
