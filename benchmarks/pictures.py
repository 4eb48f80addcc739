"""The pictures of the documentation, drawn from figures that lie beside them.

`digits`, `time` and `long` copy the few numbers that a picture needs from runs; without a command the
pictures are drawn again from what was copied.

    keraslip demo && python benchmarks/pictures.py digits runs/digits
    python benchmarks/pictures.py time OUT    # the folder of benchmarks/local_training.py
    python benchmarks/pictures.py long RUN    # the folder of a finished `keraslip train`
    python benchmarks/pictures.py
"""

import argparse
import csv
import json
import re
from pathlib import Path
from typing import Any

import numpy as np

from keraslip import plots
from keraslip.plots.figure import figure
from keraslip.plots.style import look

PICTURES = Path(__file__).parents[1] / "docs" / "pictures"
CARDS = Path(__file__).parents[1] / "keraslip" / "weights"
SHOWN = 12  # test images in the picture of the digits
ATTACKED = slice(None, None, 5)  # radii of the curve that are attacked, too
DATA = {"mnist": "MNIST, ε = 1.58", "cifar10": "CIFAR-10, ε = 36/255"}
NETS = {"clipped_maxmin": "clipped MaxMin", "clipped_relu": "clipped ReLU"}
LONG = {"cifar_6c2f": "6C2F", "cifar_liresnet": "LiResNet", "mnist_4c3f": "4C3F"}


def write(name: str, content: Any) -> None:
    text = json.dumps(content, ensure_ascii=False, indent=1)
    text = re.sub(
        r"\[[^][{}]*\]", lambda found: " ".join(found[0].split()), text
    )  # a list in a line
    (PICTURES / name).write_text(text + "\n", encoding="utf-8")


def read(name: str) -> Any:
    return json.loads((PICTURES / name).read_text(encoding="utf-8"))


def copy_digits(run: Path) -> None:
    """From the folder of a demo: its curve, its first images, and attacks at some radii."""
    import keras

    from keraslip import Certificates, attacks, datasets

    report = json.loads((run / "report.json").read_text(encoding="utf-8"))
    found, digits = Certificates.load(run / "certificates.npz"), datasets.load("digits")
    model = keras.models.load_model(run / "model.keras")
    x, y = digits.x_test, digits.y_test
    attacked = [
        attacks.accuracy_under_attack(model, x, y, epsilon=e, steps=50, verbose=0)
        for e in report["curve"]["epsilon"][ATTACKED]
    ]
    kept = ("model", "seed", "epsilon", "samples", "guarantee", "backend", "epochs", "versions")
    accuracies = ("clean_accuracy", "pgd_accuracy", "certified_accuracy", "seconds_trained")
    first = slice(SHOWN)
    predicted = model.predict(x[first], verbose=0).argmax(axis=1)
    images = {
        "prediction": predicted.tolist(),
        "margin": found.margin[first].round(4).tolist(),
        "certified": found.certified[first].tolist(),
        "radius": found.radius[first].round(4).tolist(),
    }
    curve = {
        name: [round(v, 4) for v in report["curve"][name]]
        for name in ("epsilon", "certified_accuracy")
    }
    curve["pgd_accuracy"] = [round(float(value), 4) for value in attacked]
    write(
        "digits.json",
        {n: report[n] for n in kept + accuracies} | {"curve": curve, "images": images},
    )


def copy_time(runs: Path) -> None:
    """From the ablation's runs with global norms: accuracies after every epoch, what is proved at the end."""
    copied = []
    for path in sorted(runs.glob("*-global-*/result.json")):
        result = json.loads(path.read_text(encoding="utf-8"))
        run, names = result["run"], ("val_accuracy", "val_certified_accuracy")
        if run["seed"] or run["loss"] != "gloro" or run["sparsity"] or run["threshold"]:
            continue
        copied.append(
            {name: run[name] for name in ("data", "activation", "loss", "seed")}
            | {"cpu_seconds": round(result["seconds"]), "epochs": result["epochs"]}
            | {"clean": result["clean"], "certified, proved": result["certified"]}
            | {n: [round(epoch[n], 4) for epoch in result["history"]] for n in names}
        )
    shared = {
        "network": "4C3F of half width",
        "bound": "global",
        "curves": "estimates (power iteration) on 2,000 validation images",
        "proved on": "1,000 other validation images, float32",
    }
    write("time.json", {**shared, "runs": copied, "long": read("time.json").get("long", [])})


