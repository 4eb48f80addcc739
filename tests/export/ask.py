"""Asks SavedModels in a process that has neither Keras nor keraslip; run as a script."""

import json
import sys

# Neither can be imported here, so that nothing of them can be needed.
sys.modules["keras"] = sys.modules["keraslip"] = None  # type: ignore[assignment]

import numpy as np
import tensorflow as tf


def numbers(answer):
    """An answer as plain lists."""
    return {name: np.asarray(value).tolist() for name, value in answer.items()}


def ask(path, x, each, epsilon):
    """Every question, and its answer."""
    served = tf.saved_model.load(path)
    one = served.certify(x, epsilon)
    default = served.signatures["serving_default"]
    certify = served.signatures["certify"]
    return {
        "one": numbers(one),
        "each": numbers(served.certify(x, each)),
        "single": numbers(served.certify(x[:1], epsilon)),
        "logits": served.serve(x).numpy().tolist(),
        "default": numbers(default(x=tf.constant(x))),
        "signature": numbers(certify(x=tf.constant(x), epsilon=tf.constant(epsilon))),
        "signature each": numbers(certify(x=tf.constant(x), epsilon=tf.constant(each))),
        "self_test": numbers(served.self_test()),
        "self_test 0": numbers(served.signatures["self_test"](limit=tf.constant(0.0))),
        "metadata": json.loads(served.describe().numpy()),
        "types": {name: value.dtype.name for name, value in one.items()},
    }


def main(questions, *paths):
    """Asks the questions in the file, prints all answers as JSON."""
    asked = np.load(questions)
    epsilon = float(asked["epsilon"])
    print(json.dumps([ask(path, asked["x"], asked["each"], epsilon) for path in paths]))


if __name__ == "__main__":
    main(*sys.argv[1:])
