"""Data sets as the commands load them: what is wrong is said in the words of the command line."""

from pathlib import Path

from keraslip import datasets
from keraslip.datasets.loader import VALIDATION, is_known


def load_data(name: str, data_dir: Path | None = None) -> datasets.Dataset:
    """A data set by name; what is wrong is an error in the words of the command line."""
    if not is_known(name):
        raise ValueError(
            f"The data set is one of {', '.join(VALIDATION)}, or an .npz file of your own. Received: {name!r}"
        )
    try:
        return datasets.load(name, data_dir)
    except Exception as error:  # damaged files raise whatever their reader raises
        if isinstance(error, ImportError) or name not in VALIDATION:
            raise
        text, _, _ = str(error).partition(" Received: name=")
        known = isinstance(error, FileNotFoundError | RuntimeError)
        words = text if known else f"The data set {name!r} cannot be read: {error!r}"
        raise OSError(words.replace("`data_dir`", "--data-dir")) from error


def data_of_run(
    folder: Path, dataset: str | None, name: str, data_dir: Path | None
) -> datasets.Dataset:
    """The data that a run was trained on, or those that the user names; `name` is what the folder says.

    The folder names a file as the user did who began the run, from the working directory of then.
    """
    if dataset is None and name not in VALIDATION and not Path(name).is_file():
        raise FileNotFoundError(
            f"The data of {folder} are in {name}, which is not there. Name the file with --data, or run the "
            "command where that path leads to it."
        )
    return load_data(dataset or name, data_dir)


def check_parts(data: datasets.Dataset, *parts: str) -> None:
    """Raises a ValueError unless a data set has samples in each of these parts, `"train"` for one."""
    for part in parts:
        if not len(getattr(data, f"x_{part}")):
            raise ValueError(f"{data.name} holds no x_{part}, which this command needs.")


def far_epsilon(data: datasets.Dataset, epsilon: float) -> str | None:
    """What to say of an L2 radius that is large for the data, or `None`."""
    distance = datasets.class_distance(data.x_train, data.y_train)
    if not epsilon > distance / 2:
        return None
    return (
        f"epsilon {epsilon:.4g} is more than half of {distance:.3g}, the typical distance from a sample to "
        "the nearest one of another class: about half of the samples cannot be certified with the right "
        "label, whatever the network. Choose a smaller --epsilon, or bring the features to another scale."
    )
