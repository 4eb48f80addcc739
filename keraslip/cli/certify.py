"""`keraslip certify`: certificates of the images of a data set."""

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from keraslip.cli.options import (
    BatchSize,
    Code,
    DataDir,
    DatasetName,
    Epsilon,
    Limit,
    Model,
    OverwriteFile,
    Split,
)

#: What the file of an interrupted run must have in common with the run that goes on.
_SAME = ("dataset", "split", "epsilon")
_NO_PROOF = (
    "--guarantee estimate proves nothing: it has no certified radii and no evidence. Leave out --radius and "
    "--evidence, or ask for --guarantee proved."
)


def certify(
    model: Model,
    dataset: DatasetName = None,
    epsilon: Epsilon = None,
    split: Split = "test",
    limit: Limit = None,
    guarantee: Annotated[str, typer.Option(help="proved, probabilistic or estimate.")] = "proved",
    arithmetic: Annotated[
        str, typer.Option(help="float32: the network as executed; float64: in exact arithmetic.")
    ] = "float32",
    effort: Annotated[
        str, typer.Option(help="full, or frozen (global norms only, as an exported graph).")
    ] = "full",
    conv: Annotated[
        str, typer.Option(help="Local norms of convolutions: auto, local (always) or global.")
    ] = "auto",
    radius: Annotated[bool, typer.Option(help="Also find every image's certified radius.")] = False,
    delta: Annotated[
        float,
        typer.Option(
            help="Allowed probability of a wrong certificate, with --guarantee probabilistic."
        ),
    ] = 1e-9,
    data_dir: DataDir = None,
    code: Code = None,
    batch_size: BatchSize = 256,
    workers: Annotated[
        int | None,
        typer.Option(min=1, help="Groups of images worked on at once; default: one per core."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="An .npz file; default: beside the model.")
    ] = None,
    evidence: Annotated[
        bool,
        typer.Option("--evidence", help="Include what the independent checker needs."),
    ] = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue the certificates in --out.")
    ] = False,
    overwrite: OverwriteFile = False,
) -> None:
    """Certify the images of a data set: how many labels no perturbation up to epsilon changes.

    Saves the certificates (.npz) and a summary (.json). Ctrl-C keeps what is done for --resume.
    """
    from keraslip.certify.run.settings import Settings
    from keraslip.cli.saved import model_file
    from keraslip.cli.stopping import stopped_with
    from keraslip.cli.subject import Subject
    from keraslip.input_range import untold

    console = Console()
    settings = Settings(guarantee, arithmetic, effort, conv, radius, delta, workers, batch_size)
    if guarantee == "estimate" and (evidence or radius):
        raise ValueError(_NO_PROOF)
    out = out or model_file(model).with_suffix(".certificates.npz")
    _check_out(out, resume, overwrite)
    subject = Subject.load(model, dataset, split, epsilon, limit, data_dir)
    before = _before(out, subject) if resume else None
    subject.show(console)
    ball = subject.x, subject.y, subject.epsilon
    with stopped_with(console, "Stopped before there was anything to save."), untold():
        found = subject.model.certify(*ball, verbose=True, resume=before, **vars(settings))
    _save(found, subject, out, console)
    if evidence:
        # A second time: a network too large for the checker costs no certificates.
        found.save(out, subject.model, subject.x)
        console.print(f"Check them with: python -m keraslip.certify.check {out}", soft_wrap=True)


def _save(found: Any, subject: Any, out: Path, console: Console) -> None:
    from keraslip.certify.result.table import build_table
    from keraslip.cli.run_folder import as_json
    from keraslip.cli.stopping import Stopped
    from keraslip.cli.summary import summarize, verdict
    from keraslip.files import write_text

    y = subject.y[: len(found)]
    summary = {**subject.describe(), **summarize(found, y)}
    summary["complete"] = found.complete and len(found) == len(subject.x)
    found.save(out)
    write_text(_summary_file(out), as_json(summary))
    console.print(build_table(found))
    for line in (*verdict(found, y, subject), f"{out} and {_summary_file(out)} are written."):
        console.print(line, soft_wrap=True, highlight=False)
    if not summary["complete"]:
        console.print("\nStopped. Go on with the same command and --resume.", soft_wrap=True)
        raise Stopped(130)


def _check_out(out: Path, resume: bool, overwrite: bool) -> None:
    from keraslip.cli.output import check_file

    check_file(out, (".npz",))
    if resume and not out.exists():
        raise FileNotFoundError(f"There are no certificates to resume in {out}.")
    if out.exists() and not (resume or overwrite):
        raise FileExistsError(
            f"{out} exists. Go on with it with --resume, replace it with --overwrite, or choose "
            "another file with --out."
        )


def _before(out: Path, subject: Any) -> Any:
    """Certificates to go on with, held against what is asked for now."""
    from keraslip.certify import Certificates
    from keraslip.cli.run_folder import read_json

    stored, asked = read_json(_summary_file(out)) or {}, subject.describe()
    changed = [key for key in _SAME if key in stored and stored[key] != asked[key]]
    if changed:
        was = ", ".join(f"{key} {stored[key]}" for key in changed)
        raise ValueError(f"{out} was made with {was}: a resumed run cannot change that.")
    return Certificates.load(out)


def _summary_file(out: Path) -> Path:
    return out.with_suffix(".json")
