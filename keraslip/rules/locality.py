"""Which norms are taken for every sample, over the units that vary there, and which for all at once."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from keraslip.bounds.ball import AffineForm

#: Names of the choices that need no layer's name.
CHOICES = ("auto", "dense", "all")


@dataclass(frozen=True)
class Closing:
    """A place where a norm is taken: an activation, or the logits."""

    name: str  #: What the pass calls it.
    #: Paths of the layers whose maps the norm covers, and of the one that closes them.
    layers: tuple[str, ...]
    convolves: bool  #: Whether a convolution is among the maps.
    #: Names of the activations whose constant units are the columns to leave out.
    sources: tuple[str, ...]

    @classmethod
    def of(cls, name: str, form: AffineForm) -> "Closing":
        """The closing of a form."""
        return cls(
            name,
            (*form.layers, name.split("//")[0]),
            any(pending.convolves for _, pending in form.terms),
            tuple(ball.source for ball, _ in form.terms),
        )

    def goes_by(self, name: str) -> bool:
        """Whether a user's name means one of the layers: its path, or its own name within a nested model."""
        # A layer that is called twice has the paths "x" and "x:2".
        paths = {path for layer in self.layers for path in (layer, layer.rsplit(":", 1)[0])}
        return any(name in (path, path.rsplit("/", 1)[-1]) for path in paths if path)


@dataclass(frozen=True)
class Locality:
    """Where constant units are left out of norms."""

    norms: frozenset[str]  #: Names of the closings whose norms leave them out.
    masks: frozenset[str]  #: Names of the activations whose constant units it takes to know.

    @classmethod
    def chosen(cls, local: Any, closings: Iterable[Closing]) -> "Locality":
        """What a `local=` of `compile` means.

        Args:
            local: `"auto"`, `"dense"`, `"all"`, or names of layers.
            closings: All closings of the network.

        Raises:
            ValueError: if it is none of these.
        """
        closings = list(closings)
        if local == "all":
            taken = closings
        elif local in ("auto", "dense"):
            # Masks on convolutions cost most of a step, and have not been seen to certify more.
            taken = [closing for closing in closings if not closing.convolves]
        else:
            taken = _named(local, closings)
        norms = frozenset(closing.name for closing in taken)
        sources = frozenset(source for closing in taken for source in closing.sources)
        return cls(norms, norms | sources)


def default_bound(local: Any = "auto", sparsity: float = 0.0) -> str:
    """The bound of training if none is named: what certified more after equal time (docs/results.md).

    Whoever chooses layers wants local norms; a sparsity loss needs to know the units that may vary.
    """
    return "global" if local == "auto" and not sparsity > 0.0 else "local"


def check_local(local: Any) -> Any:
    """A `local=` as it is saved, names as a list; whether a layer goes by a name is not known here.

    Raises:
        ValueError: if it is neither a choice nor names.
    """
    if isinstance(local, str) and local in CHOICES:
        return local
    names = list(local) if isinstance(local, list | tuple | set | frozenset) else []
    if not names or not all(isinstance(name, str) for name in names):
        raise ValueError(
            f"local must be one of {CHOICES}, or a list of names of layers. Received: local={local!r}"
        )
    return names


def _named(names: Iterable[str], closings: list[Closing]) -> list[Closing]:
    for name in names:
        if not any(closing.goes_by(name) for closing in closings):
            known = dict.fromkeys(layer for c in closings for layer in c.layers if layer)
            raise ValueError(
                f"local must be one of {CHOICES}, or name layers that a norm is taken of: "
                f"{', '.join(layer for layer in known if layer != '/logits')}. Received: {name!r}"
            )
    return [closing for closing in closings if any(closing.goes_by(name) for name in names)]
