"""Any Keras classifier as a `LocalLipschitzModel`, with the same weights and the same answers."""

import math
import re
from typing import Any

import keras
import numpy as np
from keras import ops, tree

from keraslip.backend.structure import packed
from keraslip.convert import calibrate as calibration
from keraslip.convert.head import two_classes
from keraslip.convert.normalization import as_layer, into_kernel
from keraslip.convert.plan import Plan, Step
from keraslip.convert.rescale import scale_down
from keraslip.layers import ClippedReLU, MaskedLipschitzConv2D, MaskedLipschitzDense
from keraslip.models import LocalLipschitzModel
from keraslip.rules.bounded import check_bounded
from keraslip.rules.derived import settle
from keraslip.rules.head import head as head_of
from keraslip.rules.head import is_alone, probabilities
from keraslip.rules.registry import rule_for
from keraslip.rules.rule import UnsupportedLayerError
from keraslip.rules.walk import is_graph
from keraslip.typing import Array

#: What a layer becomes, by its exact type.
MASKED: dict[Any, Any] = {
    keras.layers.Dense: MaskedLipschitzDense,
    keras.layers.Conv2D: MaskedLipschitzConv2D,
}
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
    logits. Noise, dropout and augmentation of the inputs stay, so that `fit` goes on with them. The model
    that was given is not changed.

    Args:
        model: A built classifier: Sequential, functional or nested, with one input and one output; a
            subclass of `keras.Model` where its `call` can be traced on symbolic tensors.
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
    if not 0.0 < quantile <= 1.0:
        raise ValueError(f"quantile must be in (0, 1]. Received: quantile={quantile!r}")
    if rescale is not None and not 0.0 < rescale < math.inf:
        raise ValueError(f"rescale must be a finite number > 0. Received: rescale={rescale!r}")
    graph = as_graph(model, input_shape)
    scales = None if feature_scales is None else _checked_scales(feature_scales, graph)
    settle(graph)
    converted, head = built(graph)
    _check_answers(graph, converted, head)
    if calibrate is not None or scales is not None:
        # Both change answers, so the network without them was held against the one that was given.
        builder = _Builder(graph, clips=calibrate is not None)
        converted = builder.build(plain_name(model.name), scales)
    if rescale is not None:
        scale_down(converted, rescale)
    if calibrate is not None:
        samples = calibration.some(calibrate)
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
    builder = _Builder(graph, clips=False)
    converted = builder.build(plain_name(graph.name))
    check_bounded(converted)
    return converted, builder.head


def as_graph(model: Any, input_shape: tuple[int, ...] | None) -> Any:
    """The model as a functional one with one input and one output.

    Args:
        model: A built Keras model.
        input_shape: Shape of one input, for a subclass that does not say it.

    Raises:
        UnsupportedLayerError: for other ends, or a subclass that cannot be traced.
        ValueError: if the shape is needed.
    """
    if is_graph(model) and getattr(model, "inputs", None):
        ends = len(model.inputs), len(model.outputs)
        if ends != (1, 1):
            raise UnsupportedLayerError(
                "A certificate is about one label: the model needs one input and one output. Take the part "
                f"that classifies, keras.Model(input, logits). Received: {ends[0]} inputs, {ends[1]} outputs"
            )
        return model
    shape = input_shape or _known_shape(model)
    if shape is None:
        raise ValueError(
            "The shape of one input is not known: call the model once, or give input_shape=. "
            f"Received: {model.name!r} of type {type(model).__name__}"
        )
    inputs = keras.Input(shape)
    try:
        return keras.Model(inputs, model.call(inputs), name=model.name)
    except Exception as error:
        raise UnsupportedLayerError(
            f"The call() of {type(model).__name__} cannot be traced on symbolic tensors: write the network "
            f"with keras.Input and layers. It said: {error}"
        ) from error


def _checked_scales(feature_scales: Any, graph: Any) -> Array:
    """Scales in float32, as the network multiplies by them, in the shape of one input."""
    scales = np.asarray(ops.convert_to_numpy(feature_scales), dtype="float32")
    shape = tuple(graph.inputs[0].shape[1:])
    try:
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


