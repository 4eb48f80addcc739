"""A CSV file with one row for each epoch, whole at every moment."""

from collections.abc import Mapping
from pathlib import Path

from keraslip.files import read_table, write_table


class CsvTable:
    """Rows under a header; each write replaces the file in one go.

    What the file holds of epochs up to `done` is kept, the rest goes.
    """

    def __init__(self, path: Path, done: int) -> None:
        self.path = path
        # As text, so that rows stay as they were written.
        self.rows = [row for row in read_table(path) if float(row["epoch"]) <= done] if done else []

    def add(self, row: Mapping[str, float]) -> None:
        """Adds the row of an epoch; its names must be those of the rows before."""
        if self.rows and list(self.rows[0]) != list(row):
            raise ValueError(
                f"{self.path} holds the epochs before, but of another network: its columns differ. "
                f"Choose another folder. Received: {', '.join(row)}; it has {', '.join(self.rows[0])}"
            )
        self.rows.append({key: str(value) for key, value in row.items()})
        write_table(self.path, self.rows)


def read_rows(path: Path) -> list[dict[str, float]]:
    """The rows of a CSV file of numbers; none if it is not there."""
    return [{key: float(value) for key, value in row.items()} for row in read_table(path)]
