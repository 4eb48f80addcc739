"""Asks a SavedModel in a process that has neither Keras nor keraslip; run as a script."""

import json
import sys

# Neither can be imported here, so that nothing of them can be needed.
sys.modules["keras"] = sys.modules["keraslip"] = None  # type: ignore[assignment]

import numpy as np
import tensorflow as tf


def numbers(answer):
    """An answer as plain lists."""
    return {name: np.asarray(value).tolist() for name, value in answer.items()}


def main(path, questions):
    """Asks every question in the file, writes the answers as JSON to standard output."""
    served = tf.saved_model.load(path)
    asked = np.load(questions)
    x, each = asked["x"], asked["each"]
    bad = x.copy()
    bad[0].flat[0] = np.nan
    one = served.certify(x, 0.1)
    answers = {
        "one": numbers(one),
        "each": numbers(served.certify(x, each)),
        "single": numbers(served.certify(x[:1], 0.1)),
        "empty": numbers(served.certify(x[:0], 0.1)),
        "nan": numbers(served.certify(bad, 0.1)),
        "negative": numbers(served.certify(x, -0.1)),
        "infinite": numbers(served.certify(x, np.inf)),
        "logits": served.serve(x).numpy().tolist(),
        "default": numbers(served.signatures["serving_default"](x=tf.constant(x))),
        "signature": numbers(
            served.signatures["certify"](x=tf.constant(x), epsilon=tf.constant(0.1))
        ),
        "metadata": json.loads(served.describe().numpy()),
        "types": {name: value.dtype.name for name, value in one.items()},
    }
    try:
        served.certify(x[..., :1], 0.1)
    except (ValueError, TypeError) as error:
        answers["wrong shape"] = type(error).__name__
    print(json.dumps(answers))


if __name__ == "__main__":
    main(*sys.argv[1:])
