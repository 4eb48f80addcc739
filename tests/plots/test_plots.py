"""The pictures: what is in them, how they are written, and what is refused."""

import re
import sys

import numpy as np
import pytest

from keraslip.plots import accuracy_curve, image_grid, pareto_front, training_curves
from keraslip.plots.accuracy_curve import spread
from keraslip.plots.pareto_front import front

pytestmark = pytest.mark.any_backend("pictures of arrays")

matplotlib = pytest.importorskip("matplotlib")

EPSILONS = [0.0, 0.125, 0.25, 0.5]
CURVES = {
    "PGD attack": [0.97, 0.95, 0.93, 0.7],
    "certified, local": [0.97, 0.9, 0.867, 0.2],
    "certified, global": [0.97, 0.85, 0.736, float("nan")],
}
HISTORY = {
    "loss": [2.3, 1.0, 0.5],
    "val_loss": [2.2, 1.1, 0.6],
    "certified_accuracy": [0.1, 0.5, 0.8],
    "epsilon": [0.0, 0.1, 0.2],
    "my_metric": [1.0, 2.0, float("nan")],
}


def grid(path, count=5, channels=1, **kwargs):
    rng = np.random.default_rng(0)
    arguments = {
        "x": rng.uniform(size=(count, 8, 8, channels)),
        "labels": np.arange(count),
        "predictions": np.minimum(np.arange(count), 3),
        "margins": np.array([1.25, -0.5, np.inf, np.nan, -np.inf])[:count],
        "certified": np.array([True, False, True, False, True])[:count],
        **kwargs,
    }
    return image_grid(path, **arguments)


DRAW = {
    "accuracy_curve": lambda path: accuracy_curve(path, EPSILONS, CURVES, epsilon=0.25),
    "image_grid": grid,
    "pareto_front": lambda path: pareto_front(
        path, [0.97, 0.95, 0.9], [0.8, 0.85, 0.8], ["a", "b", "c"], epsilon=0.25
    ),
    "training_curves": lambda path: training_curves(path, HISTORY),
}


def read_png(path):
    from matplotlib.image import imread

    return imread(path)


@pytest.mark.parametrize("draw", DRAW.values(), ids=DRAW)
def test_a_picture_is_written_whole_into_a_new_folder(draw, tmp_path):
    path = tmp_path / "runs" / "new" / "picture.png"
    assert draw(path) == path
    pixels = read_png(path)
    assert pixels.shape[0] > 300 and pixels.shape[1] > 700
    assert pixels[..., :3].std() > 0.02
    assert [file.name for file in path.parent.iterdir()] == ["picture.png"]


@pytest.mark.parametrize("draw", DRAW.values(), ids=DRAW)
@pytest.mark.parametrize("ending", ["svg", "pdf"])
def test_the_ending_says_the_format(draw, ending, tmp_path):
    path = draw(str(tmp_path / f"picture.{ending}"))
    assert path.read_bytes()[:5] in (b"<?xml", b"%PDF-")


@pytest.mark.parametrize("draw", DRAW.values(), ids=DRAW)
def test_another_ending_is_refused(draw, tmp_path):
    for name in ("picture", "picture.docx"):
        with pytest.raises(ValueError, match=r"must end in one of .*\.png.* Received: path="):
            draw(tmp_path / name)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("draw", DRAW.values(), ids=DRAW)
def test_a_run_that_breaks_off_leaves_the_old_picture(draw, tmp_path, monkeypatch):
    from matplotlib.figure import Figure

    path = tmp_path / "picture.png"
    path.write_bytes(b"old")

    def break_off(self, target, **kwargs):
        target.write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(Figure, "savefig", break_off)
    with pytest.raises(KeyboardInterrupt):
        draw(path)
    assert path.read_bytes() == b"old"
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("draw", DRAW.values(), ids=DRAW)
def test_the_users_style_neither_matters_nor_changes(draw, tmp_path):
    plain = read_png(draw(tmp_path / "plain.png"))
    with matplotlib.rc_context({"axes.facecolor": "black", "font.size": 30, "figure.dpi": 30}):
        before = dict(matplotlib.rcParams)
        styled = read_png(draw(tmp_path / "styled.png"))
        assert dict(matplotlib.rcParams) == before
    np.testing.assert_array_equal(plain, styled)


