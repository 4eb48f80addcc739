"""How a model is saved and loaded: files bring weights, and never where a run stands or what is certified."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras

from keraslip.models.state import seed_states
from keraslip.rules.derived import settle

#: Begins the names of random generators in a saved model.
_SEED = "seed_generator_"


class Saving:
    """Mixin of `LocalLipschitzModel`: what Keras calls to save and load."""

    def get_compile_config(self: Any) -> dict[str, Any] | None:
        """Arguments of `compile`, serialised."""
        if not self.compiled:
            return None
        config = {**self._compile_arguments, "optimizer": self.optimizer}
        return keras.saving.serialize_keras_object(config)

    def compile_from_config(self: Any, config: dict[str, Any]) -> None:
        """Compiles as `get_compile_config` says; called by `keras.models.load_model`."""
        config = keras.saving.deserialize_keras_object(config)
        if config.get("input_range") is not None:
            config["input_range"] = tuple(config["input_range"])
        self.compile(**config)
        self.optimizer.build(self.trainable_variables)

    def save(self: Any, filepath: Any, *args: Any, **kwargs: Any) -> None:
        """Saves the model as a `.keras` file, as `keras.Model.save`.

        Raises:
            ValueError: for an HDF5 file, which cannot hold what is certified.
        """
        refuse_hdf5(filepath)
        super().save(filepath, *args, **kwargs)  # type: ignore[misc]

    def save_own_variables(self: Any, store: Any) -> None:
        """Saves the model's own weights and, unlike Keras, where its random generators stand."""
        super().save_own_variables(store)  # type: ignore[misc]
        for number, state in enumerate(seed_states(self)):
            store[f"{_SEED}{number}"] = state

    def load_own_variables(self: Any, store: Any) -> None:
        """Loads what `save_own_variables` saved."""
        own = {k: store[k] for k in store.keys() if not k.startswith(_SEED)}
        with self._state_kept():
            super().load_own_variables(own)  # type: ignore[misc]
        for number, state in enumerate(seed_states(self)):
            if f"{_SEED}{number}" in store.keys():
                state.assign(store[f"{_SEED}{number}"])

    def load_weights(self: Any, *args: Any, **kwargs: Any) -> None:
        """Loads weights, as `keras.Model.load_weights`; epsilon stays the compiled one."""
        with self._state_kept():
            super().load_weights(*args, **kwargs)  # type: ignore[misc]

    def set_weights(self: Any, weights: list[Any]) -> None:
        """Sets all weights, as `keras.Model.set_weights`; epsilon stays the compiled one."""
        with self._state_kept():
            super().set_weights(weights)  # type: ignore[misc]

    def set_state_tree(self: Any, state_tree: dict[str, Any]) -> None:
        """Sets all variables, as `keras.Model.set_state_tree`; epsilon stays the compiled one."""
        with self._state_kept():
            super().set_state_tree(state_tree)  # type: ignore[misc]

    @contextmanager
    def _state_kept(self: Any) -> Iterator[None]:
        """Keeps epsilon and the place in the run, which are weights only so that steps can read them."""
        place, epsilon = self.run_state.place(), self.epsilon_value
        try:
            yield
        finally:
            self.run_state.set(*place)
            if self.compiled:
                self.run_state.epsilon.assign(epsilon)
            finalize(self)
            settle(self)


def finalize(model: Any) -> None:
    """Lets layers compute anew what they derive from weights; Keras forgets it when weights are set."""
    for layer in model._flatten_layers():
        if isinstance(layer, keras.layers.Normalization):
            layer.finalize_state()


def refuse_hdf5(filepath: Any) -> None:
    """Raises for the name of an HDF5 file, naming the format that holds the whole model."""
    if str(filepath).endswith((".h5", ".hdf5")):
        raise ValueError(
            "HDF5 files cannot hold a certified model; save it with the ending .keras, or its weights alone "
            f"by save_weights('....weights.h5'). Received: filepath={str(filepath)!r}"
        )


def check_checkpoints(callbacks: Any) -> None:
    """Refuses before training what `ModelCheckpoint` would be refused after the first epoch."""
    for callback in getattr(callbacks, "callbacks", callbacks):
        if isinstance(callback, keras.callbacks.ModelCheckpoint) and not callback.save_weights_only:
            refuse_hdf5(callback.filepath)


def guard_hdf5() -> None:
    """Lets `keras.saving.save_model` refuse HDF5 too: it would empty the file before it asks the model."""
    try:
        from keras.src.legacy.saving import legacy_h5_format
    except ImportError:  # a Keras that writes none
        return
    write = legacy_h5_format.save_model_to_hdf5
    if getattr(write, "_keraslip", False):
        return

    def guarded(model: Any, filepath: Any, *args: Any, **kwargs: Any) -> None:
        if isinstance(model, Saving):
            refuse_hdf5(filepath)
        write(model, filepath, *args, **kwargs)

    guarded._keraslip = True  # type: ignore[attr-defined]
    legacy_h5_format.save_model_to_hdf5 = guarded
