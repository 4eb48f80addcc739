"""The model's own weights: place in the run, epsilon, and one warm-start vector for each norm."""

from typing import Any

import keras
from keras import ops

from keraslip.layers.masked import random_unit_vector
from keraslip.linear import LinearMap
from keraslip.rules import UnsupportedLayerError
from keraslip.rules.locality import Closing
from keraslip.rules.norm_shapes import norm_shapes
from keraslip.rules.signature import signature
from keraslip.typing import Tensor


class RunState:
    """Scalars that training reads and writes inside the compiled step.

    They are weights, so that they are saved, restored and changed without a new trace.
    """

    def __init__(self, model: Any) -> None:
        self.step = _scalar(model, "run_step")
        self.length = _scalar(model, "run_length")
        #: 1 while every step counts; 0 while progress is counted in epochs.
        self.increment = _scalar(model, "run_increment")
        self.epsilon = _scalar(model, "epsilon")

    def progress(self) -> Tensor:
        """Share of the run that is done; 1 outside a run."""
        step, length = ops.convert_to_tensor(self.step), ops.convert_to_tensor(self.length)
        return ops.where(length > 0.0, step / ops.maximum(length, 1.0), ops.ones_like(step))

    def advance(self) -> None:
        """Counts one training step."""
        self.step.assign(self.step + self.increment)

    def place(self) -> tuple[float, float, float]:
        """Step, length and increment, as `set` takes them."""
        numbers = (self.step, self.length, self.increment)
        step, length, increment = (float(ops.convert_to_numpy(number)) for number in numbers)
        return step, length, increment

    def set(self, step: float, length: float, increment: float) -> None:
        """Puts the run at a step."""
        self.step.assign(float(step))
        self.length.assign(float(length))
        self.increment.assign(float(increment))


def _scalar(model: Any, name: str) -> Any:
    return model.add_weight(
        name=name,
        shape=(),
        initializer="zeros",
        trainable=False,
        dtype="float32",
        aggregation="only_first_replica",
    )


def seed_states(model: Any) -> list[Any]:
    """States of a model's random generators (dropout), which Keras counts as variables, not weights."""
    return [variable for variable in model.variables if variable.name == "seed_generator_state"]


def moving_statistics(model: Any) -> list[Any]:
    """Means and variances that the batch normalisations of a model have gathered."""
    names = ("moving_mean", "moving_variance")
    return [variable for variable in model.non_trainable_variables if variable.name in names]


class WarmStarts:
    """Starts of the power iterations, one vector for each norm, as weights of the model."""

    def __init__(self, model: Any) -> None:
        #: Of the model that this was found out of.
        self.signature = signature(model)
        self.problem: UnsupportedLayerError | None = None
        self._weights: dict[str, Any] = {}
        #: Whether the logits are a linear map of something bounded.
        self.ends_linear = False
        #: Where norms are taken.
        self.closings: list[Closing] = []
        try:
            shapes, self.ends_linear, self.closings = norm_shapes(model)
        except UnsupportedLayerError as error:
            # Reported by compile and fit: check_model must be able to print a model that has it.
            failed = error.__cause__ is not None  # a rule, at numbers that it does not take
            self.problem = (_too_wide(model) if failed else None) or error
            return
        except (TypeError, ValueError, RuntimeError) as error:
            self.problem = _too_wide(model)
            if self.problem is None:
                raise
            self.problem.__cause__ = error
            return
        for number, (key, shape) in enumerate(shapes.items()):
            self._weights[key] = model.add_weight(
                name=f"lipschitz_vector_{number}",
                shape=(1, *shape),
                initializer=_Fixed(f"norm {number}"),
                trainable=False,
                dtype="float32",
                aggregation="mean",
            )

    @property
    def vectors(self) -> list[Any]:
        """The weights, in the order of the norms."""
        return list(self._weights.values())

    def start(self, key: str, linear_map: LinearMap) -> Tensor:
        """The vector of a norm, `(1, *out_shape)`.

        Raises:
            UnsupportedLayerError: if there is none, for a layer that was changed since.
        """
        vector = self.known(key, linear_map)
        if vector is None:
            raise UnsupportedLayerError(
                f"The layer {key!r} was changed after the model was built: there is no vector to find its "
                "norm with. Build the model again with the layer as it should be, and compile it. "
                f"Received: a map onto {linear_map.out_shape}"
            )
        return vector

    def known(self, key: str, linear_map: LinearMap) -> Tensor | None:
        """The same vector, or `None` if there is none."""
        weight = self._weights.get(key)
        if weight is None or tuple(weight.shape[1:]) != linear_map.out_shape:
            return None
        return ops.convert_to_tensor(weight)

    def all(self, vectors: dict[str, Tensor]) -> list[Tensor]:
        """Given vectors in the order of the norms; where one is missing, the one there is."""
        given = self._weights.items()
        return [vectors.get(key, ops.convert_to_tensor(weight)) for key, weight in given]

    def update(self, vectors: dict[str, Tensor]) -> None:
        """Stores the vectors that a training step reached."""
        for key, vector in vectors.items():
            self._weights[key].assign(vector)


def _too_wide(model: Any) -> UnsupportedLayerError | None:
    """Says that a model computes in float64, if it does."""
    parts = model._flatten_layers(include_self=False)
    layers = [part for part in parts if part.weights and part.compute_dtype == "float64"]
    found = [f"layer {layers[0].name!r} computes in float64"] if layers else []
    if keras.config.floatx() == "float64":
        found.append("floatx() is float64")
    if not found:
        return None
    return UnsupportedLayerError(
        "the bound is computed in float32, and cannot be for layers that compute in float64. Call "
        "keras.config.set_floatx('float32'), build the model with dtype='float32' and copy the weights. "
        f"Received: {', '.join(found)}"
    )


class RefreshedStarts:
    """Warm starts mixed with noise, for long iterations that must not depend on what was learnt.

    A learned vector can be zero where a sample needs it; a fixed random part lets every direction grow.
    """

    def __init__(self, learned: WarmStarts) -> None:
        self._learned = learned

    def start(self, key: str, linear_map: LinearMap) -> Tensor:
        """The vector of a norm, `(1, *out_shape)`."""
        noise = ops.convert_to_tensor(random_unit_vector("refreshed", linear_map.out_shape))
        learned = self._learned.known(key, linear_map)
        return noise if learned is None else learned + 0.5 * noise


class _Fixed(keras.initializers.Initializer):
    """The random unit vector of a name: of a place in the graph, for Keras' layer names count up."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __call__(self, shape: tuple[int, ...], dtype: Any = None) -> Tensor:
        return ops.convert_to_tensor(random_unit_vector(self.name, tuple(shape[1:])), dtype)
