"""What a rule is: how one layer type carries the bound."""

from abc import ABC, abstractmethod
from typing import Any, ClassVar

from keraslip.rules.code import replaced
from keraslip.rules.interpreter import Form, Interpreter


class UnsupportedLayerError(NotImplementedError):
    """A layer, or one of its settings, through which keraslip cannot carry a bound."""

    #: Where one walk through a model met several: path, operation and error of each, this one first.
    places: "tuple[tuple[str, Any, UnsupportedLayerError], ...]" = ()


class MismatchError(UnsupportedLayerError):
    """A layer that does not compute what its rule says."""


class Rule(ABC):
    """How the bound passes through one layer type.

    Override `propagate`; most layers fit one of the two bases below, `LinearRule` and `ActivationRule`,
    that leave a single method to write. Register the rule beside the layer with `register_rule`.
    """

    #: Whether calls that say training=True are no sign of a network that changes from call to call.
    says_training: ClassVar[bool] = False

    def check(self, operation: Any) -> None:
        """Raises `UnsupportedLayerError` for a setting of the layer that the rule does not cover."""
        if getattr(operation, "activity_regularizer", None) is not None:
            raise UnsupportedLayerError(
                "an activity regularizer is not seen by the certified training step; "
                "remove it, or use compile(sparsity=...)"
            )
        if getattr(operation, "quantization_mode", None) is not None:
            raise UnsupportedLayerError(
                f"it is quantized ({operation.quantization_mode}): bounds are about float32 weights. Use the "
                "model as it was before quantize(), for example from its .keras file"
            )
        if getattr(operation, "lora_enabled", False):
            raise UnsupportedLayerError(
                "it has LoRA weights beside its kernel. Build the layer without lora_rank, and give it "
                "the sum, which is layer.kernel"
            )

    @abstractmethod
    def propagate(self, operation: Any, context: Interpreter, *args: Any, **kwargs: Any) -> Form:
        """Carries the bound through one operation.

        Args:
            operation: The layer or bare operation.
            context: The pass: its methods are the steps that a bound can take.
            *args: The operation's positional arguments, with a form for every tensor.
            **kwargs: Its keyword arguments.

        Returns:
            The form of the output.
        """


def check_methods(operation: Any) -> None:
    """Raises for a layer with a method of its own in place of its class': no rule is about that."""
    if names := replaced(operation):
        raise MismatchError(
            f"its {names[0]} was replaced on the layer itself, so that its rule says nothing of what it "
            "computes; write a layer of your own, and its rule with @keraslip.register_rule. "
            f"Received: {', '.join(names)} of the layer's own"
        )


def broadcasts(shape: tuple[int, ...], to: tuple[int, ...]) -> bool:
    """Whether a tensor of a shape broadcasts to another one without enlarging it."""
    sides = zip(reversed(shape), reversed(to), strict=False)
    return len(shape) <= len(to) and all(a in (1, b) for a, b in sides)
