"""`keraslip export`: a saved model as a graph that answers with its certificate."""

from pathlib import Path

from rich.console import Console

from keraslip.checks import check_epsilon
from keraslip.cli.output import check_folder
from keraslip.cli.saved import load_bounded
from keraslip.export import FORMATS, export_model
from keraslip.export.working_folder import check_free


def run_export(
    path: Path, out: Path, format: str, epsilon: float | None, overwrite: bool, console: Console
) -> None:
    """Exports a saved model.

    Args:
        path: A `.keras` file or a run folder.
        out: Folder of the artefact.
        format: `"tf_saved_model"` or `"onnx"`.
        epsilon: Radius at which the artefact is checked; the compiled one if `None`.
        overwrite: Whether to replace what is there.
        console: Where to print.

    Raises:
        ValueError: for a bad option, or a model that cannot be exported.
        OSError: if there is no such model, or the artefact cannot be put there.
    """
    if format not in FORMATS:
        raise ValueError(f"--format must be one of {', '.join(FORMATS)}. Received: {format!r}")
    if epsilon is not None:
        epsilon = check_epsilon(epsilon, "--epsilon")
    _check_out(out, overwrite)
    model = load_bounded(path)
    if epsilon is None:
        epsilon = model.epsilon_value
    export_model(model, out, format, epsilon, verbose=True, overwrite=overwrite)
    console.print(f"Functions: serve(x), certify(x, epsilon). What it is: {out}/keraslip.json")


def _check_out(out: Path, overwrite: bool) -> None:
    check_folder(out)
    if out.exists() and not overwrite:
        raise FileExistsError(
            f"{out} exists. Replace it with --overwrite, or choose another folder with --out."
        )
    check_free(out, overwrite)
