"""`keraslip export`: a saved model as a graph that answers with its certificate."""

from typing import Annotated

import typer
from rich.console import Console

from keraslip.cli.options import Code, Model, Out, Overwrite


def export(
    model: Model,
    out: Out,
    format: Annotated[str, typer.Option(help="tf_saved_model or onnx.")] = "tf_saved_model",
    epsilon: Annotated[
        float | None, typer.Option(help="L2 radius of the final check; default: the model's own.")
    ] = None,
    code: Code = None,
    overwrite: Overwrite = False,
) -> None:
    """Export a model that answers with label and certificate, without Keras and keraslip."""
    from keraslip.checks import check_epsilon
    from keraslip.cli.output import check_folder, check_new
    from keraslip.cli.saved import load_bounded
    from keraslip.export import FORMATS, export_model
    from keraslip.export.working_folder import check_free

    if format not in FORMATS:
        raise ValueError(f"--format must be one of {', '.join(FORMATS)}. Received: {format!r}")
    if epsilon is not None:
        epsilon = check_epsilon(epsilon, "--epsilon")
    check_folder(out)
    check_new(out, overwrite, "another folder")
    check_free(out, overwrite)
    loaded = load_bounded(model)
    if epsilon is None:
        epsilon = loaded.epsilon_value
    export_model(loaded, out, format, epsilon, verbose=True, overwrite=overwrite)
    Console().print(f"Functions: serve(x), certify(x, epsilon). What it is: {out}/keraslip.json")
