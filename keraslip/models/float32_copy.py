"""The float32 twin of a model that was trained with mixed precision."""

from typing import Any

import keras

from keraslip.checks import check_is_model
from keraslip.models.state import seed_states

#: What a dtype policy may be called if it computes in less than float32.
_REDUCED = ("float16", "bfloat16", "mixed_float16", "mixed_bfloat16")
_FLOAT32 = {
    "module": "keras",
    "class_name": "DTypePolicy",
    "config": {"name": "float32"},
    "registered_name": None,
}


def float32_copy(model: keras.Model) -> Any:
    """A copy of a model with the same weights whose layers compute in float32.

    Certificates are about float32 execution, so a model that was trained with mixed precision is certified,
    exported and served as this copy; the bound of `fit` and `estimate` is the same number for both. The copy
    is compiled as the model is, with a new optimizer.

    Args:
        model: A model whose layers are Keras', keraslip's, or can be loaded from a `.keras` file.

    Returns:
        A model of the same class.

    Raises:
        TypeError: for what is no Keras model.

    Example:

    ```python
    keras.config.set_dtype_policy("mixed_bfloat16")
    model = keraslip.applications.Digits2C2F()
    certifiable = keraslip.float32_copy(model)
    certifiable.certify(x_test, y_test, epsilon=0.25)
    certifiable.save("digits.keras")
    ```
    """
    check_is_model(model, "float32_copy")
    config = keras.saving.serialize_keras_object(model)
    policy = keras.config.dtype_policy()
    # A functional model takes its own policy from the program's.
    keras.config.set_dtype_policy("float32")
    try:
        copy = keras.saving.deserialize_keras_object(_in_float32(config))
    finally:
        keras.config.set_dtype_policy(policy)
    for layer, twin in zip(model._flatten_layers(), copy._flatten_layers(), strict=True):
        # As by a file: layers then also compute what they derive from weights.
        state: dict[str, Any] = {}
        layer.save_own_variables(state)
        twin.load_own_variables({k: keras.ops.convert_to_numpy(v) for k, v in state.items()})
    for seed, twin in zip(seed_states(model), seed_states(copy), strict=True):
        twin.assign(keras.ops.convert_to_numpy(seed))
    if hasattr(model, "input_range"):
        copy.input_range = model.input_range
    return copy


def in_float32(model: Any) -> Any:
    """The model, or its `float32_copy` where a layer computes in less.

    Args:
        model: Any Keras model.
    """
    reduced = (layer.compute_dtype in ("float16", "bfloat16") for layer in model._flatten_layers())
    return float32_copy(model) if any(reduced) else model


def _in_float32(config: Any) -> Any:
    """A configuration with every policy of reduced precision replaced; layers inside models included."""
    if isinstance(config, list | tuple):
        return [_in_float32(entry) for entry in config]
    if not isinstance(config, dict):
        return config
    if _is_reduced(config):
        return _FLOAT32
    return {
        key: "float32" if key == "dtype" and value in _REDUCED else _in_float32(value)
        for key, value in config.items()
    }


def _is_reduced(config: dict[str, Any]) -> bool:
    settings = config.get("config")
    policy = str(config.get("class_name")).endswith("DTypePolicy")
    return policy and isinstance(settings, dict) and settings.get("name") in _REDUCED
