"""Data sets as the commands load them: what is wrong is said in the words of the command line."""

from pathlib import Path

from keraslip import datasets
from keraslip.datasets.loader import VALIDATION


def load_data(name: str, data_dir: Path | None = None) -> datasets.Dataset:
    """A data set by name.

    Args:
        name: Its name.
        data_dir: Folder of tensorflow_datasets.

    Raises:
        ValueError: if there is none of that name.
        OSError: if it is not there, or cannot be read.
        ImportError: if a package is missing.
    """
    if name not in VALIDATION:
        raise ValueError(f"The data set is one of {', '.join(VALIDATION)}. Received: {name!r}")
    try:
        return datasets.load(name, data_dir)
    except ImportError:
        raise
    except Exception as error:  # damaged files raise whatever their reader raises
        text, _, _ = str(error).partition(" Received: name=")
        known = isinstance(error, FileNotFoundError | RuntimeError)
        words = text if known else f"The data set {name!r} cannot be read: {error!r}"
        raise OSError(words.replace("`data_dir`", "--data-dir")) from error
