"""Losses against their formulas in NumPy."""

import keras
import numpy as np
import pytest
from scipy.special import log_softmax, logsumexp

import keraslip
from keraslip import losses
from keraslip.losses import (
    BCPLoss,
    CalibratedLipschitzMarginLoss,
    CertifiedRadiusLoss,
    EMMALoss,
    GloRoLoss,
    LogitAnnealingLoss,
    OffsetCrossEntropyLoss,
    RobustLoss,
    TradesLoss,
)
from keraslip.schedules import LinearRamp, at_progress
from tests.harness import gradient

N, K = 7, 4
RNG = np.random.default_rng(0)
LOGITS = RNG.normal(size=(N, K)).astype("float32") * 3
Y = RNG.integers(0, K, N).astype("int32")
RISE = np.where(np.eye(K)[Y] == 1, 0.0, RNG.uniform(0, 4, (N, K)))
WORST = (LOGITS + RISE).astype("float32")


def cross_entropy(logits):
    return -log_softmax(logits.astype("float64"), axis=1)[range(N), Y]


def uncertified():
    return np.where(np.eye(K)[Y] == 1, -np.inf, WORST).max(axis=1, keepdims=True)


def gloro():
    extended = np.concatenate([LOGITS, uncertified()], axis=1).astype("float64")
    return logsumexp(extended, axis=1) - LOGITS[range(N), Y]


def trades(beta):
    """CE plus KL(softmax([logits, -inf]) || softmax([logits, worst])), written out."""
    p = np.exp(log_softmax(LOGITS.astype("float64"), axis=1))
    extended = np.concatenate([LOGITS, uncertified()], axis=1).astype("float64")
    q = np.exp(log_softmax(extended, axis=1))[:, :K]
    return cross_entropy(LOGITS) + beta * (p * np.log(p / q)).sum(axis=1)


def emma():
    """Equation by equation: t, u, and the cross-entropy of u."""
    ahead = LOGITS[range(N), Y][:, None] - LOGITS.astype("float64")
    gain = WORST.astype("float64") - LOGITS
    t = np.clip(ahead / np.maximum(gain, 1e-8), 0.01, 1.0)
    return -log_softmax(-ahead + t * gain, axis=1)[range(N), Y]


def radii():
    """R_j in units of epsilon, infinite for the label."""
    ahead = LOGITS[range(N), Y][:, None] - LOGITS.astype("float64")
    gain = WORST.astype("float64") - LOGITS
    return np.where(np.eye(K)[Y] == 1, np.inf, ahead / np.where(gain == 0, 1, gain))


def certified_radius(weight, radius, t):
    least = radii().min(axis=1)
    added = logsumexp(-t * radii(), axis=1) / t
    return cross_entropy(LOGITS) + weight * np.where((0 < least) & (least < radius), added, 0.0)


def annealed(xi, temperature, gamma):
    c = cross_entropy((LOGITS - xi * np.eye(K)[Y]) / temperature)
    return temperature * (1 - np.exp(-c)) ** gamma * c


def calibrated(p, weight):
    quantile = 2 * (np.log(1 - p / 2) - np.log(p / 2))
    scores = np.where(np.eye(K)[Y] == 1, 0.0, quantile * (1 - radii()))
    return logsumexp(scores, axis=1) + weight * np.square((WORST - LOGITS).max(axis=1))


