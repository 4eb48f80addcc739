"""`keraslip convert`: a plain Keras classifier as a model with certificates."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from keraslip.cli.options import Code, DataDir, Model


def convert(
    model: Model,
    out: Annotated[Path, typer.Argument(help="The new .keras file.", show_default=False)],
    calibrate: Annotated[
        str | None,
        typer.Option(
            help="Clip ReLUs where the training images of this data set seldom reach; default: no clips.",
            show_default=False,
        ),
    ] = None,
    quantile: Annotated[
        float, typer.Option(help="With --calibrate: share of each channel's values below its clip.")
    ] = 0.999,
    rescale: Annotated[
        float | None,
        typer.Option(
            help="Scale layers down to at most this norm, such as 1, to train on; changes answers.",
            show_default=False,
        ),
    ] = None,
    feature_scales: Annotated[
        str | None,
        typer.Option(
            help="A,B,...: a scale for each feature; inputs and epsilon are then in units of it.",
            show_default=False,
        ),
    ] = None,
    data_dir: DataDir = None,
    code: Code = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the new file.")] = False,
) -> None:
    """Convert a plain Keras classifier: the same weights and answers, with certificates."""
    from keraslip.cli.data import load_data
    from keraslip.cli.output import check_file, check_new
    from keraslip.cli.saved import load
    from keraslip.convert import from_keras
    from keraslip.files import whole

    check_file(out, (".keras",), "The new file")
    check_new(out, overwrite, "another file", "the second argument")
    scales = None if feature_scales is None else _numbers(feature_scales)
    loaded = load(model)
    samples = None if calibrate is None else load_data(calibrate, data_dir).x_train
    converted = from_keras(
        loaded, samples, quantile=quantile, rescale=rescale, feature_scales=scales
    )
    with whole(out) as part:
        converted.save(part)
    console = Console()
    console.print(f"{out}: {len(converted.layers)} layers, {converted.count_params():,} weights")
    console.print(f"Next: keraslip certify {out} --dataset NAME --epsilon E", soft_wrap=True)


def _numbers(written: str) -> list[float]:
    try:
        return [float(number) for number in written.split(",")]
    except ValueError:
        raise ValueError(
            f"--feature-scales takes numbers with commas between. Received: {written!r}"
        ) from None
