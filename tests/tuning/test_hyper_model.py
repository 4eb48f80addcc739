"""What is searched, what a builder is passed, and what is refused."""

from functools import partial

import pytest

import keraslip
from keraslip import applications
from tests.tuning.nets import tiny

tuning = pytest.importorskip("keraslip.tuning", exc_type=ImportError)
import keras_tuner  # noqa: E402

pytestmark = pytest.mark.any_backend("spaces and messages")
ALL = {"width", "loss", "sparsity", "epsilon_factor", "learning_rate", "kappa", "epsilon"}


def space_of(hypermodel):
    hp = keras_tuner.HyperParameters()
    model = hypermodel.build(hp)
    return {entry.name: entry for entry in hp.space}, model, hp


@pytest.mark.parametrize(
    "activation, thresholds",
    [
        ("clipped_relu", {"threshold"}),
        ("clipped_maxmin", {"upper_threshold", "lower_threshold"}),
        ("relu", set()),
    ],
)
def test_an_application_is_searched_for_the_thresholds_of_its_activation(activation, thresholds):
    builder = partial(applications.Digits2C2F, activation=activation)
    found, model, hp = space_of(tuning.LipschitzHyperModel(builder, epsilon=0.25, width=0.1))
    assert set(found) == ALL | thresholds
    assert model.epsilon_value == 0.25 and hp.get("epsilon") == 0.25
    assert model.layers[1].filters == 2


def test_ranges_choices_fixed_values_and_what_is_left_out():
    hypermodel = tuning.LipschitzHyperModel(
        tiny,
        epsilon=0.5,
        threshold=(0.5, 1.0),
        width=[1, 2],
        loss="bcp",
        kappa=0.25,
        sparsity=None,
        epsilon_factor=2.0,
        learning_rate=(1e-4, 1e-2),
        compile_options={"sparsity": 0.125, "power_iterations": 3},
    )
    found, model, hp = space_of(hypermodel)
    assert set(found) == (ALL | {"threshold"}) - {"sparsity"}
    threshold, rate = found["threshold"], found["learning_rate"]
    assert (threshold.min_value, threshold.max_value, threshold.sampling) == (0.5, 1.0, "linear")
    assert (rate.min_value, rate.max_value, rate.sampling) == (1e-4, 1e-2, "log")
    assert list(found["width"].values) == [1.0, 2.0]
    assert isinstance(found["kappa"], keras_tuner.engine.hyperparameters.Fixed)
    loss = model.robust_loss
    assert isinstance(loss, keraslip.losses.BCPLoss)
    assert (float(loss.kappa(0.0)), float(loss.kappa(1.0))) == (1.0, 0.25)
    assert float(model.train_epsilon(1.0)) == 1.0
    assert model.sparsity == 0.125 and model.power_iterations == 3
    assert float(model.optimizer.learning_rate) == pytest.approx(hp.get("learning_rate"))


def test_a_loss_in_units_of_epsilon_has_the_whole_of_it_at_once():
    loss = "calibrated_lipschitz_margin"
    _, model, _ = space_of(tuning.LipschitzHyperModel(tiny, 0.5, loss=loss, epsilon_factor=2.0))
    assert float(model.train_epsilon(0.0)) == 1.0


def test_kappa_is_active_with_its_loss_only():
    found, model, hp = space_of(tuning.LipschitzHyperModel(tiny, epsilon=0.5))
    assert isinstance(model.robust_loss, keraslip.losses.GloRoLoss)
    assert not hp.is_active(found["kappa"])
    found, *_ = space_of(tuning.LipschitzHyperModel(tiny, epsilon=0.5, loss=["gloro", "trades"]))
    assert "kappa" not in found


def test_only_named_arguments_are_passed():
    def without(**anything):
        assert anything == {}
        return tiny()

    found, *_ = space_of(tuning.LipschitzHyperModel(without, epsilon=0.5))
    assert set(found) == ALL - {"width"}
    fixed = partial(tiny, threshold=2.0)
    found, model, _ = space_of(tuning.LipschitzHyperModel(fixed, epsilon=0.5))
    assert "threshold" not in found and model.get_layer("clip").threshold == 2.0


@pytest.mark.parametrize(
    "builder, options, message",
    [
        (tiny, {"treshold": 1.0}, "one of threshold, .*treshold=1.0"),
        (tiny, {"upper_threshold": 1.0}, "takes no upper_threshold.*takes threshold, width"),
        (lambda: tiny(), {"width": 1.0}, "takes no width.*takes none of"),
        (lambda units: tiny(), {}, "functools.partial.*needs units"),
        (lambda width, /: tiny(), {}, "functools.partial.*needs width"),
        (tiny, {"threshold": (1.0, 0.5)}, "range.*threshold=.1.0, 0.5"),
        (tiny, {"threshold": (-1.0, 0.5)}, "between 0 and inf"),
        (tiny, {"width": (0.0, 0.5)}, "0 excluded"),
        (tiny, {"width": []}, "width must be"),
        (tiny, {"width": float("nan")}, "width must be"),
        (tiny, {"learning_rate": "fast"}, "learning_rate must be"),
        (tiny, {"loss": "hinge"}, "among gloro, bcp, trades"),
        (tiny, {"kappa": 2.0, "loss": "bcp"}, "between 0 and 1"),
        (tiny, {"kappa": 0.5, "loss": "gloro"}, "kappa belongs to"),
        (tiny, {"compile_options": {"epsilon": 1.0}}, "epsilon, decided by epsilon"),
        (tiny, {"compile_options": {"loss": None}}, "loss, decided by loss"),
    ],
)
def test_bad_arguments_are_refused(builder, options, message):
    with pytest.raises(ValueError, match=f"(?s){message}") as refused:
        tuning.LipschitzHyperModel(builder, epsilon=0.5, **options)
    assert "Received: " in str(refused.value)


@pytest.mark.parametrize("epsilon", [(0.1, 0.3), [0.1, 0.3]])
def test_epsilon_is_not_searched(epsilon):
    with pytest.raises(ValueError, match="Epsilon is not searched.*epsilon_factor.*Received"):
        tuning.LipschitzHyperModel(tiny, epsilon=epsilon)


@pytest.mark.parametrize("epsilon", [-1.0, float("nan"), "large"])
def test_a_radius_that_is_none_is_refused(epsilon):
    with pytest.raises(ValueError, match="epsilon must be"):
        tuning.LipschitzHyperModel(tiny, epsilon=epsilon)


def test_a_builder_must_return_a_bounded_model():
    import keras

    def plain():
        return keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])

    with pytest.raises(TypeError, match="LocalLipschitzModel.*Received"):
        space_of(tuning.LipschitzHyperModel(plain, epsilon=0.5))