class _Builder:
    """Builds the new network call by call."""

    def __init__(self, graph: Any, clips: bool) -> None:
        self.graph, self.clips = graph, clips
        self.plan = Plan.of(graph)
        #: What the end was: "softmax", "log_softmax", "sigmoid" or `None`.
        self.head = probabilities(self.plan.last.call.operation)
        self._made_layers: dict[int, Any] = {}
        self._names: set[str] = set()
        self._logits = self._last_with_weights() if self.head == "sigmoid" else None
        for step in self.plan.steps:
            self._check(step)

    def _check(self, step: Step) -> None:
        """Raises for a layer that the new model could not have, before anything is built."""
        operation = step.call.operation
        normalization = isinstance(operation, keras.layers.BatchNormalization)
        end = step is self.plan.last and self.head is not None
        if not normalization and not end and id(operation) not in self.plan.gone:
            rule_for(operation, step.call.path)

    def build(self, name: str, scales: Array | None = None) -> LocalLipschitzModel:
        """The new network; with scales it takes its inputs in their units."""
        shape = self.graph.inputs[0].shape[1:]
        dtype = self.graph.inputs[0].dtype if scales is None else "float32"
        inputs = start = keras.Input(shape, dtype=dtype, name=self._name("input"))
        if scales is not None:
            layer = keras.layers.Rescaling(scales.tolist(), name=self._name("feature_scales"))
            start = layer(inputs)
        made = {id(self.plan.start): start}
        for step in self.plan.steps:
            args, kwargs = tree.map_structure(
                lambda leaf: made[id(leaf)] if isinstance(leaf, Step) else leaf,
                (step.call.args, step.call.kwargs),
            )
            made[id(step)] = self._made(step, args, kwargs)
        return LocalLipschitzModel(inputs, made[id(self.plan.last)], name=name)

    def _made(self, step: Step, args: Any, kwargs: Any) -> Any:
        operation = step.call.operation
        if id(operation) in self.plan.gone:
            return args[0]
        ends = step is self.plan.last and self.head is not None
        if ends and is_alone(operation):
            return args[0]
        if not isinstance(operation, keras.layers.Layer):
            return operation(*args, **kwargs)
        if self.clips and _is_relu(operation):
            # One for each call: an activation has no weights to share, a threshold is one.
            return ClippedReLU(name=self._name(step.call.path))(args[0])
        if id(operation) not in self._made_layers:
            self._made_layers[id(operation)] = self._layer(step, ends)
        kwargs = {k: v for k, v in kwargs.items() if k != "training" and v is not None}
        for layer in self._made_layers[id(operation)]:
            args = (layer(*args, **kwargs),)
        return args[0]

    def _layer(self, step: Step, ends: bool) -> list[Any]:
        """The new layers in place of one, built and with their weights."""
        operation = step.call.operation
        name = self._name(step.call.path)
        if isinstance(operation, keras.layers.BatchNormalization):
            return [as_layer(operation, len(step.call.output.shape), name)]
        config = {**operation.get_config(), "name": name}
        weights = [np.asarray(ops.convert_to_numpy(w)) for w in operation.weights]
        normalization = self.plan.folded.get(id(operation))
        if normalization is not None:
            config["use_bias"], weights = True, into_kernel(operation, normalization)
        if ends:
            config["activation"] = "linear"
        if operation is self._logits:
            config["use_bias"], config["units"], weights = True, 2, two_classes(operation)
        fused = self.clips and getattr(operation, "activation", None) is keras.activations.relu
        if fused:
            config["activation"] = "linear"
        layer: Any = MASKED.get(type(operation), type(operation)).from_config(config)
        if weights:
            layer.build(operation.get_build_config()["input_shape"])
            layer.set_weights(weights)
        if isinstance(layer, keras.layers.Normalization):
            layer.finalize_state()
        return [layer, ClippedReLU(name=self._name(f"{name}_clip"))] if fused else [layer]

    def _last_with_weights(self) -> Any:
        step: Step | None = self.plan.last
        while step is not None and step.call is not None and is_alone(step.call.operation):
            step = step.reads[0] if len(step.reads) == 1 else None
        if step is None or step.call is None:
            raise UnsupportedLayerError(
                "A sigmoid at the end needs a Dense layer with one unit before it"
            )
        two_classes(step.call.operation)
        return step.call.operation

    def _name(self, path: str) -> str:
        """A name that no other layer has."""
        base = name = plain_name(path)
        number = 1
        while name in self._names:
            number += 1
            name = f"{base}_{number}"
        self._names.add(name)
        return name


def plain_name(path: str) -> str:
    """A path as a name: of nested models without slashes, and without points, which PyTorch refuses."""
    return re.sub(r"[/:.]", "_", path)


def _is_relu(operation: Any) -> bool:
    if isinstance(operation, keras.layers.ReLU):
        return (
            operation.max_value is None and not operation.negative_slope and not operation.threshold
        )
    kind = isinstance(operation, keras.layers.Activation)
    return bool(kind and operation.activation is keras.activations.relu)


def _check_answers(graph: Any, converted: Any, head: str | None) -> None:
    """Raises unless the new model answers as the old one, on random inputs."""
    generator = np.random.default_rng(0)
    shape = [4, *(1 if size is None else size for size in graph.inputs[0].shape[1:])]
    x = generator.uniform(0.0, 1.0, shape).astype("float32")
    before = np.asarray(graph.predict(packed(graph, x), verbose=0), dtype="float64")
    after = np.asarray(converted.predict(x, verbose=0), dtype="float64")
    if head in ("softmax", "log_softmax"):
        after = after - after.max(axis=1, keepdims=True)
        after = after - np.log(np.exp(after).sum(axis=1, keepdims=True))
        after = np.exp(after) if head == "softmax" else after
    elif head == "sigmoid":
        after = 1.0 / (1.0 + np.exp(after[:, :1] - after[:, 1:]))
    difference = float(np.abs(before - after).max())
    if not difference <= _TOLERANCE * max(1.0, float(np.abs(before).max())):
        raise ValueError(
            "The converted model does not answer as the model that was given: a layer computes something "
            f"else than its configuration says. Received: a difference of {difference:.3g}"
        )
