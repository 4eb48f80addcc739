"""Any Keras classifier as a `LocalLipschitzModel`, with the same weights and the same answers."""

import math
from numbers import Real
from typing import Any

import keras
import numpy as np
from keras import ops, tree

from keraslip.backend.structure import packed
from keraslip.certify.execution.precision import check_hooks
from keraslip.convert import calibrate as calibration
from keraslip.convert.builder import Builder, plain_name
from keraslip.convert.opened import called, opened
from keraslip.convert.rescale import scale_down
from keraslip.models import LocalLipschitzModel
from keraslip.models.float32_copy import in_float32
from keraslip.rules.bounded import check_bounded
from keraslip.rules.code import is_fixed
from keraslip.rules.derived import settle
from keraslip.rules.fused import build_fused
from keraslip.rules.head import head as head_of
from keraslip.rules.registry import check_as_registered
from keraslip.rules.rule import UnsupportedLayerError
from keraslip.rules.walk import is_graph
from keraslip.typing import Array

#: Largest difference between the old and the new model's answers, relative to the largest of them.
_TOLERANCE = 1e-5


def from_keras(
    model: Any,
    calibrate: Any = None,
    clip: str = "relu",
    quantile: float = 0.999,
    input_shape: tuple[int, ...] | None = None,
    rescale: float | None = None,
    feature_scales: Any = None,
) -> LocalLipschitzModel:
    """A Keras classifier as a model that certifies, and that `fit` can make more robust.

    The weights and the answers stay: nested models are opened, batch normalisation is folded into the layer
    before it (or becomes a fixed scale), a softmax at the end is left off, one sigmoid output becomes two
    logits. Noise, dropout and augmentation of the inputs stay, so that `fit` goes on with them. It computes
    in float32, and takes whole numbers as floats, for that is what certificates are about. The model that
    was given is not changed.

    Args:
        model: A built classifier: Sequential, functional or nested, with one input and one output. Models
            and layers of your own are opened where their `call` can be traced on symbolic tensors; what they
            add or multiply by without a layer stays as it is when `fit` goes on.
        calibrate: Samples `(count, *shape)`, some hundreds of the training data. With them every ReLU
            becomes a `ClippedReLU` whose threshold lets the share `quantile` of each channel's values
            through, which changes answers a little and makes units constant. Without, nothing is clipped.
        clip: Which activations `calibrate` clips; `"relu"`.
        quantile: In (0, 1].
        input_shape: Shape of one input, needed for a subclass that does not say it.
        rescale: A start for `fit`: every layer whose spectral norm is larger is scaled down to this one, 1.0
            say. Answers change; what was learned is still there, and training is not lost in a bound of
            thousands. `None` keeps weights and answers.
        feature_scales: Numbers > 0, one for each feature (or what broadcasts to one input). The new model
            takes `x / feature_scales` in place of x: an epsilon of 1 is then a change by one scale.

    Returns:
        A `LocalLipschitzModel`, not compiled.

    Raises:
        UnsupportedLayerError: for a layer that no bound can pass, or a model that cannot be traced.
        ValueError: for arguments out of range, and where the new model's answers differ from the old one's
            by more than 1e-5 of the largest.

    Example:

    ```python
    model = keraslip.from_keras(keras.saving.load_model("mine.keras"))
    model.compile("adam", epsilon=0.25)
    model.certify(x_test, y_test)
    ```
    """
    if clip != "relu":
        raise ValueError(f'clip must be "relu". Received: clip={clip!r}')
    if not (isinstance(quantile, Real) and 0.0 < quantile <= 1.0):
        raise ValueError(f"quantile must be in (0, 1]. Received: quantile={quantile!r}")
    if rescale is not None and not (isinstance(rescale, Real) and 0.0 < rescale < math.inf):
        raise ValueError(f"rescale must be a finite number > 0. Received: rescale={rescale!r}")
    graph = as_graph(model, input_shape)
    samples = None if calibrate is None else calibration.some(calibrate, graph)
    scales = None if feature_scales is None else _checked_scales(feature_scales, graph)
    settle(graph)
    converted, head = built(graph)
    _check_answers(graph, converted, head)
    if calibrate is not None or scales is not None:
        # Both change answers, so the network without them was held against the one that was given.
        builder = Builder(graph, clips=calibrate is not None)
        converted = builder.build(plain_name(model.name), scales)
    if rescale is not None:
        scale_down(converted, rescale)
    if samples is not None:
        calibration.set_thresholds(
            converted, samples if scales is None else samples / scales, quantile
        )
    return converted


def is_ready(model: Any) -> bool:
    """Whether a model is one of ours that ends in logits: it can be certified as it is, if it can at all."""
    return isinstance(model, LocalLipschitzModel) and head_of(model) is None


def built(graph: Any) -> tuple[LocalLipschitzModel, str | None]:
    """A functional model's new self, and what its end was: "softmax", "sigmoid" or `None`.

    Raises:
        UnsupportedLayerError: for a layer that no bound can pass.
        ValueError: for an end that no bound can be taken of.
    """
    builder = Builder(graph, clips=False)
    converted = builder.build(plain_name(graph.name))
    check_bounded(converted)
    return converted, builder.head


