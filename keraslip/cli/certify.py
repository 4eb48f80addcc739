"""`keraslip certify`: certificates of the images of a data set."""

from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from keraslip.certify import Certificates
from keraslip.certify.result.table import build_table
from keraslip.certify.run.settings import Settings
from keraslip.cli.output import check_file
from keraslip.cli.run_folder import as_json, read_json, write_text
from keraslip.cli.saved import model_file
from keraslip.cli.subject import Subject
from keraslip.cli.summary import promise, settled, summarize
from keraslip.cli.tables import percent

#: What the file of an interrupted run must have in common with the run that goes on.
_SAME = ("dataset", "split", "epsilon")


def run_certify(
    load: dict[str, Any],
    options: dict[str, Any],
    out: Path | None,
    evidence: bool,
    resume: bool,
    overwrite: bool,
    console: Console,
) -> None:
    """Certifies, prints the table and saves certificates and their summary.

    Args:
        load: Arguments of `Subject.load`.
        options: Options of `LocalLipschitzModel.certify`.
        out: The `.npz` file; beside the model if `None`.
        evidence: Whether the file shall hold what the independent checker needs.
        resume: Whether to go on with the certificates in it.
        overwrite: Whether to replace them.
        console: Where to print.

    Raises:
        SystemExit: with status 130, after Ctrl-C.
        ValueError: for a bad option, and for certificates that cannot be resumed.
        FileExistsError: if there are certificates already.
        FileNotFoundError: if there are none to resume, or no model.
    """
    Settings(**options)
    if options["guarantee"] == "estimate" and (evidence or options["radius"]):
        raise ValueError(
            "--guarantee estimate proves nothing: it has no certified radii and no evidence. Leave out "
            "--radius and --evidence, or ask for --guarantee proved."
        )
    out = out or model_file(load["model"]).with_suffix(".certificates.npz")
    _check_out(out, resume, overwrite)
    subject = Subject.load(**load)
    before = _before(out, subject) if resume else None
    console.print(str(subject), soft_wrap=True)
    try:
        found = subject.model.certify(
            subject.x,
            subject.y,
            subject.epsilon,
            verbose=True,
            resume=before,
            **options,
        )
    except KeyboardInterrupt:
        console.print("\nStopped before there was anything to save.")
        raise SystemExit(130) from None
    _save(found, subject, out, console)
    if evidence:
        # A second time: a network too large for the checker costs no certificates.
        found.save(out, subject.model, subject.x)
        console.print(f"Check them with: python -m keraslip.certify.check {out}", soft_wrap=True)


def _save(found: Certificates, subject: Subject, out: Path, console: Console) -> None:
    y = subject.y[: len(found)]
    summary = {**subject.describe(), **summarize(found, y)}
    summary["complete"] = found.complete and len(found) == len(subject.x)
    out.parent.mkdir(parents=True, exist_ok=True)
    found.save(out)
    write_text(_summary_file(out), as_json(summary))
    console.print(build_table(found))
    for line in (*_verdict(found, y, subject), f"{out} and {_summary_file(out).name} are written."):
        console.print(line, soft_wrap=True, highlight=False)
    if not summary["complete"]:
        console.print("\nStopped. Go on with the same command and --resume.", soft_wrap=True)
        raise SystemExit(130)


def _verdict(found: Certificates, y: np.ndarray, subject: Subject) -> list[str]:
    """What was found, in one line or two; of a run that was stopped what is known of how many images."""
    summary, done, images = summarize(found, y), settled(found), len(subject.x)
    epsilon = f"at epsilon {subject.epsilon:.4g}"
    if done == images:
        accuracy = f"{percent(summary['certified_accuracy'])} % {epsilon}"
        lines = [
            f"certified accuracy {accuracy} on {images} {subject.split} images: {promise(found)}"
        ]
    else:
        right = int((found.certified & (found.label == y)).sum())
        lines = [
            f"partial: {done} of {images} images are settled, {right} of them certified with the right "
            f"label {epsilon}; {images - done} are pending: {promise(found)}"
        ]
    if found.radius is not None and (radius := summary["radius"]) is not None:
        known = int((~np.isnan(found.radius)).sum())
        of = "the images" if known == images else f"the {known} images with a radius"
        lines.append(
            f"certified radius: half of {of} reach {radius['0.5']:.4g}, a tenth reach {radius['0.9']:.4g}"
        )
    return lines


def _check_out(out: Path, resume: bool, overwrite: bool) -> None:
    check_file(out, (".npz",))
    if resume and not out.exists():
        raise FileNotFoundError(f"There are no certificates to resume in {out}.")
    if out.exists() and not (resume or overwrite):
        raise FileExistsError(
            f"{out} exists. Go on with it with --resume, replace it with --overwrite, or choose "
            "another file with --out."
        )


def _before(out: Path, subject: Subject) -> Certificates:
    """Certificates to go on with, held against what is asked for now."""
    stored, asked = read_json(_summary_file(out)) or {}, subject.describe()
    changed = [key for key in _SAME if key in stored and stored[key] != asked[key]]
    if changed:
        was = ", ".join(f"{key} {stored[key]}" for key in changed)
        raise ValueError(f"{out} was made with {was}: a resumed run cannot change that.")
    return Certificates.load(out)


def _summary_file(out: Path) -> Path:
    return out.with_suffix(".json")
