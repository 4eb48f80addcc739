"""The backend-free heart of training: one forward pass that yields logits, bound and loss."""

from dataclasses import dataclass
from typing import Any

import keras
from keras import ops

from keraslip.bounds.ball import AffineForm
from keraslip.bounds.margins import label_margin, worst_case_logits
from keraslip.losses.robust_loss import one_hot_labels
from keraslip.models.bounded import check_graph
from keraslip.models.state import logits_lipschitz
from keraslip.rules import Propagation
from keraslip.rules.propagation import LayerRecord, varying_share
from keraslip.rules.walk import propagate
from keraslip.schedules import at_progress, current

Tensor = Any


@dataclass(frozen=True, eq=False)
class Outcome:
    """What one pass found for a batch.

    Args:
        logits: Clean logits `(batch, K)`.
        worst: Worst-case logits `(batch, K)` for the labels given.
        margin: Label's logit minus the largest worst-case logit of another class, `(batch,)`.
        lipschitz: Bound on the Lipschitz constant of the logits in the ball, `(batch,)`.
        varying: Share of activation units that may vary, `()`.
        penalty: Sparsity penalty, `(batch,)`.
        epsilon: The epsilon used, `()` or `(batch,)`.
        last: The logits as linear maps of balls.
        context: The pass, with its next warm starts.
    """

    logits: Tensor
    worst: Tensor
    margin: Tensor
    lipschitz: Tensor
    varying: Tensor
    penalty: Tensor
    epsilon: Tensor
    last: AffineForm
    context: Propagation

    @property
    def records(self) -> list[LayerRecord]:
        """What happened at each activation."""
        return self.context.records


def bound_pass(model: Any, x: Tensor, y: Tensor | None, context: Propagation) -> Outcome:
    """One forward pass with its bound.

    Args:
        model: A functional Keras model onto logits.
        x: Inputs `(batch, *shape)`.
        y: Labels, class indices or one-hot; `None` for the predicted ones.
        context: Epsilon and settings.

    Returns:
        The `Outcome`.

    Raises:
        UnsupportedLayerError: at a layer without a rule, or for a model with a `call` of its own.
    """
    check_graph(model)
    x = ops.cast(x, "float32") if "int" in str(x.dtype) or x.dtype == "bool" else x
    form = propagate(model, x, context)
    logits = form.center
    classes = logits.shape[-1]
    y = one_hot_labels(ops.argmax(logits, axis=-1) if y is None else y, classes)
    worst = worst_case_logits(form, y, context.epsilon)
    none = ops.zeros_like(logits[:, 0])
    lipschitz = logits_lipschitz(form, context) + none
    margin = label_margin(logits, worst, y)
    return Outcome(
        logits=logits,
        worst=worst,
        margin=ops.where(ops.isfinite(lipschitz), margin, ops.full_like(margin, float("nan"))),
        lipschitz=lipschitz,
        varying=varying_share(context.records),
        penalty=context.penalty + none,
        epsilon=context.epsilon,
        last=form,
        context=context,
    )


def robust_step(
    model: Any, x: Tensor, y: Tensor, sample_weight: Tensor | None, training: bool
) -> tuple[Tensor, Outcome]:
    """Loss and bound of a batch, from one forward pass; warm starts and step are stored when training.

    Args:
        model: A compiled `LocalLipschitzModel`.
        x: Inputs `(batch, *shape)`.
        y: Labels, class indices or one-hot.
        sample_weight: `(batch,)` or `None`.
        training: Whether schedules run and weights are stored.

    Returns:
        The scalar loss and the `Outcome`.
    """
    with at_progress(model.run_state.progress() if training else 1.0):
        if training:
            epsilon = ops.convert_to_tensor(current(model.train_epsilon), "float32")
        else:
            epsilon = ops.convert_to_tensor(model.run_state.epsilon)
        context = Propagation(
            epsilon,
            model.warm_starts,
            model.bound,
            model.power_iterations,
            training,
            penalized=model.sparsity > 0.0,
        )
        outcome = bound_pass(model, x, y, context)
        loss = model.robust_loss(y, (outcome.logits, outcome.worst), sample_weight=sample_weight)
    if model.sparsity:
        # As a Keras loss, so that sample weights and several replicas are accounted for.
        loss = loss + model.sparsity * _PENALTY(y, outcome.penalty, sample_weight=sample_weight)
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
    model: Any, x: Tensor, y: Tensor, sample_weight: Tensor | None, loss: Tensor, outcome: Outcome
) -> dict[str, Any]:
    """Updates the model's metrics from a pass and returns the logs.

    Args:
        model: A compiled `LocalLipschitzModel`.
        x: Inputs.
        y: Labels.
        sample_weight: Weights or `None`.
        loss: The loss of the batch, not scaled for mixed precision or replicas.
        outcome: What `robust_step` returned.
    """
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
    return model.compute_metrics(x, y, outcome.logits, sample_weight)
