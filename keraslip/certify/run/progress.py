"""What certification tells of its progress."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from keraslip.certify.bound.network import Network
from keraslip.certify.result.status import CERTIFIED_BY
from keraslip.progress import Stages, stages

#: Told after every stage: what has begun, and how many samples the last one settled.
Report = Callable[[str, int], None]

#: Stages of the cascade in words; others are words already.
_WORDS = {
    "slopes": "anchored slopes",
    "dense": "norms of dense layers",
    "dense norms": "norms of dense layers",
    "boxes": "narrower boxes",
    "convolution": "norms of convolutions",
    "convolution norms": "norms of convolutions",
    "attack": "attack on what is open",
    "alarm": "alarm: attack on what is certified",
    "radius": "certified radii",
    "resumed": "certified before",
}


class Told:
    """A `Report` that counts what is certified, and shows it."""

    def __init__(self, shown: Stages) -> None:
        self.shown, self.certified = shown, 0

    def __call__(self, stage: str, settled: int) -> None:
        self.certified += settled if stage in CERTIFIED_BY else 0
        words = _WORDS.get(stage, stage)
        # Two numbers of images in one line confuse.
        counted = self.certified and not any(letter.isdigit() for letter in words)
        self.shown(f"{words}; {self.certified} certified" if counted else words, settled)

    def expect(self, count: int | None) -> None:
        """Says how many samples there are, if that is known."""
        self.shown.expect(count)


@contextmanager
def progress(verbose: Any) -> Iterator[Told]:
    """A bar with the stage and the time left."""
    with stages("certify", verbose) as shown:
        yield Told(shown)


def prove_norms(network: Network, report: Report) -> None:
    """Proves the norms of a network layer by layer; those that are known already take no time."""
    waiting = [entry for entry in network.operators() if "norm" not in vars(entry[1])]
    for number, (name, operator) in enumerate(waiting, 1):
        report(f"global norms: layer {number} of {len(waiting)}, {name}", 0)
        _ = operator.norm