@pytest.mark.parametrize("draw", DRAW.values(), ids=DRAW)
def test_pyplot_keeps_its_figures_and_its_backend(draw, tmp_path):
    from matplotlib import pyplot

    before = pyplot.get_fignums(), matplotlib.get_backend()
    draw(tmp_path / "a.png")
    assert before == (pyplot.get_fignums(), matplotlib.get_backend())


def test_without_matplotlib(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError, match=r'pip install "keraslip\[plots\]"'):
        training_curves(tmp_path / "a.png", HISTORY)


def test_the_curve_names_what_it_shows(tmp_path):
    text = accuracy_curve(
        tmp_path / "a.svg",
        EPSILONS,
        CURVES,
        epsilon=0.25,
        subtitle="Digits2C2F",
        footnote="360 test samples, estimate (power iteration), seed 0",
    ).read_text()
    for words in (
        *CURVES,
        "86.7 % at ε = 0.25",
        "trained for ε = 0.25",
        "Digits2C2F",
        "360 test samples, estimate (power iteration), seed 0",
        "80 %",
    ):
        assert words in text


def test_a_trained_epsilon_between_the_points_gets_its_line_only(tmp_path):
    text = accuracy_curve(tmp_path / "a.svg", EPSILONS, CURVES, epsilon=0.2).read_text()
    assert "trained for ε = 0.2" in text
    assert "% at ε" not in text


def test_one_epsilon_and_many(tmp_path):
    accuracy_curve(tmp_path / "one.png", [0.5], {"certified": [0.5]}, title=None)
    many = np.linspace(0, 1, 200)
    accuracy_curve(tmp_path / "many.png", many, {str(i): many for i in range(8)})


