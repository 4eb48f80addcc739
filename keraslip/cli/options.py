"""Options that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

from keraslip.cli.setting_options import any_of, seed_option
from keraslip.cli.settings import DATASETS


def _run_code(file: Path | None) -> Path | None:
    if file is not None:
        from keraslip.cli.own_model import run
        from keraslip.cli.usual import own_file

        run(Path(own_file(str(file)) or file))
    return file


Model = Annotated[
    Path,
    typer.Argument(
        help="A .keras file, the folder of a run, or FILE.py:FUNCTION.", show_default=False
    ),
]
Code = Annotated[
    Path | None,
    typer.Option(
        callback=_run_code,
        help="A Python file that defines layers of your own; keraslip runs it.",
        show_default=False,
    ),
]
Out = Annotated[Path, typer.Option(help="Folder for the results; never overwritten silently.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace what is in the folder.")]
OverwriteFile = Annotated[bool, typer.Option("--overwrite", help="Replace the file.")]
DataDir = Annotated[
    Path | None, typer.Option(help="Folder of tensorflow_datasets (or TFDS_DATA_DIR).")
]
DatasetName = Annotated[
    str | None,
    typer.Option(
        "--dataset",
        "--data",
        help=f"{any_of(DATASETS)}; default: what the run was trained on.",
        show_default=False,
    ),
]
Epsilon = Annotated[
    float | None,
    typer.Option(help="L2 radius in input units (pixels in [0, 1]); default: the model's own."),
]
Split = Annotated[str, typer.Option(help="test, validation or train.")]
Limit = Annotated[int | None, typer.Option(min=1, help="Only the first N images; default: all.")]
BatchSize = Annotated[int, typer.Option(min=1, help="Images per pass.")]
AttackSamples = Annotated[
    int, typer.Option(min=0, metavar="N", help="Test images to attack in the report; 0 for none.")
]
CertifySamples = Annotated[
    int, typer.Option(min=0, metavar="N", help="Test images to certify in the report; 0 for all.")
]
Seed = Annotated[
    int,
    seed_option("Seed of weights, order of the data and attacks."),
]
SeedOfRun = Annotated[int | None, seed_option("Default: the run's.")]
