"""Where an artefact is written before it is checked, so that nothing unchecked has its name."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

#: How the names of working folders begin. Only an export that was killed leaves one behind.
PREFIX = ".keraslip-export-"
#: The file that every artefact holds.
CARD = "keraslip.json"


@contextmanager
def working_folder(target: Path) -> Iterator[Path]:
    """A folder beside the target, on the same disk, that is gone at the end."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=PREFIX) as name:
        yield Path(name)


def leftovers(target: Path) -> list[Path]:
    """Working folders beside the target: of exports that were killed, or that still run."""
    return sorted(target.parent.glob(f"{PREFIX}*"))


def check_free(target: Path, overwrite: bool) -> None:
    """Raises if an artefact cannot be put there: it may replace an exported model, with `overwrite`."""
    if not target.exists():
        return
    if not overwrite:
        raise FileExistsError(f"{target} exists; pass overwrite=True, or choose another path.")
    # A mistyped path must not cost a folder of something else.
    if not target.is_dir() or not ((target / CARD).exists() or not any(target.iterdir())):
        raise FileExistsError(
            f"{target} holds no exported model (it has no {CARD}), so it is not replaced; remove it, or "
            "choose another path."
        )


def put(artefact: Path, target: Path, folder: Path) -> None:
    """Gives a checked artefact its name; what had the name goes with the working folder."""
    # Renamed, not removed: a folder that is half removed would still look like a model.
    if target.exists():
        target.rename(folder / "replaced")
    artefact.rename(target)
