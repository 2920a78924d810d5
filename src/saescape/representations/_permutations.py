"""Which permutations leave a phenotype's distribution as it is when it has nothing to do with a representation."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from math import lgamma
from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from saescape._typing import FloatArray, IntArray

# entries up to which all permutations are held
_KEPT_ENTRIES = 2**25

Unit = Literal["cells", "batches", "none"]


@dataclass(frozen=True)
class Permutations:
    """Numbered permutations of rows; number 0 changes nothing. Each depends on its own number and the seed only.

    Parameters
    ----------
    block_of
        Batch of each row, from 0.
    unit
        `cells`: rows are permuted within their batch. `batches`: whole batches exchange their value, which all rows of
        a batch share. `none`: there is nothing to permute.
    n_perms
        How many, without number 0.
    seed
        Entropy.
    """

    block_of: IntArray
    unit: Unit
    n_perms: int
    seed: int

    def rows(self, low: int, high: int) -> IntArray:
        """Row `(n, high - low)` whose value each row takes in permutations ``low:high``."""
        if len(self.block_of) * self.n_columns <= _KEPT_ENTRIES:
            return self._all[:, low:high]
        return self._drawn(low, high)

    @cached_property
    def _all(self) -> IntArray:
        return self._drawn(0, self.n_columns)

    def _drawn(self, low: int, high: int) -> IntArray:
        n = len(self.block_of)
        result = np.empty((high - low, n), dtype=np.int32)
        members = np.argsort(self.block_of, kind="stable")
        for number in range(low, high):
            if number == 0:
                result[number - low] = np.arange(n)
                continue
            rng = np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=(number,)))
            if self.unit == "batches":
                first = np.unique(self.block_of, return_index=True)[1]
                result[number - low] = first[rng.permutation(len(first))][self.block_of]
            else:
                result[number - low, members] = np.argsort(rng.random(n) + self.block_of)
        return result.T

    @property
    def n_columns(self) -> int:
        """Number of permutations and the observed order."""
        return 1 + (0 if self.unit == "none" else self.n_perms)


def observed_only(n: int) -> Permutations:
    """No permutation of `n` rows besides the observed order."""
    return Permutations(np.zeros(n, dtype=np.int64), "none", 0, 0)


def permutation_unit(values: FloatArray | IntArray, block_of: IntArray, *, labels: bool) -> Unit:
    """What can be exchanged: cells within batches; whole batches, if the phenotype belongs to the batch; or nothing.

    Parameters
    ----------
    values
        Phenotype of each row, numbers or codes of labels.
    block_of
        Batch of each row, from 0.
    labels
        Whether values are codes of labels. Labels that differ between all batches divide rows as the batches do in
        every permutation, so that nothing can be tested.
    """
    n_blocks = int(block_of.max()) + 1
    if n_blocks == 1:
        return "cells"
    first = np.unique(block_of, return_index=True)[1]
    of_block = values[first]
    if np.any(values != of_block[block_of]):
        return "cells"
    n_values = len(np.unique(of_block))
    if n_blocks < 3 or n_values < 2 or (labels and n_values == n_blocks):
        return "none"
    return "batches"


def log10_arrangements(values: FloatArray | IntArray, block_of: IntArray) -> float:
    """Logarithm of the number of different ways to deal the batches' values to the batches."""
    first = np.unique(block_of, return_index=True)[1]
    counts = np.unique(values[first], return_counts=True)[1]
    return (lgamma(counts.sum() + 1) - sum(lgamma(count + 1) for count in counts)) / np.log(10)
