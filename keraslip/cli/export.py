"""`keraslip export`: a saved model as a graph that answers with its certificate."""

from pathlib import Path

from rich.console import Console

from keraslip.cli.saved import load_bounded
from keraslip.export import export_model


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
    """
    model = load_bounded(path)
    if epsilon is None:
        epsilon = model.epsilon_value
    export_model(model, out, format, epsilon, verbose=True, overwrite=overwrite)
    console.print(f"Functions: serve(x), certify(x, epsilon). What it is: {out}/keraslip.json")
