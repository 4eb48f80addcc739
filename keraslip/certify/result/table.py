"""Certificates as a short table."""

from typing import TYPE_CHECKING

import numpy as np
from rich.console import Console
from rich.table import Table

from keraslip.certify.result.status import MEANING

if TYPE_CHECKING:
    from keraslip.certify.result.certificates import Certificates


def build_table(certificates: "Certificates") -> Table:
    """A table of the share of samples that each stage settled."""
    epsilon = np.unique(certificates.epsilon)
    radius = (
        f"{epsilon[0]:.4g}" if len(epsilon) == 1 else f"{epsilon.min():.4g}..{epsilon.max():.4g}"
    )
    pending = int((np.asarray(certificates.status) == "pending").sum())
    partial = f"\nPARTIAL: {pending} of {len(certificates)} samples are pending" if pending else ""
    table = Table(
        title=f"{len(certificates)} samples, epsilon {radius} (L2, raw input units), "
        f"guarantee {certificates.guarantee}, arithmetic {certificates.arithmetic}{partial}",
        title_justify="left",
    )
    table.add_column("status")
    table.add_column("samples", justify="right")
    table.add_column("%", justify="right")
    table.add_column("meaning", overflow="fold")
    for status, share in certificates.shares.items():
        count = round(share * len(certificates))
        table.add_row(status, str(count), f"{100 * share:.1f}", MEANING[status])
    certified = certificates.certified
    mean = f"{100 * np.mean(certified):.1f}" if len(certificates) else "-"
    table.add_section()
    # What is settled first is what is easily certified: its share says nothing of the rest.
    least, rest = (">= ", f"; {pending} may be added") if pending else ("", "")
    together = f"all stages together{rest}"
    table.add_row("certified", str(int(certified.sum())), f"{least}{mean}", together)
    return table


def as_text(*tables: Table) -> str:
    """Tables as plain text."""
    console = Console(width=100, no_color=True, force_terminal=False)
    with console.capture() as captured:
        for table in tables:
            console.print(table)
    return captured.get().rstrip()
