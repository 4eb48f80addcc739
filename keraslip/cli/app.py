"""Commands and their options; the work is done by the modules beside this one."""

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from keraslip.cli.options import (
    LARGEST_SEED,
    AttackSamples,
    BatchSize,
    CertifySamples,
    DataDir,
    DatasetName,
    Epsilon,
    Limit,
    Model,
    Out,
    Overwrite,
    Seed,
    SeedOfRun,
    Split,
)
from keraslip.version import __version__

app = typer.Typer(
    help="Image classifiers with proved L2 robustness, on Keras.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"keraslip {__version__}")
        raise typer.Exit()


@app.callback()
def backend(
    backend: Annotated[
        str | None,
        typer.Option(help="Keras backend: tensorflow, jax or torch.", show_default=False),
    ] = None,
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """Image classifiers with proved L2 robustness, on Keras."""
    # keraslip.console_backend has read it from sys.argv already, before Keras was imported.


@app.command()
def demo(
    out: Out = Path("runs/digits"),
    seed: Seed = 0,
    overwrite: Overwrite = False,
    epochs: Annotated[int | None, typer.Option(min=1, help="Default: the recipe's.")] = None,
) -> None:
    """Train on scikit-learn's digits and show clean, attacked and certified accuracy."""
    from keraslip.cli.demo import run_demo

    run_demo(out, seed, overwrite, epochs, Console())


@app.command()
def train(
    out: Out,
    application: Annotated[
        str | None, typer.Option(help="Network, such as mnist_4c3f or cifar_6c2f.")
    ] = None,
    dataset: Annotated[
        str | None, typer.Option(help="digits, mnist, fashion_mnist, cifar10 or tiny_imagenet.")
    ] = None,
    epsilon: Annotated[
        float | None, typer.Option(help="L2 radius to certify, in [0, 1] pixel units.")
    ] = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="Length of the run.")] = None,
    activation: Annotated[
        str | None, typer.Option(help="clipped_relu, maxmin, clipped_maxmin or relu.")
    ] = None,
    threshold: Annotated[float | None, typer.Option(help="Initial threshold.")] = None,
    batch_size: Annotated[int | None, typer.Option(min=1)] = None,
    learning_rate: Annotated[float | None, typer.Option(help="Adam's learning rate.")] = None,
    loss: Annotated[str | None, typer.Option(help="bcp, gloro or trades.")] = None,
    bound: Annotated[str | None, typer.Option(help="local, global or paper.")] = None,
    local: Annotated[
        str | None,
        typer.Option(help="Norms that leave constant units out: auto, dense, all, or NAME,NAME."),
    ] = None,
    sparsity: Annotated[float | None, typer.Option(help="Weight of the sparsity loss.")] = None,
    power_iterations: Annotated[int | None, typer.Option(min=1)] = None,
    seed: SeedOfRun = None,
    data_dir: DataDir = None,
    attack_samples: AttackSamples = 200,
    certify_samples: CertifySamples = 1000,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue the run in --out where it stopped.")
    ] = False,
    overwrite: Overwrite = False,
    monitor: Annotated[
        bool, typer.Option("--monitor", help="Write norms and radii of each epoch to monitor.csv.")
    ] = False,
    tensorboard: Annotated[
        bool, typer.Option("--tensorboard", help="The same, and event files for TensorBoard.")
    ] = False,
) -> None:
    """Train a network on a data set, with checkpoints, and report on the test data.

    Options that are left out come from the network's recipe, or with --resume from the run itself.
    """
    from keraslip.cli.train import run_train

    given: dict[str, Any] = {
        "application": application,
        "dataset": dataset,
        "epsilon": epsilon,
        "epochs": epochs,
        "activation": activation,
        "threshold": threshold,
        "batch_size": batch_size,
        "learning_rate": learning_rate,
        "loss": loss,
        "bound": bound,
        "local": local,
        "sparsity": sparsity,
        "power_iterations": power_iterations,
        "seed": seed,
    }
    samples = attack_samples, certify_samples
    watch = monitor, tensorboard
    run_train(given, out, data_dir, *samples, resume, overwrite, Console(), *watch)


@app.command()
def tune(
    out: Out,
    application: Annotated[
        str | None, typer.Option(help="Network, such as mnist_4c3f or cifar_6c2f.")
    ] = None,
    dataset: Annotated[
        str | None, typer.Option(help="digits, mnist, fashion_mnist, cifar10 or tiny_imagenet.")
    ] = None,
    epsilon: Annotated[
        float | None, typer.Option(help="L2 radius to certify, in [0, 1] pixel units.")
    ] = None,
    tuner: Annotated[str | None, typer.Option(help="random, hyperband or bayesian.")] = None,
    trials: Annotated[
        int | None, typer.Option(min=1, help="Trials at most; default 20, hyperband: its own.")
    ] = None,
    epochs: Annotated[
        int | None, typer.Option(min=1, help="Length of a trial; hyperband: of the longest.")
    ] = None,
    space: Annotated[
        list[str] | None,
        typer.Option(help="NAME=LOW:HIGH, NAME=A,B,C, NAME=VALUE or NAME=none; may be repeated."),
    ] = None,
    activation: Annotated[
        str | None, typer.Option(help="clipped_relu, maxmin, clipped_maxmin or relu.")
    ] = None,
    batch_size: Annotated[int | None, typer.Option(min=1)] = None,
    seed: SeedOfRun = None,
    data_dir: DataDir = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue the search in --out where it stopped.")
    ] = False,
    overwrite: Overwrite = False,
) -> None:
    """Search hyperparameters by certified accuracy on validation data, with keras-tuner.

    Writes a table of all trials (CSV, JSON), a picture of clean against certified accuracy, and the
    best model. Ctrl-C keeps the finished trials for --resume. The test data are not touched.
    """
    import keraslip.tuning  # noqa: F401 - first: it says which extra is missing
    from keraslip.cli.tune import run_tune

    given: dict[str, Any] = {
        "application": application,
        "dataset": dataset,
        "epsilon": epsilon,
        "tuner": tuner,
        "epochs": epochs,
        "space": space,
        "activation": activation,
        "batch_size": batch_size,
        "seed": seed,
    }
    run_tune(given, trials, out, data_dir, resume, overwrite, Console())


