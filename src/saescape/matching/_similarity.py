"""Similarity of the features of two dictionaries, by blocks of rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
from scipy import sparse

from saescape.sae._stability import unit_rows

if TYPE_CHECKING:
    from collections.abc import Iterator

    from saescape._typing import FloatArray

# entries of one block of similarities
_BLOCK_ENTRIES = 2**23


class Similarity(Protocol):
    """Similarities `(n, m)` that are formed a few rows at a time."""

    @property
    def shape(self) -> tuple[int, int]:
        """Number of features on either side."""
        ...

    def blocks(self) -> Iterator[tuple[int, FloatArray]]:
        """Number of the first row, and similarities of some rows with all columns (float32)."""
        ...


@dataclass(frozen=True)
class CosineSimilarity:
    """Cosines of rows of two arrays `(n, d)` and `(m, d)`; rows of zeros have cosine 0 with everything."""

    first: FloatArray
    second: FloatArray

    @classmethod
    def of(cls, first: FloatArray, second: FloatArray) -> CosineSimilarity:
        """From directions of any length."""
        return cls(unit_rows(first).astype(np.float32), unit_rows(second).astype(np.float32))

    @property
    def shape(self) -> tuple[int, int]:
        return len(self.first), len(self.second)

    def blocks(self) -> Iterator[tuple[int, FloatArray]]:
        size = max(1, _BLOCK_ENTRIES // max(1, len(self.second)))
        for start in range(0, len(self.first), size):
            yield start, self.first[start : start + size] @ self.second.T


@dataclass(frozen=True)
class Activity:
    """Columns of codes `(n, m)` divided by their length about the mean; `shift` is the mean in those units."""

    scaled: sparse.csr_matrix
    shift: FloatArray

    @classmethod
    def of(cls, codes: sparse.csr_matrix) -> Activity:
        """From codes; features without variance correlate with nothing."""
        exact = sparse.csr_matrix(codes, dtype=np.float64)
        n = exact.shape[0]
        mean, square = (np.asarray(power.mean(0)).ravel() for power in (exact, exact.multiply(exact)))
        variance = square - mean**2
        varies = variance > 1e-12 * square
        inverse = np.where(varies, 1 / np.sqrt(np.where(varies, n * variance, 1)), 0)
        return cls(sparse.csr_matrix(exact @ sparse.diags(inverse)), np.sqrt(n) * mean * inverse)


@dataclass(frozen=True)
class CodeCorrelation:
    """Pearson correlations of features over the same observations; codes are never dense."""

    first: Activity
    second: Activity

    @classmethod
    def of(cls, first: sparse.csr_matrix, second: sparse.csr_matrix) -> CodeCorrelation:
        """From codes `(n_obs, n)` and `(n_obs, m)`."""
        return cls(Activity.of(first), Activity.of(second))

    @property
    def shape(self) -> tuple[int, int]:
        return len(self.first.shift), len(self.second.shift)

    def blocks(self) -> Iterator[tuple[int, FloatArray]]:
        size = max(1, _BLOCK_ENTRIES // max(1, self.shape[1]))
        columns = self.first.scaled.tocsc()
        for start in range(0, self.shape[0], size):
            stop = start + size
            product = (columns[:, start:stop].T.tocsr() @ self.second.scaled).toarray()
            product -= np.outer(self.first.shift[start:stop], self.second.shift)
            yield start, np.clip(product, -1, 1).astype(np.float32)


def best_similarity(similarity: Similarity) -> FloatArray:
    """Largest similarity `(n,)` of each row."""
    return np.concatenate([block.max(1) for _, block in similarity.blocks()]).astype(np.float64)
