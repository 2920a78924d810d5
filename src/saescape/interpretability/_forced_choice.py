"""Whether a judge can tell cells in which a feature is active from those in which it is not, by resemblance."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from scipy import sparse

    from saescape._typing import BoolArray, FloatArray, IntArray

_TOP_SHARE = 0.25


@dataclass(frozen=True)
class Trials:
    """Cells of the trials of some features, each `(n_features, n_trials, 1 + n_exemplars)`, the query first.

    `known` marks features with enough cells; the cells of the others are meaningless.
    """

    active: IntArray
    inactive: IntArray
    known: BoolArray

    def scores(self, unit: FloatArray) -> FloatArray:
        """Share of the trials `(n_features,)` that a judge gets right, who sees cells as vectors of length 1.

        Two queries, one active, have to be told apart by their mean cosine to active and to inactive exemplars. A trial
        is right when the difference of the two is larger for the active query; ties count half.
        """
        result = np.full(len(self.known), np.nan)
        for number in np.flatnonzero(self.known):
            active, inactive = unit[self.active[number]], unit[self.inactive[number]]
            contrast = active[:, 1:].mean(1) - inactive[:, 1:].mean(1)
            delta = np.einsum("td,td->t", active[:, 0] - inactive[:, 0], contrast)
            result[number] = np.mean(delta > 0) + 0.5 * np.mean(delta == 0)
        return result


def draw_trials(
    codes: sparse.csr_matrix,
    batch_of: IntArray | None,
    *,
    n_trials: int,
    n_exemplars: int,
    rng: np.random.Generator,
) -> Trials:
    """Draw queries and exemplars of each feature.

    Active cells are drawn from the quarter with the largest codes (of each batch, and at least two sets of them),
    inactive ones from all others. With batches, exemplars come from other batches than their query, and every active
    cell has an inactive counterpart from its own batch, so that resemblance within a batch helps nobody.

    Parameters
    ----------
    codes
        `(n, m)` without stored zeros.
    batch_of
        Number of the batch of each cell, from 0; None for no batches.
    """
    n, m = codes.shape
    columns = codes.tocsc()
    batches = np.zeros(n, np.int64) if batch_of is None else batch_of
    shape = (m, n_trials, 1 + n_exemplars)
    active, inactive, known = np.zeros(shape, np.int64), np.zeros(shape, np.int64), np.zeros(m, dtype=bool)
    for number, stream in enumerate(rng.spawn(m)):
        start, stop = columns.indptr[number : number + 2]
        pool, off = _pools(columns.indices[start:stop], columns.data[start:stop], batches, 2 * shape[2], stream)
        drawn = _draw(pool, batches, off, shape[1:], stream, other_batches=batch_of is not None)
        if drawn is not None:
            known[number], (active[number], inactive[number]) = True, drawn
    return Trials(active, inactive, known)


def _pools(
    cells: IntArray, values: FloatArray, batches: IntArray, least: int, rng: np.random.Generator
) -> tuple[IntArray, list[IntArray]]:
    """The most active cells in batches that have inactive ones too, and the inactive cells of each batch."""
    off = np.ones(len(batches), dtype=bool)
    off[cells] = False
    inactive = np.flatnonzero(off)
    ordered = inactive[np.argsort(batches[inactive], kind="stable")]
    n_off = np.bincount(batches[inactive], minlength=int(batches.max()) + 1)
    usable = n_off[batches[cells]] > 0
    cells, values = cells[usable], values[usable]
    if len(cells) < least:
        return cells[:0], np.split(ordered, np.cumsum(n_off)[:-1])
    # the highest of each batch, ties in random order
    order = rng.permutation(len(cells))
    order = order[np.lexsort((-values[order], batches[cells[order]]))]
    of_batch = np.bincount(batches[cells], minlength=len(n_off))
    starts = np.cumsum(of_batch) - of_batch
    rank = np.arange(len(cells)) - starts[batches[cells[order]]]
    share = max(_TOP_SHARE, least / len(cells))
    top = np.sort(cells[order[rank < np.ceil(share * of_batch)[batches[cells[order]]]]])
    return top, np.split(ordered, np.cumsum(n_off)[:-1])


def _draw(
    pool: IntArray,
    batches: IntArray,
    off: list[IntArray],
    shape: tuple[int, ...],
    rng: np.random.Generator,
    *,
    other_batches: bool,
) -> tuple[IntArray, IntArray] | None:
    n_trials, size = shape
    if len(pool) == 0:
        return None
    of_pool = batches[pool]
    n_outside = len(pool) - np.bincount(of_pool)[of_pool]
    queries = pool[n_outside >= size - 1] if other_batches else pool
    if len(queries) == 0:
        return None
    active = np.empty(shape, dtype=np.int64)
    active[:, 0] = rng.choice(queries, n_trials)
    for trial in range(n_trials):
        query = active[trial, 0]
        others = pool[of_pool != batches[query]] if other_batches else pool[pool != query]
        active[trial, 1:] = rng.choice(others, size - 1, replace=False)
    sizes = np.array([len(cells) for cells in off])
    starts = np.cumsum(sizes) - sizes
    of_active = batches[active]
    position = (rng.random(shape) * sizes[of_active]).astype(np.int64)
    return active, np.concatenate(off)[starts[of_active] + position]