@app.command()
def certify(
    model: Model,
    dataset: DatasetName = None,
    epsilon: Epsilon = None,
    split: Split = "test",
    limit: Limit = None,
    guarantee: Annotated[str, typer.Option(help="proved, probabilistic or estimate.")] = "proved",
    arithmetic: Annotated[
        str, typer.Option(help="float32: the network as executed; float64: the ideal one.")
    ] = "float32",
    effort: Annotated[str, typer.Option(help="full, or frozen: global norms only.")] = "full",
    conv: Annotated[
        str, typer.Option(help="Local norms of convolutions: auto, local (always) or global.")
    ] = "auto",
    radius: Annotated[bool, typer.Option(help="Also find every image's certified radius.")] = False,
    delta: Annotated[
        float, typer.Option(help="Probability of a wrong certificate, if probabilistic.")
    ] = 1e-9,
    data_dir: DataDir = None,
    batch_size: BatchSize = 256,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Images at once; default: one a core.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="An .npz file; default: beside the model.")
    ] = None,
    evidence: Annotated[
        bool, typer.Option("--evidence", help="Include what the independent checker needs.")
    ] = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue the certificates in --out.")
    ] = False,
    overwrite: Overwrite = False,
) -> None:
    """Certify the images of a data set: how many labels no perturbation up to epsilon changes.

    Saves the certificates (.npz) and a summary (.json). Ctrl-C keeps what is done for --resume.
    """
    from keraslip.cli.certify import run_certify

    load = _load(model, dataset, split, epsilon, limit, data_dir)
    options = {
        "guarantee": guarantee,
        "arithmetic": arithmetic,
        "effort": effort,
        "conv": conv,
        "radius": radius,
        "delta": delta,
        "workers": workers,
        "batch_size": batch_size,
    }
    run_certify(load, options, out, evidence, resume, overwrite, Console())


@app.command()
def attack(
    model: Model,
    dataset: DatasetName = None,
    epsilon: Epsilon = None,
    split: Split = "test",
    limit: Limit = None,
    steps: Annotated[int, typer.Option(min=1, help="Gradient steps of a run.")] = 100,
    restarts: Annotated[int, typer.Option(min=1, help="Runs for each image.")] = 1,
    seed: Seed = 0,
    data_dir: DataDir = None,
    batch_size: BatchSize = 256,
    out: Annotated[Path | None, typer.Option(help="A JSON file for the result.")] = None,
    picture: Annotated[
        Path | None, typer.Option(help="Picture of images that fool the model: .png, .pdf, .svg.")
    ] = None,
) -> None:
    """Attack the images of a data set by projected gradient descent in the L2 ball."""
    from keraslip.cli.attack import run_attack

    load = _load(model, dataset, split, epsilon, limit, data_dir)
    options = {"steps": steps, "restarts": restarts, "seed": seed, "batch_size": batch_size}
    run_attack(load, options, out, picture, Console())


def _load(
    model: Path,
    dataset: str | None,
    split: str,
    epsilon: float | None,
    limit: int | None,
    data_dir: Path | None,
) -> dict[str, Any]:
    return {
        "model": model,
        "dataset": dataset,
        "split": split,
        "epsilon": epsilon,
        "limit": limit,
        "data_dir": data_dir,
    }


@app.command()
def report(
    context: typer.Context,
    runs: Annotated[list[Path], typer.Argument(help="Folders of runs.", show_default=False)],
    out: Annotated[
        Path | None,
        typer.Option(help="The page; default: RUN/report.html, or comparison.html for several."),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the page given with --out.")
    ] = False,
    data_dir: DataDir = None,
    seed: Annotated[
        int | None, typer.Option(min=0, max=LARGEST_SEED, help="Default: the run's.")
    ] = None,
    attack_samples: AttackSamples = 200,
    certify_samples: CertifySamples = 1000,
) -> None:
    """Measure the best model of a run: tables, curve, images with their certified radii, JSON, a page.

    Several runs are compared in one page, by what their reports hold: nothing is measured then.
    """
    from keraslip.cli.compare import refuse_measuring, run_compare
    from keraslip.cli.report import run_report

    if len(runs) > 1:
        refuse_measuring(context)
        run_compare(runs, out or Path("comparison.html"), overwrite, Console())
        return
    run_report(runs[0], data_dir, seed, attack_samples, certify_samples, Console(), out, overwrite)


@app.command()
def export(
    model: Model,
    out: Out,
    format: Annotated[str, typer.Option(help="tf_saved_model or onnx.")] = "tf_saved_model",
    epsilon: Annotated[
        float | None, typer.Option(help="L2 radius of the final check; default: the compiled one.")
    ] = None,
    overwrite: Overwrite = False,
) -> None:
    """Export a model that answers with label and certificate, without Keras and keraslip."""
    from keraslip.cli.export import run_export

    run_export(model, out, format, epsilon, overwrite, Console())


@app.command()
def check(model: Model) -> None:
    """Show for each layer of a saved model whether a bound can pass it."""
    from keraslip.cli.check import run_check

    if not run_check(model, Console()):
        raise typer.Exit(1)
