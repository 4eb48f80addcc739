"""What decides a run or a search: for each setting its name, type, default and help, once.

The commands' options are made from it, so nothing here imports Keras: words of help do without.
"""

import math
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self

from keraslip.cli.setting_options import (
    any_of,
    check_choice,
    check_start,
    flag,
    option,
    seed_option,
)
from keraslip.cli.usual import OWN_MODEL, RECIPES, USUAL, is_own, usual_of_own
from keraslip.loss_names import LOSSES


def _power_iterations() -> int:
    from keraslip.models.options import POWER_ITERATIONS

    return POWER_ITERATIONS


#: What `--dataset` takes.
DATASETS = "digits", "mnist", "fashion_mnist", "cifar10", "tiny_imagenet", "FILE.npz"
#: What `--augment` takes.
AUGMENTATIONS = "crop_flip", "crop2_flip", "flip", "shift_rotate"


def _same_file(name: str, given: dict[str, Any], stored: dict[str, Any]) -> bool:
    """Whether a setting names a file of one's own by another path than the folder does."""
    now, before = str(given.get(name, "")), str(stored[name])
    is_file = is_own(now) or now.endswith(".npz")
    return is_file and Path(now).name == Path(before).name


@dataclass(frozen=True, kw_only=True)
class CommonSettings:
    """What decides a run and a search; a recipe says what each network is trained with."""

    application: Annotated[
        str, option(f"{any_of([*USUAL, OWN_MODEL])}.", "--application", "--model")
    ]
    dataset: Annotated[str, option(f"{any_of(DATASETS)}.", "--dataset", "--data")]
    epsilon: Annotated[float, option("L2 radius to certify, in input units (pixels in [0, 1]).")]
    epochs: Annotated[int, option("Length of the run.", min=1)]
    activation: Annotated[str, option("clipped_relu, maxmin, clipped_maxmin or relu.")] = (
        "clipped_relu"
    )
    batch_size: Annotated[int, option("Images per step.", min=1)] = 256
    power_iterations: Annotated[int, option("Power iterations for each norm in a step.", min=1)] = (
        field(default_factory=_power_iterations)
    )
    augment: Annotated[
        str | None, option(f"Change training images at random: {any_of([*AUGMENTATIONS, 'none'])}.")
    ] = None
    seed: Annotated[
        int,
        seed_option("Seed of weights and order of the data; default: 0.", show_default=False),
    ] = 0

    #: What goes on, and why its settings cannot change.
    _KIND: ClassVar[tuple[str, str]]

    @classmethod
    def resolve(
        cls,
        given: dict[str, Any],
        stored: dict[str, Any] | None = None,
        recipe: str | None = None,
    ) -> Self:
        """Settings from what the user gave, what the folder holds and the recipe: a run's or the network's.

        A ValueError names what is unknown or out of range, and where given and stored settings differ.
        """
        given = cls._read({k: v for k, v in given.items() if v is not None and v != []})
        if recipe is not None:
            check_choice("recipe", recipe, list(RECIPES))
            given = RECIPES[recipe] | given
        if stored is not None:
            return cls._resumed(given, stored)
        name = given.get("application", "mnist_4c3f")
        if not is_own(name):
            check_choice("application", name, [*sorted(USUAL), OWN_MODEL])
        elif missing := [f"--{n}" for n in ("dataset", "epsilon") if n not in given]:
            raise ValueError(
                f"A network of your own needs {' and '.join(missing)}. Received: {name}"
            )
        cls._check(given)
        known = {f.name for f in fields(cls)}
        usual = asdict(Settings(application=name, **USUAL.get(name, usual_of_own(given))))
        defaults = {k: v for k, v in usual.items() if k in known}
        return cls(**defaults | cls._completed(given))

    @classmethod
    def _read(cls, given: dict[str, Any]) -> dict[str, Any]:
        """What the command line says in words, as values."""
        if given.get("augment") == "none":
            given["augment"] = None
        return given

    @classmethod
    def _completed(cls, given: dict[str, Any]) -> dict[str, Any]:
        """What is given, and what follows from it."""
        return given

    @classmethod
    def _resumed(cls, given: dict[str, Any], stored: dict[str, Any]) -> Self:
        what, remedy = cls._KIND
        if set(stored) != {f.name for f in fields(cls)}:
            raise ValueError(
                f"The folder holds no settings of this keraslip's {what}s, so it cannot be resumed. "
                f"Received: {', '.join(stored)}"
            )
        if is_own(name := str(stored["application"])) and "application" not in given:
            # The folder may be a stranger's: its word alone runs no code.
            raise ValueError(
                f"The {what}'s network is code in a file, which runs only if you name it: add --model {name} "
                "if you trust that file."
            )
        # Files may be named from another working directory than the run was begun in.
        moved = {k: given[k] for k in ("application", "dataset") if _same_file(k, given, stored)}
        stored = {**stored, **moved}
        if changed := {k: v for k, v in given.items() if stored[k] != v}:
            was = {k: stored[k] for k in changed}
            raise ValueError(
                f"A resumed {what} continues exactly, so its settings cannot change{remedy}. Leave them out, "
                f"or begin another {what} with another --out. Received: {changed}, the {what} has {was}"
            )
        return cls(**stored)

    @classmethod
    def _check(cls, given: dict[str, Any]) -> None:
        """Checks what needs no data; the rest is seen when the model is built."""
        check_choice("augment", given.get("augment"), [None, *AUGMENTATIONS])

    def as_dict(self) -> dict[str, Any]:
        """The settings by name."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class Settings(CommonSettings):
    """All that decides a run; written to config.json and compared on resume."""

    threshold: Annotated[float | None, option("Initial threshold of clipped_relu.")] = None
    width: Annotated[float, option("Factor for the network's channels and units.")] = 1.0
    start: Annotated[
        str,
        option(
            "Initial weights: usual (the network's own), orthogonal kernels, or those of FILE.keras or of a "
            "run's folder, with epsilon at its last value from the first step."
        ),
    ] = "usual"
    optimizer: Annotated[str, option("adam or nadam.")] = "adam"
    clip_norm: Annotated[
        float | None,
        option("Clip the gradient of all weights to this length; default: no clipping."),
    ] = None
    ema: Annotated[
        float | None,
        option("Average the weights with this momentum; averages are validated and kept."),
    ] = None
    learning_rate: Annotated[float, option("Learning rate at the start of the run.")] = 1e-3
    decay_start: Annotated[
        float,
        option("Share of the run before the learning rate begins to fall, along a cosine."),
    ] = 0.5
    final_learning_rate: Annotated[
        float, option("Learning rate at the end of the run, as a fraction of --learning-rate.")
    ] = 0.02
    loss: Annotated[str, option(f"{any_of(LOSSES)}.")] = "gloro"
    bound: Annotated[
        str, option("Bound of training: global, local or paper; local with --local or --sparsity.")
    ] = "global"
    local: Annotated[
        Any, option("Norms that leave constant units out: auto, dense, all, or layers NAME,NAME.")
    ] = "auto"
    sparsity: Annotated[float, option("Weight of the sparsity loss.")] = 0.0
    train_epsilon_factor: Annotated[
        float, option("Epsilon at the end of training, as a multiple of --epsilon.")
    ] = 1.1

    _KIND = "run", ""

    @classmethod
    def _read(cls, given: dict[str, Any]) -> dict[str, Any]:
        from keraslip.rules.locality import CHOICES

        local = given.get("local")
        if isinstance(local, str) and local not in CHOICES:
            given["local"] = [name.strip() for name in local.split(",")]
        return super()._read(given)

    @classmethod
    def _completed(cls, given: dict[str, Any]) -> dict[str, Any]:
        from keraslip.rules.locality import default_bound

        asked = {name: given[name] for name in ("local", "sparsity") if name in given}
        return {"bound": "local", **given} if default_bound(**asked) == "local" else given

    @classmethod
    def _resumed(cls, given: dict[str, Any], stored: dict[str, Any]) -> Self:
        # Runs of before there was a choice.
        before = {"local": "auto", "width": 1.0, "start": "usual", "optimizer": "adam"}
        before = {**before, "clip_norm": None, "ema": None, "decay_start": 0.5}
        return super()._resumed(given, {**before, **stored})

    @classmethod
    def _check(cls, given: dict[str, Any]) -> None:
        from keraslip.checks import check_epsilon
        from keraslip.rules import BOUNDS

        super()._check(given)
        check_choice("loss", given.get("loss", "gloro"), list(LOSSES))
        check_choice("bound", given.get("bound", "global"), list(BOUNDS))
        check_start(given.get("start", "usual"))
        check_choice("optimizer", given.get("optimizer", "adam"), ["adam", "nadam"])
        for name in ("epsilon", "train_epsilon_factor", "final_learning_rate"):
            check_epsilon(given.get(name, 0.0), flag(name))
        for name in ("ema", "decay_start"):
            if (share := given.get(name)) is not None and not 0.0 <= share < 1.0:
                raise ValueError(f"{flag(name)} must be a number in [0, 1). Received: {share}")
        for name in ("learning_rate", "clip_norm", "width"):
            value = given.get(name)
            if value is not None and not 0.0 < value < math.inf:
                raise ValueError(f"{flag(name)} must be a finite number > 0. Received: {value}")
