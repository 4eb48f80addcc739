"""The backend-free heart of training: one forward pass that yields logits, bound and loss."""

from dataclasses import dataclass
from typing import Any

import keras
from keras import ops

from keraslip.backend.structure import only_input, only_target
from keraslip.bounds.ball import AffineForm
from keraslip.bounds.margins import label_margin, worst_case_logits
from keraslip.models.labels import Labels
from keraslip.models.options import EVALUATION_ITERATIONS, uniform_iterations
from keraslip.rules import Propagation
from keraslip.rules.bounded import check_graph
from keraslip.rules.norm_shapes import logits_lipschitz
from keraslip.rules.records import LayerRecord, varying_share
from keraslip.rules.walk import propagate
from keraslip.schedules import at_progress, current
from keraslip.typing import Tensor


@dataclass(frozen=True, eq=False)
class Outcome:
    """What one pass found for a batch."""

    logits: Tensor  #: Clean logits `(batch, K)`.
    worst: Tensor  #: Worst-case logits `(batch, K)` for the labels given.
    labels: Labels  #: The labels.
    #: Label's logit minus the largest worst-case logit of another class, `(batch,)`; NaN where a number
    #: is not finite, or the label is none.
    margin: Tensor
    lipschitz: Tensor  #: Bound on the Lipschitz constant of the logits in the ball, `(batch,)`.
    varying: Tensor  #: Share of activation units that may vary, `()`.
    penalty: Tensor  #: Sparsity penalty, `(batch,)`.
    epsilon: Tensor  #: The epsilon used, `()` or `(batch,)`.
    last: AffineForm  #: The logits as linear maps of balls.
    context: Propagation  #: The pass, with its next warm starts.

    @property
    def records(self) -> list[LayerRecord]:
        """What happened at each activation."""
        return self.context.records


def bound_pass(model: Any, x: Any, y: Any, context: Propagation) -> Outcome:
    """One forward pass of a functional Keras model onto logits, with its bound.

    Inputs may have any dtype; labels are class indices or one-hot, `None` for the predicted ones.

    Raises:
        UnsupportedLayerError: at a layer without a rule, or for a model with a `call` of its own.
    """
    check_graph(model)
    form = propagate(model, _as_input(model, x), context)
    logits = form.center
    labels = Labels.of(None if y is None else only_target(model, y), logits)
    worst = worst_case_logits(form, labels.one_hot, context.epsilon)
    none = ops.zeros_like(logits[:, 0])
    lipschitz = logits_lipschitz(form, context) + none
    margin = label_margin(logits, worst, labels.one_hot)
    known = ops.logical_and(ops.isfinite(lipschitz), labels.valid)
    return Outcome(
        logits=logits,
        worst=worst,
        labels=labels,
        margin=ops.where(known, margin, ops.full_like(margin, float("nan"))),
        lipschitz=lipschitz,
        varying=varying_share(context.records),
        penalty=context.penalty + none,
        epsilon=context.epsilon,
        last=form,
        context=context,
    )


def _as_input(model: Any, x: Any) -> Tensor:
    """Inputs as the model rounds them, in the float32 of the bound."""
    return ops.cast(ops.cast(only_input(model, x), model.inputs[0].dtype), "float32")


def step_pass(model: Any, epsilon: Tensor, training: bool = False) -> Propagation:
    """The pass of a training step; when training, dropout is active and warm starts are gathered."""
    return Propagation(
        epsilon,
        model.warm_starts,
        model.bound,
        model.power_iterations,
        # The published algorithm has one number.
        None if model.bound == "paper" else uniform_iterations(model.power_iterations),
        model.locality,
        training,
        penalized=model.sparsity > 0.0,
    )


def evaluation_pass(model: Any, epsilon: Tensor) -> Propagation:
    """The pass of `evaluate`: norms that are converged to a per cent, for it chooses the best model."""
    return Propagation(
        epsilon,
        model.warm_starts,
        model.bound,
        max(model.power_iterations, EVALUATION_ITERATIONS),
        locality=model.locality,
        penalized=model.sparsity > 0.0,
    )


def robust_step(
    model: Any, x: Any, y: Any, sample_weight: Any, training: bool
) -> tuple[Tensor, Outcome]:
    """Loss and bound of a batch, from one forward pass; warm starts and step are stored when training."""
    with at_progress(model.run_state.progress() if training else 1.0):
        if training:
            epsilon = ops.convert_to_tensor(current(model.train_epsilon), "float32")
        else:
            epsilon = ops.convert_to_tensor(model.run_state.epsilon)
        context = (
            step_pass(model, epsilon, training) if training else evaluation_pass(model, epsilon)
        )
        outcome = bound_pass(model, x, y, context)
        given = outcome.labels.given
        weights = outcome.labels.weights(only_target(model, sample_weight))
        worst = outcome.worst
        if getattr(model.robust_loss, "of_prediction", False):
            predicted = Labels.of(None, outcome.logits).one_hot
            worst = worst_case_logits(outcome.last, predicted, epsilon)
        loss = model.robust_loss(given, (outcome.logits, worst), sample_weight=weights)
    if model.sparsity:
        # As a Keras loss, so that sample weights and several replicas are accounted for.
        loss = loss + model.sparsity * _PENALTY(given, outcome.penalty, sample_weight=weights)
    for extra in model.losses:
        loss = loss + model._aggregate_additional_loss(extra)
    if training:
        model.warm_starts.update(context.next_starts)
        model.run_state.advance()
    return loss, outcome


class _Penalty(keras.losses.Loss):
    """Mean of numbers that are a loss already."""

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        return y_pred


_PENALTY = _Penalty(name="sparsity")


def track(
    model: Any, x: Any, y: Any, sample_weight: Any, loss: Tensor, outcome: Outcome
) -> dict[str, Any]:
    """Updates the model's metrics from a pass and returns the logs; the loss is not scaled for replicas."""
    # Means over the samples of an epoch, for batches and the shares of several devices differ in size.
    batch = ops.cast(ops.shape(outcome.logits)[0], "float32")
    model._loss_tracker.update_state(loss, sample_weight=batch)
    # NaN > 0 is false: what is not finite is not certified.
    model.certified_tracker.update_state(ops.cast(outcome.margin > 0.0, "float32"))
    model.lipschitz_tracker.update_state(outcome.lipschitz)
    # One of several devices may get no sample of the last batch; a mean over none is NaN.
    varying = ops.where(batch > 0.0, outcome.varying, ops.zeros_like(outcome.varying))
    model.varying_tracker.update_state(varying, sample_weight=batch)
    model.epsilon_tracker.update_state(outcome.epsilon, sample_weight=batch)
    model.invalid_labels.update_state(outcome.labels.valid)
    return model.compute_metrics(x, outcome.labels.given, outcome.logits, sample_weight)
