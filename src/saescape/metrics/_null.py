"""What a measure gives when there is nothing to find."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from saescape._random import as_generator, child_seed
from saescape.superposition._nulls import compare

if TYPE_CHECKING:
    from saescape._typing import FloatArray, Rng


def upper_pvalue(score: float, null: FloatArray) -> float:
    """``(1 + number of null >= score) / (1 + n)``, which is never 0; NaN without a null."""
    return compare(score, null).pvalue if len(null) else float("nan")


def null_generator(rng: Rng) -> np.random.Generator:
    """A child of `rng`: a dictionary that somebody drew with the same seed must not come back as its own null."""
    return np.random.default_rng(child_seed(as_generator(rng)))


def random_like(dictionary: FloatArray, rng: np.random.Generator) -> FloatArray:
    """As many uniform directions as the dictionary has; its rows of zeros stay zero."""
    directions = rng.standard_normal(dictionary.shape)
    directions[~dictionary.any(1)] = 0
    return directions
