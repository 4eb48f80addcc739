"""What a rule may ask for: the same rules serve the training pass and the certifier."""

from collections.abc import Callable
from typing import Any, Protocol

from keraslip.activations import Activation
from keraslip.linear import LinearMap
from keraslip.typing import Tensor

#: A tensor on its way through the network; all that a rule may read of it is `shape`, without the batch.
Form = Any


class Interpreter(Protocol):
    """Carries forms through the steps that layers are made of.

    `keraslip.rules.Propagation` bounds a batch with `keras.ops`, as training does;
    `keraslip.certify.bound.trace.Trace` writes the network down for the certifier.
    """

    #: Path of the operation at hand, set by the walk.
    key: str
    training: bool

    def linear(self, form: Form, linear_map: LinearMap, bias: Tensor | None = None) -> Form:
        """`W x + bias`."""

    def move(self, form: Form, linear_map: LinearMap) -> Form:
        """A map that only moves entries, or adds zeros."""

    def activate(self, form: Form, activation: Activation) -> Form:
        """An activation."""

    def add(self, forms: list[Form], disjoint: bool = False) -> Form:
        """The sum of branches of one shape; `disjoint`: at every entry all of them but one are zero."""

    def shift(self, form: Form, constant: Tensor) -> Form:
        """A constant added that broadcasts to the form's shape."""

    def dropout(self, form: Form, drawn: Callable[[Tensor], tuple[Tensor, Tensor]]) -> Form:
        """In training a product with what is drawn for a tensor, no larger than the second result."""

    def noise(self, form: Form, layer: Any, of_inputs: bool) -> Form:
        """In training what the layer makes of the center, with the same ball around it.

        With `of_inputs` that is true in front of all activations only.
        """

    def statistics(self, form: Form, layer: Any) -> tuple[Tensor, Tensor] | None:
        """Mean and variance of the batch that a `BatchNormalization` uses; `None` for its moving ones."""


class AtInference(Interpreter):
    """Base of those about the network at inference, where nothing is dropped, and noise is none."""

    training = False

    def move(self, form: Form, linear_map: LinearMap) -> Form:
        return self.linear(form, linear_map)

    def dropout(self, form: Form, drawn: Any) -> Form:
        return form

    def noise(self, form: Form, layer: Any, of_inputs: bool) -> Form:
        return form

    def statistics(self, form: Form, layer: Any) -> None:
        return None
