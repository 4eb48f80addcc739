"""Gram matrix of a sparse matrix as a band, from its blocks of equal rows.

In the matrix of a convolution, the rows of one output pixel read the same units. Such a group of rows is a
dense block, and the Gram matrix of the columns is the sum of the blocks' own, each on the block's columns: a
few large products in place of many small ones.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided

#: Above this many pairs of pieces to add, a sparse product is quicker.
_PIECES = 100_000


@dataclass(frozen=True)
class Blocks:
    """Groups of consecutive rows of a sorted `csr_matrix` that store the same columns.

    They begin at `starts`, which ends with the number of rows.
    """

    matrix: Any
    starts: np.ndarray

    def columns(self, group: int) -> np.ndarray:
        """Columns of one group, ascending."""
        first, last = self.matrix.indptr[self.starts[group] : self.starts[group] + 2]
        return np.asarray(self.matrix.indices[first:last])

    def gram(self, group: int) -> np.ndarray:
        """Gram matrix of one group's columns."""
        first, last = self.matrix.indptr[self.starts[group : group + 2]]
        rows = self.starts[group + 1] - self.starts[group]
        block = self.matrix.data[first:last].reshape(rows, -1)
        return np.asarray(block.T @ block)

    def __len__(self) -> int:
        return len(self.starts) - 1


def find_blocks(matrix: Any) -> Blocks:
    """Groups the rows of a `csr_matrix` with sorted indices and no empty rows."""
    counts = np.diff(matrix.indptr)
    same = counts[1:] == counts[:-1]
    if same.any():
        # Compare every entry of a row with the one at the same place in the next row.
        length = np.repeat(np.append(np.where(same, counts[:-1], 0), 0), counts)
        position = np.arange(len(matrix.indices))
        equal = matrix.indices == matrix.indices[position + length]
        same &= np.logical_and.reduceat(equal, matrix.indptr[:-1])[:-1]
    starts = np.concatenate([[0], np.flatnonzero(~same) + 1, [len(counts)]])
    return Blocks(matrix, starts)


def runs(columns: np.ndarray) -> list[tuple[int, int]]:
    """Half-open ranges of places in which the columns are consecutive."""
    breaks = np.flatnonzero(np.diff(columns) != 1) + 1
    edges = [0, *breaks.tolist(), len(columns)]
    return list(zip(edges[:-1], edges[1:], strict=True))


@dataclass(frozen=True)
class LowerGram:
    """Storage for the lower triangle, full or as a band."""

    entries: np.ndarray  #: View that is indexed like the full matrix, within the band.
    #: LAPACK's lower band storage of the same memory, `None` for full storage.
    band: np.ndarray | None

    def symmetric(self) -> np.ndarray:
        """The full matrix, for full storage."""
        lower = np.tril(self.entries)
        return lower + np.tril(lower, -1).T


def allocate(size: int, bandwidth: int, above: int, limit: int) -> LowerGram | None:
    """Zeros: full where a band is hardly smaller, else a band with room for `above` diagonals above."""
    depth = bandwidth + 1 + above
    full = 2 * depth >= size
    # A full matrix is copied more often on its way through the proof.
    if size * (4 * size if full else depth) > limit:
        return None
    if full:
        return LowerGram(np.zeros((size, size)), None)
    # Entry (i, j) lies at i - j + above + j * depth: one step in i is 1, one in j is depth - 1. Outside the
    # band the view shows other entries.
    memory = np.zeros(size * depth)
    step = memory.itemsize
    entries = as_strided(memory[above:], (size, size), (step, (depth - 1) * step))
    return LowerGram(entries, memory.reshape(size, depth).T[above:])


def lower_gram(blocks: Blocks, limit: int) -> LowerGram | None:
    """Lower triangle of `A^T A`, `None` where it takes more entries than the limit.

    A block's own corner of the upper triangle may be written too.
    """
    columns = [blocks.columns(group) for group in range(len(blocks))]
    ranges = [runs(each) for each in columns]
    bandwidth = max(int(each[-1] - each[0]) for each in columns)
    above = max(stop - start for each in ranges for start, stop in each) - 1
    store = allocate(blocks.matrix.shape[1], bandwidth, above, limit)
    if store is None:
        return None
    if sum(len(each) ** 2 for each in ranges) > _PIECES:
        _fill_entries(store, blocks.matrix)
        return store
    for group, (places, pieces) in enumerate(zip(columns, ranges, strict=True)):
        _add_block(store, blocks.gram(group), places, pieces)
    return store


def _add_block(
    store: LowerGram, gram: np.ndarray, places: np.ndarray, pieces: list[tuple[int, int]]
) -> None:
    """Adds the Gram matrix of one group, piece by piece of consecutive columns."""
    for index, (row, row_stop) in enumerate(pieces):
        for column, column_stop in pieces[: index + 1]:
            i, j = int(places[row]), int(places[column])
            target = store.entries[i : i + row_stop - row, j : j + column_stop - column]
            target += gram[row:row_stop, column:column_stop]


def _fill_entries(store: LowerGram, matrix: Any) -> None:
    """For matrices without blocks: the sparse product, entry by entry."""
    gram = (matrix.T @ matrix).tocoo()
    lower = gram.row >= gram.col
    store.entries[gram.row[lower], gram.col[lower]] = gram.data[lower]
