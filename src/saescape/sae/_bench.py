"""Short fits of different settings, measured on the same sample of rows."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from saescape._random import child_seed
from saescape._rows import RowSource

from ._data import IN_MEMORY_BYTES
from ._defaults import HELD_OUT_ROWS
from ._encode import encode_rows
from ._fit import Training, finished_weights
from ._parameters import Standardizer
from ._stability import random_rows, spread_factor

if TYPE_CHECKING:
    import torch

    from saescape._typing import BoolArray, FloatArray, IntArray

    from ._defaults import Plan
    from ._encode import Encoded
    from ._weights import SaeWeights

_EVALUATION_BYTES = 2**28


@dataclass(frozen=True)
class Fitted:
    """What is kept of one fit."""

    #: directions of the features in use, in units of the standardised data
    directions: FloatArray
    fvu: float
    fvu_train: float
    l0: float
    n_dead: int
    seconds: float


class Bench:
    """Rows that are trained on, and a fixed sample of rows on which every fit is measured."""

    def __init__(
        self,
        rows: RowSource,
        held_out: BoolArray,
        moments: tuple[FloatArray, FloatArray],
        standardize: str,
        rng: np.random.Generator,
        device: torch.device,
    ) -> None:
        self.rows, self.held_out, self.device = rows, held_out, device
        self.standardizer = Standardizer(standardize, *moments)
        per_obs = rows.n_positions or 1
        limit = max(1, min(HELD_OUT_ROWS, _EVALUATION_BYTES // (4 * rows.n_dims)) // per_obs)
        parts = [_some(np.flatnonzero(mask), limit, rng) for mask in (~held_out, held_out)]
        self.measured = RowSource(rows.take(np.concatenate(parts)), where=rows.where)
        self.is_held_out = np.repeat([0, 1], [len(part) for part in parts])

    def train(self, plan: Plan, seed: int) -> SaeWeights:
        """Finished weights of one fit."""
        rng = np.random.default_rng(seed)
        training = Training(
            rows=self.rows,
            held_out=self.held_out,
            plan=plan,
            standardizer=self.standardizer,
            sampling=rng,
            seed=child_seed(rng),
            device=self.device,
            max_bytes=IN_MEMORY_BYTES,
            checkpoint=None,
            show_progress_bar=False,
        )
        return finished_weights(training(), self.standardizer, self.rows, ~self.held_out)

    def encode(self, weights: SaeWeights) -> Encoded:
        """Codes and errors of the sample; group 1 was held out."""
        return encode_rows(self.measured, weights, self.device, self.is_held_out, scale=self.standardizer.scale)

    def fit(self, plan: Plan, seed: int) -> Fitted:
        """Train, and encode the sample of rows only: with much data, encoding all of them is a good part of a fit."""
        start = time.perf_counter()
        weights = self.train(plan, seed)
        encoded = self.encode(weights)
        alive = encoded.n_active > 0
        return Fitted(
            (weights.W_dec / self.standardizer.scale)[alive],
            encoded.fvu(np.array([False, True])),
            encoded.fvu(np.array([True, False])),
            encoded.l0,
            int((~alive).sum()),
            time.perf_counter() - start,
        )

    def spread(self) -> FloatArray:
        """Factor of the second moments of the standardised data."""
        sample = self.measured.read_all().reshape(-1, self.rows.n_dims).astype(np.float64)
        return spread_factor((sample - self.standardizer.mean) / self.standardizer.scale)

    def without_features(self, factor: FloatArray, rng: np.random.Generator) -> Bench:
        """As many rows with the same second moments, but Gaussian: whatever is found there is no feature."""
        share = min(1.0, IN_MEMORY_BYTES / self.rows.dense_bytes)
        n_held_out = int(self.held_out.sum()) * (self.rows.n_positions or 1)
        sizes = [max(2, int(share * n)) for n in (self.rows.n_rows - n_held_out, n_held_out)]
        noise = random_rows(sum(sizes), factor, rng) * self.standardizer.scale + self.standardizer.mean
        rows = RowSource(noise.astype(np.float32), where="the null data")
        held_out = np.repeat([False, True], sizes)
        return Bench(rows, held_out, rows.moments(), self.standardizer.kind, rng, self.device)


def _some(numbers: IntArray, n: int, rng: np.random.Generator) -> IntArray:
    """Up to `n` of the numbers, in increasing order."""
    return numbers if len(numbers) <= n else np.sort(rng.choice(numbers, n, replace=False))