FORMS = {
    "emma": (EMMALoss(), emma),
    "radius": (CertifiedRadiusLoss(), lambda: certified_radius(1.0, 1.5, 10.0)),
    "radius 3": (CertifiedRadiusLoss(0.5, 3.0, 2.0), lambda: certified_radius(0.5, 3.0, 2.0)),
    "calibrated": (CalibratedLipschitzMarginLoss(), lambda: calibrated(0.3, 1e-3)),
    "calibrated hard": (CalibratedLipschitzMarginLoss(0.01, 0.1), lambda: calibrated(0.01, 0.1)),
    "offset": (OffsetCrossEntropyLoss(), lambda: annealed(2**0.5, 0.25, 0.0)),
    "annealing": (LogitAnnealingLoss(), lambda: annealed(2.0, 0.75, 5.0)),
    "annealing 0": (LogitAnnealingLoss(1.0, 0.5, 0.0), lambda: annealed(1.0, 0.5, 0.0)),
    "bcp 0.3": (BCPLoss(0.3), lambda: 0.3 * cross_entropy(LOGITS) + 0.7 * cross_entropy(WORST)),
    "bcp 0": (BCPLoss(0), lambda: cross_entropy(WORST)),
    "bcp 1": (BCPLoss(1.0), lambda: cross_entropy(LOGITS)),
    "bcp default": (BCPLoss(), lambda: cross_entropy(WORST)),
    "gloro": (GloRoLoss(), gloro),
    "trades": (TradesLoss(), lambda: trades(1.0)),
    "trades 2.5": (TradesLoss(beta=2.5), lambda: trades(2.5)),
    "trades 0": (TradesLoss(beta=0.0), lambda: cross_entropy(LOGITS)),
}


def value(loss, y=Y, worst=WORST, **kwargs):
    tensors = [keras.ops.convert_to_tensor(a) for a in (LOGITS, worst)]
    out = loss(keras.ops.convert_to_tensor(y), tuple(tensors), **kwargs)
    return keras.ops.convert_to_numpy(out)


def copied(loss, **changes):
    return type(loss).from_config({**loss.get_config(), **changes})


@pytest.mark.parametrize("case", FORMS)
def test_values_are_those_of_the_formula(case):
    loss, formula = FORMS[case]
    np.testing.assert_allclose(value(copied(loss, reduction="none")), formula(), rtol=2e-5)
    assert value(loss) == pytest.approx(formula().mean(), rel=2e-5)


@pytest.mark.parametrize("case", FORMS)
@pytest.mark.parametrize("shape", ["one-hot", "one-hot integers", "column"])
def test_labels_of_every_form_give_the_same(case, shape):
    loss, _ = FORMS[case]
    y = {
        "one-hot": np.eye(K, dtype="float32")[Y],
        "one-hot integers": np.eye(K, dtype="int64")[Y],
        "column": Y[:, None],
    }[shape]
    np.testing.assert_allclose(value(loss, y), value(loss), rtol=1e-6)


@pytest.mark.parametrize("case", FORMS)
def test_sample_weights_weigh_samples(case):
    loss, formula = FORMS[case]
    weights = np.array([0, 1, 2, 0.5, 0, 3, 1], "float32")
    tensor = keras.ops.convert_to_tensor(weights)
    expected = (weights * formula()).sum() / N
    assert value(loss, sample_weight=tensor) == pytest.approx(expected, rel=2e-5)


@pytest.mark.parametrize("case", FORMS)
def test_reduction_sum(case):
    loss, formula = FORMS[case]
    total = value(copied(loss, reduction="sum"))
    assert total == pytest.approx(formula().sum(), rel=2e-5)


def test_losses_agree_where_nothing_can_change():
    # At epsilon 0 the worst case is the clean one, and the divergence counts the second class twice.
    np.testing.assert_allclose(
        value(BCPLoss(0.4, reduction="none"), worst=LOGITS), cross_entropy(LOGITS), rtol=2e-5
    )


def test_gloros_added_class_wins_exactly_where_a_sample_is_not_certified():
    y = np.eye(K)[Y] == 1
    top = np.concatenate([LOGITS, uncertified()], axis=1).argmax(axis=1)
    margin = LOGITS[y] - uncertified()[:, 0]
    np.testing.assert_array_equal(top == Y, margin >= 0)


def test_kappa_follows_its_schedule():
    loss = BCPLoss(LinearRamp(1.0, 0.2, until=0.5))
    for progress, kappa in [(0.0, 1.0), (0.25, 0.6), (0.5, 0.2), (1.0, 0.2)]:
        with at_progress(progress):
            mixed = kappa * cross_entropy(LOGITS) + (1 - kappa) * cross_entropy(WORST)
            assert value(loss) == pytest.approx(mixed.mean(), rel=2e-5)
    # Outside a run at its end.
    assert value(loss) == pytest.approx(value(BCPLoss(0.2)), rel=1e-6)


