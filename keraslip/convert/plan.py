"""What becomes of every call of a network, decided before anything is built."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import keras
from keras import tree

from keraslip.rules.bounded import NO_LAYER
from keraslip.rules.derived import DerivedWeights
from keraslip.rules.head import probabilities
from keraslip.rules.noise import AugmentationRule
from keraslip.rules.registry import registered_rule
from keraslip.rules.rule import UnsupportedLayerError
from keraslip.rules.walk import Call, check_call, fold

#: Layers into whose kernel a scale behind them folds.
_KERNELS = (keras.layers.Dense, keras.layers.Conv2D, keras.layers.DepthwiseConv2D)

#: Layers that are the identity at inference, and that a certified training step has no rule for.
_NOTHING = (
    keras.layers.AlphaDropout,
    keras.layers.ActivityRegularization,
    keras.layers.Identity,
)
#: What augmentation may stand behind: it is about inputs.
_OF_INPUTS = (keras.layers.Rescaling, keras.layers.Normalization)


@dataclass(eq=False)
class Step:
    """One call, and what it reads."""

    #: The call, with the steps that made its tensors as arguments; `None` for the model's input.
    call: Any
    reads: list["Step"]  #: Those steps, in order.
    uses: int = 0  #: How many calls read what this one makes, the model's output included.


@dataclass(eq=False)
class Plan:
    """The calls of a network in order."""

    start: Step  #: The input.
    steps: list[Step]  #: In the order in which they run.
    last: Step  #: The one that makes the output.
    #: For a layer with a kernel, the normalisation behind it that goes into the kernel.
    folded: dict[int, Any] = field(default_factory=dict)
    #: Layers that the new network does not have: these normalisations, and what does nothing at inference.
    gone: set[int] = field(default_factory=set)

    @classmethod
    def of(cls, model: Any) -> "Plan":
        """The plan of a functional model with one input and one output."""
        steps: list[Step] = []

        def visit(call: Call) -> Step:
            reads = [
                leaf for leaf in tree.flatten((call.args, call.kwargs)) if isinstance(leaf, Step)
            ]
            for read in reads:
                read.uses += 1
            step = Step(call, reads)
            steps.append(step)
            return step

        start = Step(None, [])
        last = fold(model, start, visit, check=_check)
        last.uses += 1
        if last is start:
            raise UnsupportedLayerError(NO_LAYER)
        plan = cls(start, steps, last)
        plan._fold_normalizations()
        plan.gone |= {id(step.call.operation) for step in steps if _is_left_out(step)}
        return plan

    def _fold_normalizations(self) -> None:
        calls = Counter(id(step.call.operation) for step in self.steps)
        for step in self.steps:
            before = step.reads[0] if len(step.reads) == 1 else None
            if not isinstance(step.call.operation, keras.layers.BatchNormalization):
                continue
            if before is None or before.call is None:
                continue
            layer, normalization = before.call.operation, step.call.operation
            alone = before.uses == 1 and calls[id(layer)] == calls[id(normalization)] == 1
            if alone and isinstance(layer, _KERNELS) and _takes(layer, normalization):
                self.folded[id(layer)] = normalization
                self.gone.add(id(normalization))


def does_nothing(operation: Any) -> bool:
    """Whether a layer is the identity at inference, and no rule knows it while training."""
    return type(operation) in _NOTHING


def _is_left_out(step: Step) -> bool:
    """Whether the new network can do without a layer, and `fit` could not go on with it."""
    return does_nothing(step.call.operation) or (
        _augments(step) and not _is_in_front(step.reads[0])
    )


def _augments(step: Step) -> bool:
    return isinstance(registered_rule(type(step.call.operation)), AugmentationRule)


def _is_in_front(step: Step) -> bool:
    """Whether a step is the input, scaled and augmented at most."""
    if step.call is None:
        return True
    kept = _augments(step) or type(step.call.operation) in _OF_INPUTS
    return (kept or does_nothing(step.call.operation)) and _is_in_front(step.reads[0])


def _check(path: str, node: Any) -> None:
    if not does_nothing(node.operation):
        check_call(path, node)
    if probabilities(node.operation) and node.arguments.kwargs.get("mask") is not None:
        raise UnsupportedLayerError(
            f"{type(node.operation).__name__} at {path!r} has a mask, which leaves classes out: logits have "
            "another order than its probabilities. Build the model without it. "
            f"Received: mask={node.arguments.kwargs['mask']!r}"
        )


def _takes(layer: Any, normalization: Any) -> bool:
    """Whether a normalisation is one of the layer's channels, right behind its sums."""
    # What is rescaled takes no scale.
    if isinstance(layer, DerivedWeights) or layer.activation is not keras.activations.linear:
        return False
    rank = len(layer.output.shape)
    channels = 1 if getattr(layer, "data_format", None) == "channels_first" else rank - 1
    return bool(normalization.axis % rank == channels)
