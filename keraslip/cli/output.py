"""Where a command writes, looked at before it works: hours of it must not end in an error."""

import tempfile
from collections.abc import Sequence
from pathlib import Path


def check_folder(path: Path, option: str = "--out") -> None:
    """Raises where no folder can be made, or none of its files written; leaves nothing behind.

    The folder need not exist, nor those above it; `option` is what the user gave it with.
    """
    place = next(there for there in (path, *path.absolute().parents) if there.exists())
    if not place.is_dir():
        raise FileExistsError(f"{option} needs a folder, and {place} is a file. Received: {path}")
    try:
        with tempfile.TemporaryFile(dir=place):
            pass
    except OSError as error:
        raise PermissionError(
            f"Nothing can be written in {place} ({error.strerror}); choose another place with {option}. "
            f"Received: {path}"
        ) from error


def check_file(path: Path, endings: Sequence[str] = (), option: str = "--out") -> None:
    """Raises where a file cannot be written, or its name has another ending; leaves nothing behind."""
    if path.is_dir():
        raise ValueError(f"{option} must be a file. Received: the folder {path}")
    if endings and path.suffix.lower() not in endings:
        raise ValueError(f"{option} must end in {' or '.join(endings)}. Received: {path}")
    check_folder(path.parent, option)


def check_new(path: Path, overwrite: bool, other: str, option: str = "--out") -> None:
    """Raises where something is there already that must not be replaced; `other` can be chosen instead."""
    if path.exists() and not overwrite:
        raise FileExistsError(
            f"{path} exists. Replace it with --overwrite, or choose {other} with {option}."
        )