def as_graph(model: Any, input_shape: tuple[int, ...] | None) -> Any:
    """The model as a functional one with one input and one output, in float32 or more.

    Args:
        model: A built Keras model.
        input_shape: Shape of one input, for a subclass that does not say it.

    Raises:
        UnsupportedLayerError: for other ends, or a subclass that cannot be traced.
        ValueError: if the shape is needed.
    """
    graph = _as_graph(model, input_shape)
    _check_layers(model)
    build_fused(graph)
    return in_float32(graph)


def _check_layers(model: Any) -> None:
    """Raises where Keras' layers do not do what they are: the new model's would do something else."""
    for layer in model._flatten_layers():
        if is_fixed(type(layer)):
            try:
                check_as_registered(layer)
            except UnsupportedLayerError as error:
                where = f"{type(layer).__name__} at {layer.name!r}"
                raise type(error)(f"No bound can pass {where}: {error}") from None
    check_hooks(model)


def _as_graph(model: Any, input_shape: tuple[int, ...] | None) -> Any:
    if not isinstance(model, keras.Model):
        raise ValueError(
            "from_keras takes a built keras.Model; a file is one after keras.saving.load_model. "
            f"Received: {model!r}"
        )
    if is_graph(model) and getattr(model, "inputs", None):
        ends = len(model.inputs), len(model.outputs)
        if ends != (1, 1):
            raise UnsupportedLayerError(
                "A certificate is about one label: the model needs one input and one output. Take the part "
                f"that classifies, keras.Model(input, logits). Received: {ends[0]} inputs, {ends[1]} outputs"
            )
        found = opened(model)
        return model if found is model else _checked(model, found)
    shape = input_shape or _known_shape(model)
    if shape is None:
        raise ValueError(
            "The shape of one input is not known: call the model once, or give input_shape=. "
            f"Received: {model.name!r} of type {type(model).__name__}"
        )
    inputs = keras.Input(shape)
    try:
        graph = keras.Model(inputs, called(model, inputs), name=model.name)
    except Exception as error:
        raise UnsupportedLayerError(
            f"The call() of {type(model).__name__} cannot be traced on symbolic tensors: write the network "
            f"with keras.Input and layers. It said: {error}"
        ) from error
    return _checked(model, _as_graph(graph, None))


def _checked(model: Any, graph: Any) -> Any:
    """The graph of what `call` functions do, if it answers as they do."""
    # Half precision is rounded in another way where another part of the network is compiled at once.
    tolerance = _TOLERANCE if graph.compute_dtype in ("float32", "float64") else 0.05
    x = _random_inputs(graph)
    # Code may ask for the size of the batch, which symbolic tensors have not.
    for rows in (x, x[:1]):
        before, after = (_answers(one, rows) for one in (model, graph))
        _compare(before, after, tolerance)
    return graph


def _checked_scales(feature_scales: Any, graph: Any) -> Array:
    """Scales in float32, as the network multiplies by them, in the shape of one input."""
    shape = tuple(graph.inputs[0].shape[1:])
    try:
        scales = np.asarray(ops.convert_to_numpy(feature_scales), dtype="float32")
        whole = np.broadcast_to(scales, shape)
    except (ValueError, TypeError):
        whole = np.zeros(shape)
    if not (np.isfinite(whole) & (whole > 0)).all():
        raise ValueError(
            f"feature_scales must be finite numbers > 0 that broadcast to one input, {shape}. "
            f"Received: feature_scales={feature_scales!r}"
        )
    return whole


def _known_shape(model: Any) -> tuple[int, ...] | None:
    known = model.get_build_config() or {}
    shapes = [
        shape for shape in known.get("shapes_dict", known).values() if isinstance(shape, tuple)
    ]
    return tuple(shapes[0][1:]) if len(shapes) == 1 else None


def _check_answers(graph: Any, converted: Any, head: str | None) -> None:
    """Raises unless the new model answers as the old one, on random inputs."""
    x = _random_inputs(graph)
    before, after = (_answers(one, x) for one in (graph, converted))
    if head in ("softmax", "log_softmax"):
        after = after - after.max(axis=1, keepdims=True)
        after = after - np.log(np.exp(after).sum(axis=1, keepdims=True))
        after = np.exp(after) if head == "softmax" else after
    elif head == "sigmoid":
        after = 1.0 / (1.0 + np.exp(after[:, :1] - after[:, 1:]))
    _compare(before, after, _TOLERANCE)


def _random_inputs(graph: Any) -> Array:
    generator = np.random.default_rng(0)
    shape = [4, *(1 if size is None else size for size in graph.inputs[0].shape[1:])]
    whole = "float" not in graph.inputs[0].dtype
    x = generator.integers(0, 128, shape) if whole else generator.uniform(0.0, 1.0, shape)
    return x.astype("float32")


def _answers(model: Any, x: Array) -> Array:
    # A dictionary of one, perhaps.
    (given,) = tree.flatten(model.predict(packed(model, x), verbose=0))
    return np.asarray(given, dtype="float64")


def _compare(before: Array, after: Array, tolerance: float) -> None:
    difference = float(np.abs(before - after).max())
    if not difference <= tolerance * max(1.0, float(np.abs(before).max())):
        raise ValueError(
            "The converted model does not answer as the model that was given: a layer computes something "
            f"else than its configuration says. Received: a difference of {difference:.3g}"
        )
