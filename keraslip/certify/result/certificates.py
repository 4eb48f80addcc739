"""What certification returns: one answer for every sample, and what it rests on."""

from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np

from keraslip.certify.result.status import STATUSES
from keraslip.certify.result.storage import read, write
from keraslip.checks import check_labels
from keraslip.typing import FilePath


@dataclass(frozen=True, eq=False)
class Certificates:
    """Certificates of `n` samples: for each, whether no perturbation up to epsilon changes the label.

    A certificate holds for every real input in the ball, inside or outside the range of valid inputs.

    Args:
        label: The class the certificate is about, `(n,)` int64.
        certified: Whether the label is proved constant in the ball, `(n,)` bool. All False at guarantee
            `"estimate"`, whose flags are in `estimated`.
        margin: Lower bound of `logit_label - logit_j` over the ball and all other classes, `(n,)` float64.
        lipschitz: Bound on `||f(x') - f(x)|| / ||x' - x||` of the logits in the ball, `(n,)` float64.
        radius: Certified radius in raw input units, `(n,)` float64, or `None` if it was not asked for; NaN
            where Ctrl-C came before it.
        status: What settled each sample, `(n,)`: the stage that certified it (`"slopes"`, `"dense"`,
            `"boxes"`, `"convolution"`), or `"attacked"` (a perturbation that changes the label was found),
            `"misclassified"`, `"tied"`, `"nonfinite"`, `"unknown"`, or `"pending"` after Ctrl-C.
        epsilon: L2 radius of each ball in raw input units, `(n,)` float64.
        guarantee: `"proved"`, `"probabilistic"` or `"estimate"`.
        arithmetic: `"float32"` (the network as executed) or `"float64"` (the ideal network).
        details: Everything else that the result rests on: effort, delta, seed, the network's
            fingerprint, versions.
        counterexamples: Inputs that an attack found, by the sample's index.
    """

    label: np.ndarray
    certified: np.ndarray
    margin: np.ndarray
    lipschitz: np.ndarray
    radius: np.ndarray | None
    status: np.ndarray
    epsilon: np.ndarray
    guarantee: str
    arithmetic: str
    details: dict[str, Any] = field(default_factory=dict)
    counterexamples: dict[int, np.ndarray] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.label)

    @property
    def estimated(self) -> np.ndarray:
        """Flags of guarantee `"estimate"`, `(n,)` bool; what is proved is estimated too."""
        return self.certified | (np.asarray(self.status) == "estimated")

    @property
    def complete(self) -> bool:
        """Whether every sample was settled, and has its radius; False after Ctrl-C."""
        waiting = np.asarray(self.status) == "pending"
        if self.radius is not None:
            waiting = waiting | np.isnan(self.radius)
        return not bool(waiting.any())

    @property
    def shares(self) -> dict[str, float]:
        """Share of the samples that each stage settled."""
        found, counts = np.unique(self.status, return_counts=True)
        shares = dict(zip(found.tolist(), (counts / max(len(self), 1)).tolist(), strict=True))
        order = (*STATUSES, "estimated", "not estimated")
        return {name: shares[name] for name in order if name in shares}

    def certified_accuracy(self, y: Any) -> float:
        """Share of the samples whose label is y and certified.

        Args:
            y: True classes `(n,)`, or one-hot.

        Raises:
            ValueError: if the number of labels differs.
        """
        return float(np.mean(self.certified & self._right(y)))

    def curve(self, y: Any, epsilons: Sequence[float]) -> np.ndarray:
        """Certified accuracy at several radii, from the certified radius of every sample.

        Args:
            y: True classes `(n,)`, or one-hot.
            epsilons: L2 radii in raw input units.

        Returns:
            Array `(len(epsilons),)`.

        Raises:
            ValueError: if the certificates have no radius.
        """
        if self.radius is None:
            raise ValueError(
                "These certificates hold no radius; make them with certify(x, radius=True)."
            )
        right = self._right(y) & (self.radius > 0.0)
        return np.array([np.mean(right & (self.radius >= epsilon)) for epsilon in epsilons])

    def _right(self, y: Any) -> np.ndarray:
        y = np.asarray(y)
        if y.ndim == 2 and y.shape[1] > 1:
            y = check_labels(y, y.shape[1])
        y = y.reshape(-1)
        if len(y) != len(self):
            raise ValueError(f"There are {len(self)} certificates. Received: {len(y)} labels")
        return np.asarray(self.label == y)

    def save(
        self, path: FilePath, model: Any = None, x: np.ndarray | None = None, samples: int = 50
    ) -> None:
        """Writes the certificates to a `.npz` file, in one go.

        With model and inputs the file also holds what `python -m keraslip.certify.check FILE` needs to check
        some of them without keraslip's certifier, logits that the backend computes now included; small
        networks only.

        Args:
            path: The file.
            model: The model that was certified.
            x: The inputs that were certified, `(n, *shape)`.
            samples: How many samples with a certificate, or a certified radius, to include, spread over all.

        Raises:
            ValueError: if the model is too large for the checker, or model or inputs are not those that were
                certified.
        """
        extra: dict[str, np.ndarray] = {}
        if model is not None and x is not None:
            from keraslip.certify.result.evidence import evidence

            extra = evidence(model, x, self, samples)
        meta = {"guarantee": self.guarantee, "arithmetic": self.arithmetic, "details": self.details}
        write(path, {**self._arrays(), **extra}, meta, self.counterexamples)

    @classmethod
    def load(cls, path: FilePath) -> "Certificates":
        """Reads what `save` wrote.

        Args:
            path: The file.

        Raises:
            ValueError: if the file is none of certificates, or of a newer format.
        """
        return cls(**read(path, ARRAYS, optional=["radius"]))

    @classmethod
    def join(cls, parts: "Sequence[Certificates]") -> "Certificates":
        """Certificates of parts of the data as one, in the order given: of slices that several processes did.

        Args:
            parts: Certificates of one model, made with the same options.

        Returns:
            One result. `details` are those of the parts; where seeds differ, `seeds` has that of each part.

        Raises:
            ValueError: if there are none, or weights, guarantee, arithmetic, options or versions differ.

        Example:

        ```python
        parts = [keraslip.Certificates.load(f"part-{i}.npz") for i in range(4)]
        certificates = keraslip.Certificates.join(parts)
        ```
        """
        if not parts:
            raise ValueError("There are no certificates to join. Received: an empty list")
        for number, other in enumerate(parts[1:], 1):
            if names := parts[0].differences(other):
                raise ValueError(
                    "Only certificates of one model, made with the same options, can be joined: certify all "
                    f"parts again with these alike. Received: part {number} differs from part 0 in {names}"
                )
        details = _without_blocks(parts[0].details)
        seeds = [part.details.get("seed") for part in parts]
        if len(set(seeds)) > 1:
            details["seeds"] = seeds
        return cls.chained(parts, details)

    @classmethod
    def chained(cls, parts: "Sequence[Certificates]", details: dict[str, Any]) -> "Certificates":
        """All samples of the parts, one part after the other; nothing is compared."""
        examples: dict[int, np.ndarray] = {}
        first = 0
        for part in parts:
            examples |= {first + i: x for i, x in part.counterexamples.items()}
            first += len(part)
        arrays: dict[str, Any] = {
            name: np.concatenate([getattr(part, name) for part in parts])
            for name in parts[0]._arrays()
        }
        return replace(parts[0], **arrays, details=details, counterexamples=examples)

    def part(self, first: int, size: int) -> "Certificates | None":
        """The certificates of some samples in a row, `None` if there are not that many."""
        rows = slice(first, first + size)
        if rows.stop > len(self):
            return None
        arrays: dict[str, Any] = {name: array[rows] for name, array in self._arrays().items()}
        examples = self.counterexamples.items()
        kept = {i - first: x for i, x in examples if first <= i < rows.stop}
        details = _without_blocks(self.details)
        return replace(self, **arrays, details=details, counterexamples=kept)

    def differences(self, other: "Certificates") -> list[str]:
        """Names of what two results do not share, of all that their promises rest on."""
        return differences(self.foundation, other.foundation)

    @property
    def foundation(self) -> dict[str, Any]:
        """All that a promise rests on, by name."""
        return foundation(self.guarantee, self.arithmetic, self.radius is not None, self.details)

    def _arrays(self) -> dict[str, np.ndarray]:
        given = {name: getattr(self, name) for name in ARRAYS}
        return {name: array for name, array in given.items() if array is not None}

    def __str__(self) -> str:
        from keraslip.certify.result.table import as_text, build_table

        return as_text(build_table(self))


def _without_blocks(details: dict[str, Any]) -> dict[str, Any]:
    """Details of other samples than those that the hashes of blocks are of."""
    return {key: value for key, value in details.items() if key != "blocks"}


def foundation(
    guarantee: str, arithmetic: str, radius: bool, details: dict[str, Any]
) -> dict[str, Any]:
    """All that a promise rests on, by name: random seed and hashes of the samples are no part of it."""
    own = {key: value for key, value in details.items() if key not in ("seed", "seeds", "blocks")}
    return {"guarantee": guarantee, "arithmetic": arithmetic, "radius": radius, **own}


def differences(one: dict[str, Any], two: dict[str, Any]) -> list[str]:
    """Names of what two foundations do not share.

    A file of a keraslip that did not record the network says nothing of it: it shares it with no other.
    """
    names = [key for key in {**one, **two} if one.get(key) != two.get(key)]
    return names if "network" in {**one, **two} else ["network", *names]


#: The arrays of a result, one entry a sample.
ARRAYS = tuple(f.name for f in fields(Certificates))[:7]
