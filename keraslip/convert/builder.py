"""Builds the new network of a conversion, layer by layer."""

import re
from typing import Any

import keras
import numpy as np
from keras import ops, tree

from keraslip.convert.normalization import as_layer, into_kernel
from keraslip.convert.plan import Plan, Step
from keraslip.layers import ClippedReLU, MaskedLipschitzConv2D, MaskedLipschitzDense
from keraslip.models import LocalLipschitzModel
from keraslip.rules.head import is_alone, probabilities
from keraslip.rules.registry import rule_for
from keraslip.rules.rule import UnsupportedLayerError
from keraslip.typing import Array

#: What a layer becomes, by its exact type.
MASKED: dict[Any, Any] = {
    keras.layers.Dense: MaskedLipschitzDense,
    keras.layers.Conv2D: MaskedLipschitzConv2D,
}


class Builder:
    """Builds the new network call by call."""

    def __init__(self, graph: Any, clips: bool) -> None:
        self.graph, self.clips = graph, clips
        self.plan = Plan.of(graph)
        #: What the end was: "softmax", "log_softmax", "sigmoid" or `None`.
        self.head = probabilities(self.plan.last.call.operation)
        self._made_layers: dict[int, Any] = {}
        self._names: set[str] = set()
        self._logits = self._one_unit() if self.head == "sigmoid" else None
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
        # There is no ball around whole numbers; they are floats of the same values.
        dtype = dtype if dtype in ("float32", "float64") else "float32"
        inputs = start = keras.Input(shape, dtype=dtype, name=self._name("input"))
        if scales is not None:
            layer = keras.layers.Rescaling(
                scales.tolist(), name=self._name("feature_scales"), dtype="float32"
            )
            start = layer(inputs)
        made = {id(self.plan.start): start}
        for step in self.plan.steps:
            args, kwargs = tree.map_structure(
                lambda leaf: made[id(leaf)] if isinstance(leaf, Step) else _constant(leaf),
                (step.call.args, step.call.kwargs),
            )
            made[id(step)] = self._made(step, args, kwargs)
        outputs = made[id(self.plan.last)]
        if self.head == "sigmoid" and self._logits is None:
            outputs = self._pair(outputs)
        return LocalLipschitzModel(inputs, outputs, name=name)

    def _pair(self, z: Any) -> Any:
        """Two logits in place of the one number that a sigmoid reads."""
        if tuple(z.shape[1:]) != (1,):
            raise UnsupportedLayerError(
                "One sigmoid at the end becomes two logits; several sigmoids are several answers, and a "
                f"certificate is about one label. Received: output shape {tuple(z.shape)}"
            )
        layer = MaskedLipschitzDense(
            2, use_bias=False, name=self._name("two_classes"), dtype="float32"
        )
        pair = layer(z)
        layer.set_weights([np.array([[-0.5, 0.5]], "float32")])
        return pair

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
        activation = getattr(operation, "activation", None)
        fused = self.clips and activation is keras.activations.relu
        if fused:
            config["activation"] = "linear"
        elif callable(activation) and not ends and not isinstance(activation, keras.layers.Layer):
            config["activation"] = activation  # Keras cannot write down some, such as ops.abs
        layer: Any = MASKED.get(type(operation), type(operation)).from_config(config)
        if weights:
            layer.build(operation.get_build_config()["input_shape"])
            layer.set_weights(weights)
        if isinstance(layer, keras.layers.Normalization):
            layer.finalize_state()
        return [layer, ClippedReLU(name=self._name(f"{name}_clip"))] if fused else [layer]

    def _one_unit(self) -> Any:
        """The dense layer with one unit that the sigmoid reads, where nothing else does; else `None`."""
        step = self.plan.last
        step = step.reads[0] if is_alone(step.call.operation) else step
        operation = None if step.call is None else step.call.operation
        if not isinstance(operation, keras.layers.Dense) or operation.units != 1:
            return None
        calls = sum(other.call.operation is operation for other in self.plan.steps)
        linear = step is self.plan.last or operation.activation is keras.activations.linear
        return operation if linear and step.uses == calls == 1 else None

    def _name(self, path: str) -> str:
        """A name that no other layer has."""
        base = name = plain_name(path)
        number = 1
        while name in self._names:
            number += 1
            name = f"{base}_{number}"
        self._names.add(name)
        return name


def _constant(leaf: Any) -> Any:
    """What a call reads beside branches: numbers of its own, where they were weights of the given model."""
    if isinstance(leaf, keras.Variable) or ops.is_tensor(leaf):
        return np.array(ops.convert_to_numpy(leaf))
    return leaf


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


def two_classes(layer: Any) -> list[Array]:
    """Kernel and bias of two logits `(-z / 2, z / 2)` in place of one, z, whose sigmoid was the answer.

    Args:
        layer: A built dense layer with one unit.
    """
    kernel = np.asarray(ops.convert_to_numpy(layer.kernel), dtype="float64") / 2.0
    bias = np.zeros(1) if not layer.use_bias else ops.convert_to_numpy(layer.bias) / 2.0
    pairs = np.concatenate([-kernel, kernel], axis=1), np.concatenate([-bias, bias])
    return [part.astype("float32") for part in pairs]
