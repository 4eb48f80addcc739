"""Writes a SavedModel with the endpoints `serve` and `certify`; runs on Keras' TensorFlow backend."""

import json
from pathlib import Path
from typing import Any

import tensorflow as tf

from keraslip.backend.structure import logits_of
from keraslip.certify.execution.executed import EXCESS
from keraslip.certify.execution.kept_network import network_of
from keraslip.export.frozen_graph import FrozenGraph
from keraslip.export.self_test import SelfTest
from keraslip.typing import Tensor


class ServedModel(tf.Module):
    """The network and its frozen certificate as functions of tensors."""

    def __init__(self, model: Any, metadata: dict[str, Any]) -> None:
        super().__init__()
        network, _ = network_of(model)
        self.model = model
        self.test = SelfTest.of(model, network)
        self.graph = FrozenGraph(network, self.test.share)
        # Variables: a runtime computes in advance what is made of constants, perhaps elsewhere.
        self._asked, self._known, self._scale = (
            tf.Variable(self.test.arrays()[name], trainable=False)
            for name in ("x", "logits", "scale")
        )
        self.constants: list[tf.Variable] = []
        self.shape = (None, *network.in_shape)
        shape = tf.TensorSpec(self.shape, tf.float32, name="x")
        anything = tf.TensorSpec(None, tf.float32, name="epsilon")
        self.serve = tf.function(self._serve, input_signature=[shape], autograph=False)
        self.certify = tf.function(
            self._certify, input_signature=[shape, anything], autograph=False
        )
        limit = tf.TensorSpec((), tf.float32, name="limit")
        self.tested = tf.function(self._tested, input_signature=[limit], autograph=False)
        self.self_test = tf.function(
            lambda: self.tested(tf.constant(EXCESS, tf.float32)), input_signature=[]
        )
        text = json.dumps(metadata)
        self.describe = tf.function(lambda: tf.constant(text), input_signature=[])

    def _serve(self, x: Tensor) -> Tensor:
        # A loaded signature does not hold its input against its own shape: a reshape in the network
        # would take a batch of larger images for one of more images.
        x = tf.ensure_shape(x, self.shape)
        # TensorFlow's convolutions do not shape the output of an empty batch: it gets a sample to drop.
        count = tf.shape(x)[0]
        empty = tf.cast(count == 0, tf.int32)
        filled = tf.pad(x, [[0, empty]] + [[0, 0]] * (len(x.shape) - 1))
        return logits_of(self.model, filled)[:count]

    def _certify(self, x: Tensor, epsilon: Tensor) -> dict[str, Tensor]:
        return self.graph(tf.ensure_shape(x, self.shape), epsilon, self._serve(x))

    def _tested(self, limit: Tensor) -> dict[str, Tensor]:
        """Whether `serve` computes in float32 here: it may err `limit` times as much as float32 does."""
        found = tf.cast(self.serve(self._asked.read_value()), tf.float64)
        off = (found - self._known.read_value()) / self._scale.read_value()[:, None]
        error = tf.sqrt(tf.reduce_mean(tf.square(off)))
        ratio = tf.cast(error / self.test.emulation.error, tf.float32)
        # What is not a number has not passed.
        return {"passed": ratio <= limit, "ratio": ratio}


def write(served: ServedModel, path: Path, metadata: dict[str, Any]) -> None:
    """Writes the SavedModel, which knows its metadata."""
    # Traced before it is saved, so that every constant is known by then.
    certify = served.certify.get_concrete_function()
    served.constants = served.graph.constants.stored

    @tf.function(input_signature=served.serve.input_signature, autograph=False)
    def serving_default(x: Tensor) -> dict[str, Tensor]:
        return {"logits": served.serve(x)}

    # The default is `serve`: a certificate is an answer to a radius, which a client has to name. Servers
    # answer no signature without an input, hence the limit of the self-test.
    signatures = {
        "serving_default": serving_default,
        "certify": certify,
        "self_test": served.tested,
    }
    tf.saved_model.save(served, str(path), signatures=signatures)


def answers(path: Path, x: Any, epsilon: float) -> dict[str, Any]:
    """What a written SavedModel says, as a user would ask it."""
    loaded = tf.saved_model.load(str(path))
    found = loaded.certify(tf.constant(x), tf.constant(epsilon, tf.float32))
    said = {"logits": loaded.serve(tf.constant(x)), **found, "ratio": loaded.self_test()["ratio"]}
    return {name: value.numpy() for name, value in said.items()}
