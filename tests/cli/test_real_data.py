"""`keraslip train` on images that tensorflow_datasets has prepared, a few of them."""

from dataclasses import replace

import numpy as np
import pytest
from rich.console import Console

from keraslip import datasets
from keraslip.cli import training
from keraslip.cli.run_folder import BEST, LAST, RunFolder

BATCH, BATCHES = 32, 2


def few(name, folder):
    """Two batches of training images and one for validation."""
    try:
        data = datasets.load(name, folder)
    except (FileNotFoundError, ImportError) as error:
        pytest.skip(str(error))
    rows = {"train": BATCH * BATCHES, "val": BATCH, "test": 0}
    cut = {
        f"{a}_{part}": getattr(data, f"{a}_{part}")[:n] for a in "xy" for part, n in rows.items()
    }
    return replace(data, **cut)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "augment"), [("mnist", None), ("cifar10", "crop_flip")])
def test_one_epoch_on_prepared_images(tfds_data_dir, tmp_path, monkeypatch, name, augment):
    data = few(name, tfds_data_dir)
    served = []

    class Kept(datasets.ShuffledBatches):
        def __getitem__(self, index):
            batch = super().__getitem__(index)
            served.append(batch[0])
            return batch

    monkeypatch.setattr(training, "ShuffledBatches", Kept)
    given = {"application": "digits_2c2f", "dataset": name, "augment": augment}
    settings = training.Settings.resolve({**given, "epochs": 1, "batch_size": BATCH})
    folder = RunFolder(tmp_path)
    model, _ = training.train(settings, data, folder, Console(quiet=True))
    assert model.input_shape[1:] == data.input_shape
    (row,) = folder.history()
    assert np.isfinite(row["loss"]) and 0 <= row["val_certified_accuracy"] <= 1
    assert (folder.path / BEST).exists() and (folder.path / LAST).exists()
    originals = {image.tobytes() for image in data.x_train}
    changed = [image.tobytes() not in originals for batch in served for image in batch]
    assert all(not c for c in changed) if augment is None else np.mean(changed) > 0.9
