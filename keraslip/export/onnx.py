"""Writes `serve.onnx` and `certify.onnx`; runs on Keras' TensorFlow backend."""

import json
from pathlib import Path
from typing import Any

import tensorflow as tf

from keraslip.backend.structure import logits_of
from keraslip.export.saved_model import ServedModel
from keraslip.export.self_test import FILE, ratio

#: Version of ONNX' operators: the first with all that the graph uses, known to every current runtime.
_OPSET = 17


def write(served: ServedModel, path: Path, metadata: dict[str, Any]) -> None:
    """Writes a folder with `serve.onnx` and `certify.onnx`, whose radii have the shape `(batch,)`.

    A NotImplementedError names a step that tf2onnx cannot convert.
    """
    import onnx
    import tf2onnx

    model, x = served.model, tf.TensorSpec(served.shape, tf.float32, name="x")
    epsilon = tf.TensorSpec((None,), tf.float32, name="epsilon")

    @tf.function(input_signature=[x], autograph=False)
    def serve(x: Any) -> dict[str, Any]:
        return {"logits": logits_of(model, x)}

    @tf.function(input_signature=[x, epsilon], autograph=False)
    def certify(x: Any, epsilon: Any) -> dict[str, Any]:
        found = served.graph(x, epsilon, logits_of(model, x))
        return dict(found)

    path.mkdir()
    for name, function in (("serve", serve), ("certify", certify)):
        converted, _ = tf2onnx.convert.from_function(
            function, input_signature=function.input_signature, opset=_OPSET
        )
        # What it does not know it leaves under TensorFlow's name.
        known = onnx.defs.has
        unknown = {n.op_type for n in converted.graph.node if not n.domain and not known(n.op_type)}
        if unknown:
            raise NotImplementedError(
                "This model has a step that tf2onnx cannot convert, such as GELU without approximate=True or "
                "a convolution with groups; export a SavedModel. "
                f"Received: {', '.join(sorted(unknown))} in {name}"
            )
        # The outputs of a dictionary come in the order of its keys.
        _name_outputs(converted, sorted(function.get_concrete_function().structured_outputs))
        converted.metadata_props.add(key="keraslip", value=json.dumps(metadata))
        (path / f"{name}.onnx").write_bytes(converted.SerializeToString())


def _name_outputs(converted: Any, names: list[str]) -> None:
    """Gives the outputs the names of the function's dictionary."""
    graph = converted.graph
    for output, name in zip(graph.output, names, strict=True):
        before, output.name = output.name, name
        for node in graph.node:
            for places in (node.input, node.output):
                for i, place in enumerate(places):
                    if place == before:
                        places[i] = name


def answers(path: Path, x: Any, epsilon: float) -> dict[str, Any]:
    """What the written files say in onnxruntime: a file that was written proves nothing."""
    import numpy as np
    import onnxruntime

    def run(name: str, **inputs: Any) -> dict[str, Any]:
        session = onnxruntime.InferenceSession(str(path / f"{name}.onnx"))
        names = [output.name for output in session.get_outputs()]
        return dict(zip(names, session.run(names, inputs), strict=True))

    radii = np.full(len(x), epsilon, dtype="float32")
    with np.load(path / FILE) as test:
        tested = run("serve", x=test["x"])["logits"]
    found = run("serve", x=x) | run("certify", x=x, epsilon=radii)
    return found | {"ratio": np.asarray(ratio(path, tested))}
