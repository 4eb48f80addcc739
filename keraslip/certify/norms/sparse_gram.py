"""Gram matrix of a sparse matrix as a band, from its blocks of equal rows.

In the matrix of a convolution, the rows of one output pixel read the same units. Such a group of rows is a
dense block, and the Gram matrix of the columns is the sum of the blocks' own, each on the block's columns: a
few large products in place of many small ones.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided


@dataclass(frozen=True)
class Blocks:
    """Groups of consecutive rows that store the same columns.

    Args:
        matrix: `csr_matrix` with sorted indices.
        starts: First row of each group, and the number of rows at the end.
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
    """Storage for the lower triangle, full or as a band.

    Args:
        entries: View that is indexed like the full matrix, within the band.
        band: LAPACK's lower band storage of the same memory, `None` for full storage.
    """

    entries: np.ndarray
    band: np.ndarray | None


def allocate(size: int, bandwidth: int, above: int) -> LowerGram:
    """Zeros: full where a band is no smaller, else a band with room for `above` diagonals above."""
    depth = bandwidth + 1 + above
    if 2 * depth >= size:
        return LowerGram(np.zeros((size, size)), None)
    # Entry (i, j) lies at i - j + above + j * depth: one step in i is 1, one in j is depth - 1. The view
    # reaches beyond the memory outside the band, where nothing is read or written.
    memory = np.zeros(size * depth + size)
    step = memory.itemsize
    entries = as_strided(memory[above:], (size, size), (step, (depth - 1) * step))
    band = memory[: size * depth].reshape(size, depth).T[above:]
    return LowerGram(entries, band)


def lower_gram(blocks: Blocks, limit: int) -> LowerGram | None:
    """Lower triangle of `A^T A`.

    Args:
        blocks: A by its groups of rows.
        limit: Largest number of entries to allocate.

    Returns:
        The triangle (a block's own corner of the upper one may be written too), `None` above the limit.
    """
    size = blocks.matrix.shape[1]
    columns = [blocks.columns(group) for group in range(len(blocks))]
    bandwidth = max(int(each[-1] - each[0]) for each in columns)
    ranges = [runs(each) for each in columns]
    above = max(stop - start for each in ranges for start, stop in each) - 1
    if min(size, bandwidth + 1 + above) * size > limit:
        return None
    store = allocate(size, bandwidth, above)
    for group, (places, pieces) in enumerate(zip(columns, ranges, strict=True)):
        gram = blocks.gram(group)
        for index, (row, row_stop) in enumerate(pieces):
            for column, column_stop in pieces[: index + 1]:
                i, j = int(places[row]), int(places[column])
                target = store.entries[i : i + row_stop - row, j : j + column_stop - column]
                target += gram[row:row_stop, column:column_stop]
    return store