@pytest.mark.parametrize("scale", [1e3, 1e30])
@pytest.mark.parametrize("case", FORMS)
def test_large_logits_give_no_nan(case, scale):
    loss, _ = FORMS[case]
    tensors = [keras.ops.convert_to_tensor(a * np.float32(scale)) for a in (LOGITS, WORST)]
    out = keras.ops.convert_to_numpy(loss(keras.ops.convert_to_tensor(Y), tuple(tensors)))
    assert np.isfinite(out)


@pytest.mark.parametrize("case", FORMS)
def test_nan_in_the_worst_case_is_not_hidden(case):
    loss, _ = FORMS[case]
    if case in ("bcp 1", "trades 0", "offset", "annealing", "annealing 0"):
        pytest.skip("does not read the worst case")
    worst = WORST.copy()
    worst[2, (Y[2] + 1) % K] = np.nan
    assert np.isnan(value(loss, worst=worst))


@pytest.mark.filterwarnings("ignore:Explicitly requested dtype:UserWarning")  # of JAX
@pytest.mark.parametrize("dtype", ["float16", "float64"])
@pytest.mark.parametrize("case", FORMS)
def test_a_loss_of_another_dtype_is_computed_in_float32(case, dtype):
    loss, formula = FORMS[case]
    assert float(value(copied(loss, dtype=dtype))) == pytest.approx(formula().mean(), rel=5e-3)


@pytest.mark.parametrize("case", FORMS)
def test_configs_and_serialisation_go_round(case):
    loss, _ = FORMS[case]
    for again in (
        copied(loss),
        keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(loss)),
        keras.losses.deserialize(keras.losses.serialize(loss)),
    ):
        assert type(again) is type(loss)
        assert again.get_config() == loss.get_config()
        assert value(again) == value(loss)


def test_a_schedule_in_a_loss_is_serialised():
    loss = BCPLoss(LinearRamp(0.9, 0.1, begin=0.2, until=0.7), name="mine", reduction="sum")
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(loss))
    assert again.kappa.get_config() == loss.kappa.get_config()
    assert (again.name, again.reduction) == ("mine", "sum")


def test_the_certified_radius_is_asked_for_only_where_there_is_some_and_too_little():
    radius = CertifiedRadiusLoss(weight=2.0, radius=1.0, reduction="none")
    y = np.eye(K)[Y]
    for ahead, expected in [(-0.5, False), (0.5, True), (1.5, False)]:
        logits = (ahead * y).astype("float32")
        worst = (logits + 1.0 - y).astype("float32")
        tensors = tuple(keras.ops.convert_to_tensor(a) for a in (logits, worst))
        loss = keras.ops.convert_to_numpy(radius(keras.ops.convert_to_tensor(Y), tensors))
        plain = -log_softmax(logits, axis=1)[range(N), Y]
        assert (np.abs(loss - plain) > 1e-3).all() == expected


def by_worst(loss):
    """Gradients of each sample's loss by its worst-case logits."""
    y, logits = keras.ops.convert_to_tensor(Y), keras.ops.convert_to_tensor(LOGITS)
    return gradient(lambda worst: keras.ops.sum(loss(y, (logits, worst))), WORST)


def test_the_calibrated_margin_moves_the_bound_by_its_penalty_alone():
    loss = CalibratedLipschitzMarginLoss(penalty=0.5, reduction="none")
    largest = (WORST - LOGITS) == (WORST - LOGITS).max(axis=1, keepdims=True)
    np.testing.assert_allclose(by_worst(loss), np.where(largest, WORST - LOGITS, 0.0), rtol=1e-5)


