"""The JSON in docs/export.md, mapped onto the signatures by the rules of TensorFlow Serving."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from tests.export.nets import linear, on_tensorflow

pytestmark = on_tensorflow
PAGE = (Path(__file__).parents[2] / "docs" / "export.md").read_text()
BODIES = [json.loads(body) for body in re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)]


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """The exported model of the page."""
    import tensorflow as tf

    path = tmp_path_factory.mktemp("rest") / "served"
    linear().export(path, verbose=False)
    return tf.saved_model.load(str(path))


def columns(request, names):
    """Inputs by name: a single input may come without its name, rows are put together by name."""
    if "inputs" in request:
        given = request["inputs"]
        return given if isinstance(given, dict) else {names[0]: given}
    rows = [row if isinstance(row, dict) else {names[0]: row} for row in request["instances"]]
    assert all(row.keys() == rows[0].keys() for row in rows)
    return {name: [row[name] for row in rows] for name in rows[0]}


def body(answer, request):
    """An answer as the server writes it: a single output has no name, rows are taken apart."""
    lists = {name: value.numpy().tolist() for name, value in answer.items()}
    if len(lists) == 1:
        (alone,) = lists.values()
        return {"outputs": alone} if "inputs" in request else {"predictions": alone}
    if "inputs" in request:
        return {"outputs": lists}
    rows = zip(*lists.values(), strict=True)
    return {"predictions": [dict(zip(lists, row, strict=True)) for row in rows]}


def ask(served, request):
    import tensorflow as tf

    signature = served.signatures[request.get("signature_name", "serving_default")]
    specs = signature.structured_input_signature[1]
    given = columns(request, list(specs))
    assert given.keys() == specs.keys()
    tensors = {name: tf.constant(value, specs[name].dtype) for name, value in given.items()}
    return body(signature(**tensors), request)


def assert_close(found, expected):
    """The same JSON, numbers to the digits that the page shows."""
    if isinstance(expected, dict):
        assert found.keys() == expected.keys()
        for name in expected:
            assert_close(found[name], expected[name])
    elif isinstance(expected, list):
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            assert_close(one, other)
    else:
        assert type(found) is type(expected)
        assert found == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("number", range(0, len(BODIES), 2))
def test_a_request_of_the_page_gets_the_answer_of_the_page(served, number):
    assert_close(ask(served, BODIES[number]), BODIES[number + 1])


def test_the_page_shows_both_signatures_in_both_formats():
    shown = {(b.get("signature_name"), "inputs" in b) for b in BODIES[::2]}
    both = {(name, column) for name in (None, "certify") for column in (True, False)}
    assert shown == both | {("self_test", True)}  # two numbers for no image have no rows
    assert np.ndim(BODIES[4]["inputs"]["epsilon"]) == 0


def test_signatures_are_those_of_the_page(served):
    for name, signature in served.signatures.items():
        (row,) = [line for line in PAGE.splitlines() if line.startswith(f"| `{name}` |")]
        inputs, outputs = row.split("|")[2:4]
        assert set(re.findall("`(.*?)`", inputs)) == set(signature.structured_input_signature[1])
        assert set(re.findall("`(.*?)`", outputs)) == set(signature.structured_outputs)
        for output, spec in signature.structured_outputs.items():
            assert f"`{output}` {spec.dtype.name}" in outputs


def test_tied_logits_are_not_certified(served):
    x = np.array([[[0.5], [0.5]], [[0.2], [0.3]]], "float32")[None]
    answer = served.certify(x, 0.0)
    assert answer["label"].numpy() == 0 and not answer["certified"].numpy()
    x[0, 0, 1, 0] = 0.4
    assert served.certify(x, 0.0)["certified"].numpy()