@pytest.mark.parametrize(
    ("epsilons", "curves", "message"),
    [
        ([0.0, 0.0], {"a": [1, 1]}, "finite numbers in rising order. Received: epsilons="),
        ([0.0, np.nan], {"a": [1, 1]}, "finite numbers in rising order"),
        ([], {"a": []}, "finite numbers in rising order"),
        ([0.0, 1.0], {}, "at least one curve"),
        ([0.0, 1.0], {"a": [0.5]}, "one fraction in .* for each of the 2 epsilons"),
        ([0.0, 1.0], {"a": [97.0, 50.0]}, r"Received: curves\['a'\]"),
    ],
)
def test_bad_curves_are_refused(epsilons, curves, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        accuracy_curve(tmp_path / "a.png", epsilons, curves)
    assert list(tmp_path.iterdir()) == []


def test_labels_are_spread_without_changing_their_order():
    places = [10, 10, 11, 0, 97, 98]
    moved = np.array(spread(places, 5))
    assert (np.diff(np.sort(moved)) >= 5 - 1e-9).all()
    assert moved.min() >= 2 and moved.max() <= 98
    np.testing.assert_array_equal(
        np.argsort(moved, kind="stable"), np.argsort(places, kind="stable")
    )
    assert spread([20, 80], 5) == [20, 80]


def test_the_grid_names_what_it_shows(tmp_path):
    names = ["airplane", "automobile", "a very long class name", "cat", "deer"]
    text = grid(
        tmp_path / "a.svg", class_names=names, epsilon=36 / 255, footnote="seed 0"
    ).read_text()
    for words in (
        "✓ certified at ε = 0.1412: 2",
        "○ correct, not certified at ε = 0.1412: 2",
        "✗ wrong: 1",  # certified or not: a proof for the wrong class is no success
        "✓ label airplane",
        "○ label automobile",
        "✗ label deer",
        "predicted cat",
        "a very lon…",
        "margin +1.25",
        "margin −0.50",
        "margin +∞",
        "margin −∞",
        "margin unknown",
        "seed 0",
    ):
        assert words in text


def test_the_three_kinds_differ_without_colour():
    from keraslip.plots.tile import VERDICTS

    for what in ("symbol", "linestyle", "color", "name"):
        assert len({getattr(kind, what) for kind in VERDICTS}) == 3


@pytest.mark.parametrize("shape", [(5, 8, 8), (5, 8, 8, 1), (5, 8, 6, 3), (1, 8, 8, 1), (13, 4, 4)])
def test_gray_and_coloured_images(shape, tmp_path):
    n = shape[0]
    images = np.random.default_rng(0).uniform(-0.5, 1.5, shape).astype("float32")
    zeros = np.zeros(n, int)
    image_grid(tmp_path / "a.png", images, zeros, zeros, zeros, zeros, columns=4, title=None)


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"x": np.zeros((0, 8, 8, 1))}, "must hold 1 to 400 images"),
        ({"x": np.zeros((5, 8, 8, 2))}, r"Received: x of shape \(5, 8, 8, 2\)"),
        ({"labels": np.zeros(4)}, r"`labels` must hold one value for each of the 5 images"),
        ({"certified": True}, r"Received: certified of shape \(\)"),
        ({"columns": 0}, "`columns` must be at least 1"),
    ],
)
def test_bad_grids_are_refused(kwargs, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        grid(tmp_path / "a.png", **kwargs)


def test_training_shows_every_quantity(tmp_path):
    text = training_curves(
        tmp_path / "a.svg", HISTORY, "Digits", footnote="stopped after 3 epochs"
    ).read_text()
    words = ("Loss", "Certified accuracy", "Epsilon", "my metric", "validation", "Digits", "epoch")
    for word in (*words, "stopped after 3 epochs"):
        assert word in text


def test_training_without_validation_and_with_seldom_validation(tmp_path):
    alone = training_curves(tmp_path / "a.svg", {"loss": [1.0]}).read_text()
    assert "validation" not in alone
    training_curves(tmp_path / "b.png", {"loss": [3.0, 2.0, 1.0, 0.5], "val_loss": [2.0, 1.0]})


@pytest.mark.parametrize("history", [{}, {"loss": []}])
def test_an_empty_history_is_refused(history, tmp_path):
    with pytest.raises(ValueError, match="at least one epoch. Received: history="):
        training_curves(tmp_path / "a.png", history)


def test_a_line_goes_on_over_epsilons_that_were_not_measured(tmp_path):
    def segments(*values):
        text = accuracy_curve(tmp_path / "a.svg", EPSILONS, {"attacked": values}).read_text()
        (drawn,) = re.findall(r'd="([^"]*)"[^>]*stroke: #0072b2; stroke-width: 2;', text)
        return drawn.count("L")

    unknown = float("nan")
    assert segments(0.9, 0.5, 0.6, 0.3) == 3
    assert segments(0.9, unknown, unknown, 0.3) == 1


def test_radii_are_written_rounded_down(tmp_path):
    radii = [0.4999, 0.0, float("inf"), float("nan"), 12.3456]
    text = grid(tmp_path / "a.svg", radii=radii).read_text()
    for words in ("radius 0.499", "radius 0.000", "radius ∞", "radius unknown", "radius 12.345"):
        assert words in text
    assert "radius" not in grid(tmp_path / "b.svg").read_text()


def test_the_front_has_the_models_that_no_other_beats():
    points = np.array([[97, 80], [95, 85], [90, 80], [95, 84], [97, 80], [90, 85], [80, 99]])
    assert front(points).tolist() == [6, 1, 0, 4]
    assert front(points[:1]).tolist() == [0] and front(points[:0]).tolist() == []


@pytest.mark.parametrize(
    "clean, certified, names, message",
    [
        ([0.9], [0.8, 0.7], None, "one entry for each model"),
        ([0.9], [0.8], ["a", "b"], "one entry for each model"),
        ([], [], None, "one entry for each model"),
        ([90.0], [0.8], None, "fractions"),
        ([0.9], [float("nan")], None, "fractions"),
    ],
)
def test_a_front_of_other_things_is_refused(clean, certified, names, message, tmp_path):
    with pytest.raises(ValueError, match=f"{message}.* Received: "):
        pareto_front(tmp_path / "front.png", clean, certified, names)
    assert list(tmp_path.iterdir()) == []