def test_a_calibrated_margin_has_no_endless_gradient_where_nothing_can_be_gained():
    loss, y = CalibratedLipschitzMarginLoss(), keras.ops.convert_to_tensor(Y)
    found = gradient(lambda z: loss(y, (z, z)), LOGITS)
    assert 0 < np.abs(found).max() < 1e5


def test_emma_holds_the_share_of_the_radius_constant():
    ahead = LOGITS[range(N), Y][:, None] - LOGITS
    t = np.clip(ahead / np.maximum(WORST - LOGITS, 1e-8), 0.01, 1.0)
    p = np.exp(log_softmax(t * (WORST - LOGITS) - ahead, axis=1))
    np.testing.assert_allclose(by_worst(EMMALoss(reduction="none")), t * p, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("case", FORMS)
@pytest.mark.parametrize("worst", [LOGITS, LOGITS * 1e10, WORST], ids=["0", "large", "some"])
def test_gradients_are_finite(case, worst):
    loss, _ = FORMS[case]
    y = keras.ops.convert_to_tensor(Y)
    shift = keras.ops.convert_to_tensor(worst - LOGITS)
    found = gradient(lambda z: loss(y, (z, z + shift)), LOGITS)
    assert np.isfinite(found).all()


@pytest.mark.parametrize("kappa", [-0.1, 1.5, float("nan"), "half"], ids=repr)
def test_kappa_must_be_a_share(kappa):
    with pytest.raises(ValueError, match="kappa"):
        BCPLoss(kappa)


@pytest.mark.parametrize("beta", [-1.0, float("nan"), float("inf"), "one"], ids=repr)
def test_beta_must_not_be_negative(beta):
    with pytest.raises(ValueError, match="beta"):
        TradesLoss(beta=beta)


@pytest.mark.parametrize(
    "build",
    [
        lambda: CalibratedLipschitzMarginLoss(slack=0.0),
        lambda: CalibratedLipschitzMarginLoss(slack=1.0),
        lambda: CalibratedLipschitzMarginLoss(penalty=-1.0),
        lambda: CertifiedRadiusLoss(radius=0.0),
        lambda: CertifiedRadiusLoss(weight=float("nan")),
        lambda: CertifiedRadiusLoss(sharpness=True),
        lambda: OffsetCrossEntropyLoss(offset=-1.0),
        lambda: OffsetCrossEntropyLoss(temperature=0.0),
        lambda: LogitAnnealingLoss(gamma="five"),
    ],
)
def test_arguments_must_be_what_they_are_said_to_be(build):
    with pytest.raises(ValueError, match="must be a finite number .*Received"):
        build()


def test_a_loss_of_ones_own_overrides_one_method():
    class Margin(RobustLoss):
        def per_sample(self, y, logits, worst):
            label = keras.ops.sum(y * logits, axis=-1)
            return keras.ops.max(worst, axis=-1) - label

    expected = (WORST.max(axis=1) - LOGITS[range(N), Y]).mean()
    assert value(Margin(name="margin")) == pytest.approx(expected, rel=1e-5)
    with pytest.raises(TypeError):
        RobustLoss(name="abstract")


@pytest.mark.parametrize("name", losses.names())
def test_a_loss_goes_by_its_name_class_instance_and_config(name):
    loss = losses.get(name)
    kind = type(loss)
    assert losses.get(loss) is loss and type(losses.get(kind)) is kind
    again = losses.get(keras.saving.serialize_keras_object(loss))
    assert type(again) is kind and again.get_config() == loss.get_config()
    inputs = keras.Input((4,))
    model = keraslip.LocalLipschitzModel(inputs, keraslip.layers.MaskedLipschitzDense(3)(inputs))
    model.compile("sgd", epsilon=0.1, loss=name)
    assert type(model.robust_loss) is kind


@pytest.mark.parametrize("bad", ["hinge", keras.losses.Hinge(), keras.losses.Hinge, 3, sum])
def test_what_is_no_loss_on_pairs_of_logits_is_refused(bad):
    with pytest.raises(ValueError, match="one of gloro, bcp, trades.*Received: loss="):
        losses.get(bad)
    assert losses.get(None) is None
