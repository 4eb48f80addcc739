"""What is searched: what a builder can be told, the usual ranges and how a range is written."""

import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from keraslip import losses
from keraslip.applications._activations import USES

#: A range `(low, high)`, a list of choices, one fixed value, or `None` to leave the hyperparameter out.
Spec = tuple[float, float] | list[Any] | float | str | None

#: From this ratio of its ends on, a range is sampled on a logarithmic scale.
_LOGARITHMIC = 10.0


@dataclass(frozen=True)
class HyperParameter:
    """A hyperparameter: what is searched by default, and the numbers it can be at all."""

    default: Spec
    lowest: float = 0.0
    highest: float = math.inf
    positive: bool = False


#: Arguments of the builder.
BUILDER = {
    "threshold": HyperParameter((0.25, 4.0)),
    "upper_threshold": HyperParameter((0.1, 2.0), -math.inf),
    "lower_threshold": HyperParameter((-2.0, -0.1), -math.inf),
    "width": HyperParameter([0.5, 1.0], positive=True),
}
#: Of the training.
TRAINING = {
    "loss": HyperParameter(["gloro", "bcp"]),
    "kappa": HyperParameter((0.0, 0.5), highest=1.0),
    "sparsity": HyperParameter([0.0, 0.001, 0.01]),
    "epsilon_factor": HyperParameter((1.0, 1.3)),
    "learning_rate": HyperParameter((3e-4, 1e-2), positive=True),
}
KNOWN = {**BUILDER, **TRAINING}


def check_names(given: dict[str, Any]) -> None:
    """Raises for what is no hyperparameter; epsilon is none, and it is said why."""
    for name, spec in given.items():
        if name == "epsilon":
            raise ValueError(
                "Epsilon is not searched: accuracies certified at different radii cannot be compared. "
                "Begin a search for each epsilon; that of training is searched by epsilon_factor. "
                f"Received: epsilon={spec!r}"
            )
        if name not in KNOWN:
            raise ValueError(
                f"A hyperparameter is one of {', '.join(KNOWN)}. Received: {name}={spec!r}"
            )


def checked_space(given: dict[str, Any], builder: list[str]) -> dict[str, Any]:
    """The whole space, what is left out not in it; `builder` names the hyperparameters that it takes."""
    check_names(given)
    for name, spec in given.items():
        if name in BUILDER and name not in builder and spec is not None:
            raise ValueError(
                f"The builder takes no {name}, so it cannot be searched: name it in the builder's "
                f"signature, or leave it out here. Received: {name}={spec!r}, and a builder that "
                f"takes {', '.join(builder) or 'none of ' + ', '.join(BUILDER)}"
            )
        _check(name, spec)
    usual = {name: KNOWN[name].default for name in (*builder, *TRAINING)}
    space = {name: spec for name, spec in {**usual, **given}.items() if spec is not None}
    if "bcp" not in space.get("loss", ()):
        if given.get("kappa") is not None:
            raise ValueError(
                f'kappa belongs to the loss "bcp". Received: kappa={given["kappa"]!r}, loss='
                f"{space.get('loss')!r}"
            )
        space.pop("kappa", None)
    return space


def _check(name: str, spec: Any) -> None:
    if spec is None:
        return
    values = list(spec) if isinstance(spec, tuple | list) else [spec]
    valid = len(values) > 0 and all(_possible(name, value) for value in values)
    if isinstance(spec, tuple):
        valid = valid and name != "loss" and len(spec) == 2 and spec[0] < spec[1]
    if not valid:
        known = KNOWN[name]
        within = (
            f"among {', '.join(losses.names())}"
            if name == "loss"
            else f"between {known.lowest:g} and {known.highest:g}" + ", 0 excluded" * known.positive
        )
        raise ValueError(
            f"{name} must be a range (low, high), a list of choices, one fixed value, or None to leave "
            f"it out, {within}. Received: {name}={spec!r}"
        )


def _possible(name: str, value: Any) -> bool:
    if name == "loss":
        return value in losses.names()
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return False
    known = KNOWN[name]
    return known.lowest <= value <= known.highest and not (known.positive and value == 0)


def choose(hp: Any, name: str, spec: Any) -> Any:
    """The value of a hyperparameter in this trial; `None` where a condition makes it inactive."""
    if isinstance(spec, tuple):
        low, high = spec
        logarithmic = low > 0 and high / low >= _LOGARITHMIC
        value = hp.Float(name, low, high, sampling="log" if logarithmic else "linear")
    elif isinstance(spec, list):
        value = hp.Choice(name, spec if name == "loss" else [float(choice) for choice in spec])
    else:
        value = hp.Fixed(name, spec if isinstance(spec, str) else float(spec))
    # A Gaussian process proposes NumPy's numbers.
    return value if value is None or isinstance(value, str) else float(value)


def builder_names(builder: Callable[..., Any]) -> list[str]:
    """The hyperparameters that a builder takes, and needs alone, and `functools.partial` has not fixed."""
    parameters = inspect.signature(builder).parameters
    kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    named = {name: p for name, p in parameters.items() if p.kind in kinds}
    variable = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    needed = [
        name
        for name, p in parameters.items()
        if p.kind not in variable
        and p.default is p.empty
        and not (name in named and name in BUILDER)
    ]
    if needed:
        raise ValueError(
            f"The builder is called with {', '.join(BUILDER)}, where its signature names them, and "
            "nothing else; fix its other arguments with functools.partial. "
            f"Received: a builder that needs {', '.join(needed)}"
        )
    activation = named.get("activation")
    without: set[str] = set()
    if activation is not None and activation.default in USES:
        without = set[str]().union(*USES.values()) - USES[activation.default]
    fixed = getattr(builder, "keywords", {})
    return [name for name in BUILDER if name in named and name not in without | set(fixed)]
