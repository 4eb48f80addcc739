"""Made the files in this folder, on TensorFlow, at revision dd0180c; later ones are held against them.

To be run at an old revision: python make_saved.py FOLDER
"""

import shutil
import sys
from pathlib import Path

import keras
import numpy as np

import keraslip
from keraslip.schedules import LinearRamp

EPSILON = 0.05


def main(out: Path) -> None:
    """Trains a tiny model, and writes it, its certificates, its ONNX files and what they say."""
    keras.utils.set_random_seed(5)
    inputs = keras.Input((4, 5, 1))
    x = keraslip.layers.MaskedLipschitzConv2D(2, 3, strides=2, padding="same")(inputs)
    x = keras.layers.Flatten()(keraslip.layers.ClippedReLU(0.5)(x))
    x = keraslip.layers.MaxMin()(keraslip.layers.MaskedLipschitzDense(4)(x))
    model = keraslip.LocalLipschitzModel(inputs, keraslip.layers.MaskedLipschitzDense(3)(x))
    loss = keraslip.losses.BCPLoss(LinearRamp(1.0, 0.2))
    optimizer = keras.optimizers.SGD(0.1)
    model.compile(optimizer, epsilon=EPSILON, loss=loss, train_epsilon=LinearRamp(0.0, 0.06))
    x = np.random.default_rng(5).uniform(size=(48, 4, 5, 1)).astype("float32")
    y = (12 * x.mean(axis=(1, 2, 3)) % 3).astype("int32")
    model.fit(x, y, epochs=2, batch_size=16, verbose=0)
    model.save(out / "model.keras")
    x, y = x[:8], y[:8]
    found = model.certify(x, y, EPSILON, verbose=False, radius=True)
    found.save(out / "certificates.npz", model, x)
    names = "label", "certified", "margin", "radius"
    said = {name: getattr(found, name) for name in names}
    frozen = model.certify(x, epsilon=EPSILON, effort="frozen", verbose=False)
    said |= {"frozen_margin": frozen.margin, "frozen_lipschitz": frozen.lipschitz}
    logits = model.predict(x, verbose=0)
    np.savez_compressed(out / "answers.npz", x=x, y=y, logits=logits, status=found.status, **said)
    model.export(out / "onnx", format="onnx")
    for name in ("certify", "serve"):
        shutil.move(out / "onnx" / f"{name}.onnx", out)
    shutil.rmtree(out / "onnx")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
