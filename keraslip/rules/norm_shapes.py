"""Which norms the bound of a model takes, found out with shapes alone."""

from typing import Any

import keras
from keras import ops, tree

from keraslip.bounds.ball import AffineForm, Ball
from keraslip.linear import LinearMap
from keraslip.rules.locality import Closing
from keraslip.rules.propagation import Propagation
from keraslip.rules.rule import UnsupportedLayerError
from keraslip.rules.walk import Call, carried, propagate
from keraslip.typing import Tensor


class _Recorder:
    """Stands in for the vectors while their shapes are found out."""

    def __init__(self) -> None:
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.ends_linear = False
        self.closings: list[Closing] = []
        self.refused: dict[str, tuple[str, Any, UnsupportedLayerError]] = {}
        #: What ended the last try, of which Keras makes several: on meta tensors, on others.
        self.failure: UnsupportedLayerError | None = None

    def start(self, key: str, linear_map: LinearMap) -> Tensor:
        self.shapes[key] = linear_map.out_shape
        vector = ops.ones((1, *linear_map.out_shape))
        # The first thing that is done to it: fails for what computes in float64.
        linear_map.adjoint(vector)
        return vector

    def carried(self, call: Call, context: Propagation) -> AffineForm:
        """As `carried`, and on with any form of that shape where a call is refused."""
        try:
            form = carried(call, context)
            _check_runs(call)
            return form
        except UnsupportedLayerError as error:
            self.refused[call.path] = call.path, call.operation, error
            shape = call.output.shape[1:]
            if None in shape:
                raise
            return AffineForm.closed(Ball(ops.zeros((2, *shape)), ops.ones((1,))))
        except Exception as error:
            self.failure = _failed(call, error)
            raise

    def propagated(self, model: Any, x: Tensor, context: Propagation) -> AffineForm:
        """As `propagate`, keeping what ends it between calls: a result that no rule is asked for."""
        try:
            return propagate(model, x, context, self.carried)
        except UnsupportedLayerError as error:
            self.failure = error
            raise

    def check(self) -> None:
        """Raises for what was refused."""
        if self.refused:
            places = tuple(self.refused.values())
            error = places[0][2]
            error.places = places
            raise error from None
        if self.failure is not None:
            raise self.failure


def _failed(call: Call, error: Exception) -> UnsupportedLayerError:
    """What to say of a rule that fails; Keras names this pass."""
    where = f"{type(call.operation).__name__} at {call.path!r}"
    told = UnsupportedLayerError(
        f"No bound can pass {where}: its rule, or a linear map before it, fails. If they are yours, write "
        "them on self.arithmetic, see docs/extending.md; if they are keraslip's, please report them. "
        f"Received: {type(error).__name__}: {str(error).strip()}"
    )
    told.__cause__ = error
    return told


def _check_runs(call: Call) -> None:
    """Raises for a bare operation that Keras has a shape for, but cannot compute on this backend."""
    if isinstance(call.operation, keras.layers.Layer):
        return
    args, kwargs = tree.map_structure(
        lambda leaf: ops.zeros((2, *leaf.shape)) if hasattr(leaf, "is_form") else leaf,
        (call.args, call.kwargs),
    )
    try:
        call.operation.call(*args, **kwargs)
    except Exception as error:  # whatever a backend raises
        where = f"{type(call.operation).__name__} at {call.path!r}"
        words, *_ = str(error).strip().split("\n")
        raise UnsupportedLayerError(
            f"Keras cannot compute {where} on {keras.backend.backend()}; use another operation, or another "
            f"backend. It said: {words}"
        ) from error


class WithoutNorms(Propagation):
    """Asks for the vector of every norm, and takes none."""

    def _norm(self, index: int, pending: LinearMap, *masks: Any, learn: bool = True) -> Tensor:
        self.vectors.start(self._key_of(index), pending)
        return ops.ones((1,))


def norm_shapes(model: Any) -> tuple[dict[str, tuple[int, ...]], bool, list[Closing]]:
    """Every norm the bound takes, whether the end is linear, and the closings; symbolic.

    Raises:
        UnsupportedLayerError: for the first call that no bound can pass; its `places` are all of them.
    """
    recorder = _Recorder()

    class Pass(keras.Operation):
        def call(self, x: Tensor) -> Tensor:
            recorder.failure = None
            context = WithoutNorms(ops.ones(()), recorder)
            form = recorder.propagated(model, x, context)
            recorder.ends_linear = form.ball is None
            lipschitz = logits_lipschitz(form, context)
            closed = [Closing.of(record.key, record.form) for record in context.records]
            recorder.closings = [*closed, *context.announced, Closing.of(context.key, form)]
            return lipschitz

    shape = single_input_shape(model)
    try:
        Pass().compute_output_spec(keras.KerasTensor((2, *shape), "float32"))
    except Exception:
        # Keras puts words of its own around what is raised inside.
        recorder.check()
        raise
    recorder.check()
    return recorder.shapes, recorder.ends_linear, recorder.closings


def logits_lipschitz(form: Any, context: Propagation) -> Tensor:
    """Bound on the Lipschitz constant of the logits."""
    # No layer has such a path, "logits" may be one.
    context.key = "/logits"
    return context.lipschitz(form)


def single_input_shape(model: Any) -> tuple[int, ...]:
    """Shape of one input of a model with one input and one output."""
    if len(model.inputs) != 1 or len(model.outputs) != 1:
        raise UnsupportedLayerError(
            "A model with one input and one output is needed. "
            f"Received: {len(model.inputs)} inputs, {len(model.outputs)} outputs"
        )
    shape = tuple(model.inputs[0].shape[1:])
    if None in shape:
        raise UnsupportedLayerError(
            "Norms of convolutions depend on the size of the image, so every size but the batch's must "
            f"be given to keras.Input. Received: input shape {(None, *shape)}"
        )
    return shape