def logged(run: Path) -> list[dict[str, str]]:
    """What a run wrote after every epoch."""
    with (run / "log.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def copy_long(run: Path) -> None:
    """From a run of the command line: its estimates after every epoch, and what its report proves."""
    epochs = logged(run)
    given = json.loads((run / "config.json").read_text(encoding="utf-8"))
    # What ships was proved on all test images, a report on as many as the run was asked for.
    cards = [json.loads(file.read_text(encoding="utf-8")) for file in CARDS.glob("*.json")]
    report = next(
        (card for card in cards if card["settings"] == given),
        json.loads((run / "report.json").read_text(encoding="utf-8")),
    )
    kept = ("dataset", "application", "activation", "width", "loss", "seed", "epochs")
    # A run that began with the weights of another one: its time counts, too. The path is the run's.
    before = logged(Path(given["start"])) if Path(given["start"]).is_dir() else []
    spent = sum(float(epoch["cpu_seconds"]) for epoch in before)
    seconds = spent + np.cumsum([float(epoch["cpu_seconds"]) for epoch in epochs])
    copied = {name: given[name] for name in kept} | {
        "after": len(before),
        "cpu_seconds": [round(at) for at in seconds.tolist()],
        "val_certified_accuracy": [
            round(float(epoch["val_certified_accuracy"]), 4) for epoch in epochs
        ],
        "certified, proved": round(report["certified_accuracy"], 6),
        "proved on": f"{report['samples']:,} test images",
        "guarantee": report["guarantee"],
    }
    held = read("time.json")
    others = [one for one in held.get("long", []) if any(one[k] != given[k] for k in kept)]
    write("time.json", {**held, "long": [*others, copied]})


def draw_digits() -> None:
    from keraslip import datasets

    held = read("digits.json")
    curve, images, digits = held["curve"], held["images"], datasets.load("digits")
    attacked = [float("nan")] * len(curve["epsilon"])
    attacked[ATTACKED] = curve["pgd_accuracy"]
    small_print = (
        f"{held['samples']} test images, seed {held['seed']}. Certified: {held['guarantee']}."
    )
    plots.accuracy_curve(
        PICTURES / "digits_curve.svg",
        curve["epsilon"],
        {"under attack (PGD)": attacked, "certified": curve["certified_accuracy"]},
        epsilon=held["epsilon"],
        title="Handwritten digits: what is proved, and what an attack leaves",
        footnote=f"{small_print} The robust accuracy lies between the lines.",
    )
    first = slice(len(images["radius"]))
    plots.image_grid(
        PICTURES / "digits_images.png",
        digits.x_test[first],
        digits.y_test[first],
        images["prediction"],
        images["margin"],
        images["certified"],
        radii=images["radius"],
        epsilon=held["epsilon"],
        columns=6,
        title="The first test images with their certified radii",
        footnote=small_print,
    )


def draw_time() -> None:
    held = read("time.json")
    threads = "Global norms in training, seed 0, one CPU thread (300 epochs: two)."
    words = f"{threads} Solid, {held['network']}: {held['curves']}."
    more = f"Stars: proved on {held['proved on']}. Dashed: 5,000 validation images, proved on test images."
    title = "Certified accuracy against training time"
    with figure(PICTURES / "time.svg", 8, 3.8, title=title, footnote=f"{words}\n{more}") as picture:
        for axes, (data, label) in zip(
            picture.subplots(1, 2, sharey=True), DATA.items(), strict=True
        ):
            axes.set(xlabel="CPU minutes", title=label, ylim=(0, 90), xscale="log")
            axes.xaxis.set_major_formatter("{x:g}")
            axes.yaxis.set_major_formatter("{x:.0f} %")
            for run in (run for run in held["runs"] if run["data"] == data):
                steps = np.arange(1, run["epochs"] + 1) / run["epochs"]
                number = list(NETS).index(run["activation"])
                draw_run(axes, run, run["cpu_seconds"] * steps, NETS[run["activation"]], number)
            for place, run in enumerate(run for run in held["long"] if run["dataset"] == data):
                loss = "" if run["loss"] == "gloro" else f", {run['loss'].upper()}"
                epochs = f"{run['epochs']} more" if run.get("after") else f"{run['epochs']} epochs"
                name = f"{LONG[run['application']]}, {epochs}{loss}"
                draw_run(axes, run, np.array(run["cpu_seconds"]), name, len(NETS) + place, "--")
            axes.legend(loc="upper left", frameon=False)


def draw_run(
    axes: Any, run: dict[str, Any], seconds: np.ndarray, name: str, number: int, dashes: str = "-"
) -> None:
    """A line of estimates, and a star for what is proved at its end."""
    style = {**look(number), "linestyle": dashes}
    percents = [100 * value for value in run["val_certified_accuracy"]]
    proved = 100 * run["certified, proved"]
    style["markevery"] = max(1, len(percents) // 20)
    axes.plot(seconds / 60, percents, label=f"{name}: {proved:.1f} % proved", **style)
    star = {"color": style["color"], "markersize": 13, "markeredgecolor": "white"}
    axes.plot(seconds[-1] / 60, proved, "*", **star)


COPIES = {"digits": copy_digits, "time": copy_time, "long": copy_long}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("copy", nargs="?", choices=list(COPIES), help="figures to copy first")
    parser.add_argument("runs", nargs="?", type=Path, help="where from")
    args = parser.parse_args()
    if (args.copy is None) != (args.runs is None):
        parser.error("what is copied, and where from, go together")
    if args.copy:
        COPIES[args.copy](args.runs)
    draw_digits()
    draw_time()


if __name__ == "__main__":
    main()
