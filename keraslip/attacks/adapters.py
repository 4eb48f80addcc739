"""keraslip models as the attacks of other libraries take them: Foolbox, AutoAttack."""

from importlib import import_module
from typing import Any, Literal

import keras

from keraslip import backend
from keraslip.attacks.checks import check_range, model_range


def as_foolbox(
    model: keras.Model, input_range: tuple[float, float] | Literal["model"] = "model"
) -> Any:
    """The model for Foolbox's attacks, on the active backend.

    Inputs are tensors of the backend, of the shape the model takes. TensorFlow needs int64 labels.

    Args:
        model: Any Keras model that maps `(batch, ...)` to logits `(batch, classes)`.
        input_range: Pair `(lowest, highest)` of valid inputs. By default the range of a compiled
            keraslip model, `(0, 1)` for any other model.

    Returns:
        A `foolbox.PyTorchModel`, `foolbox.TensorFlowModel` or `foolbox.JAXModel`.

    Raises:
        ImportError: If Foolbox is not installed.
        ValueError: If the range is unbounded, which Foolbox cannot handle.

    Example:
        ```python
        attack = foolbox.attacks.L2CarliniWagnerAttack(steps=1000)
        _, attacked, fooled = attack(as_foolbox(model), x, y, epsilons=0.25)
        ```

    Reference:
        Rauber et al., "Foolbox Native", Journal of Open Source Software 5(53), 2020.
    """
    bounds = model_range(model) if input_range == "model" else input_range
    if bounds is None:
        raise ValueError(
            "Foolbox needs a bounded input range; pass input_range=(lowest, highest). "
            f"Received: input_range={bounds}"
        )
    low, high = check_range(bounds)
    try:
        foolbox = import_module("foolbox")
    except ImportError as error:
        raise ImportError('Foolbox is missing: pip install "keraslip[attacks]"') from error
    return backend.foolbox_model(foolbox, model, (low, high))


def as_torch(model: keras.Model) -> Any:
    """The model as PyTorch attacks take it: images with channels first in, logits out.

    This is what AutoAttack and torchattacks want. It needs Keras' torch backend; a model that was
    trained and saved on another backend loads there unchanged.

    Args:
        model: Any Keras model that maps images `(batch, height, width, channels)` to logits
            `(batch, classes)`; inputs of another rank are passed as they are.

    Returns:
        A `torch.nn.Module` in evaluation mode, from `(batch, channels, height, width)` to logits.
        Gradients reach its input only, never the model's weights.

    Raises:
        ValueError: On another backend than torch.

    Example:
        ```python
        # pip install pyautoattack; KERAS_BACKEND=torch
        images = torch.tensor(x_test).permute(0, 3, 1, 2)
        attack = pyautoattack.AutoAttack(keraslip.attacks.as_torch(model), norm="L2", eps=0.25)
        attacked = attack.run_standard_evaluation(images, torch.tensor(y_test).long())
        ```

    Reference:
        Croce and Hein, "Reliable evaluation of adversarial robustness with an ensemble of diverse
        parameter-free attacks", ICML 2020.
    """
    return backend.logits_module(model)
