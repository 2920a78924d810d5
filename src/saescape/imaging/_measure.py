"""What is measured on the observations of a task."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from saescape._device import resolve_device

from ._features import block_features, feature_names
from ._qc import block_quality

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from contextlib import AbstractContextManager

    import torch

    from saescape._typing import FloatArray, IntArray

    from ._blocks import Block, Objects
    from ._scaling import Scaling


@dataclass(frozen=True)
class Measures:
    """Result of some observations: their `rows`, `values` (n, d), `quality` (n, C, q), and the maps of an encoder."""

    rows: IntArray
    values: FloatArray
    quality: FloatArray | None = None
    grid: tuple[int, int] | None = None
    tokens: FloatArray | None = None


@dataclass(frozen=True)
class Quality:
    """Measure quality, given the value from which a pixel of each channel is saturated, and that of foreground."""

    saturation: FloatArray
    threshold: FloatArray

    def __call__(self, objects: Objects) -> FloatArray:
        """(n, C, len(QC_NAMES)) of some objects."""
        return block_quality(
            objects.labels, objects.pixels, len(objects.rows), self.saturation, self.threshold, window=objects.window
        )


@dataclass(frozen=True)
class NamedFeatures:
    """Measure statistics with names, in the units of the image; of the observation and of its compartments."""

    channel_names: list[str]
    families: tuple[str, ...]
    scaling: Scaling
    shape: bool
    compartments: tuple[str, ...] = ()
    quality: Quality | None = None

    crops = False

    def names(self, n_columns: int | None = None) -> list[str]:
        """Names of the columns, which are known beforehand."""
        own = feature_names(self.channel_names, families=self.families, shape=self.shape)
        return own + [f"{part}_{name}" for part in self.compartments for name in self._part_names()]

    def prepared(self) -> AbstractContextManager[Any]:
        """Nothing to prepare."""
        return nullcontext()

    def __call__(self, blocks: Iterable[Block]) -> Measures:
        """Measure all observations of some blocks."""
        rows, values, quality = [], [], []
        for block in blocks:
            own = []
            for objects in block.objects():
                own.append(self._features(objects, shape=self.shape))
                if self.quality is not None:
                    quality.append(self.quality(objects))
            parts = [self._part(block, name) for name in self.compartments]
            values.append(np.concatenate([np.concatenate(own), *parts], axis=1).astype(np.float32))
            rows.append(block.rows)
        return Measures(np.concatenate(rows), np.concatenate(values), np.concatenate(quality) if quality else None)

    def _features(self, objects: Objects, *, shape: bool) -> FloatArray:
        return block_features(
            objects.labels, objects.pixels, len(objects.rows), self.scaling, families=self.families, shape=shape
        )

    def _part_names(self) -> list[str]:
        return feature_names(self.channel_names, families=self.families, shape=True)

    def _part(self, block: Block, name: str) -> FloatArray:
        """Features of a compartment, NaN where an observation has none."""
        objects = block.compartment(name)
        values = np.full((len(block.rows), len(self._part_names())), np.nan)
        if len(objects.rows):
            values[np.searchsorted(block.rows, objects.rows)] = self._features(objects, shape=True)
        return values


@dataclass(frozen=True)
class Encoding:
    """Encode the scaled crops of observations."""

    encoder: Callable[[torch.Tensor], Any]
    scaling: Scaling | None
    mask: bool
    batch_size: int
    pool: str
    keep_tokens: bool
    # None: what there is on the machine that does the work
    device: str | torch.device | None
    quality: Quality | None = None
    dimension_names: list[str] | None = None

    crops = True

    def prepared(self) -> AbstractContextManager[Any]:
        """Bring the encoder to its device once, and not for every task."""
        from .encoders._evaluating import evaluating

        return evaluating(self.encoder, resolve_device(self.device))

    def names(self, n_columns: int) -> list[str]:
        """Names of the columns; those of some encoders are known once they have run."""
        from .encoders._resolve import dimension_names

        return dimension_names(self.encoder, self.dimension_names, n_columns)

    def __call__(self, blocks: Iterable[Block]) -> Measures:
        """Encode all observations of some blocks."""
        from ._encode import encode_batches, rebatch

        quality: list[FloatArray] = []

        def pieces() -> Iterator[tuple[IntArray, np.ndarray]]:
            for block in blocks:
                if self.quality is not None:
                    quality.extend(self.quality(objects) for objects in block.objects())
                yield from block.crops(self.scaling, self.batch_size, mask=self.mask)

        found = encode_batches(
            self.encoder,
            rebatch(pieces(), self.batch_size),
            pool=self.pool,
            keep_tokens=self.keep_tokens,
            device=resolve_device(self.device),
        )
        measured = np.concatenate(quality) if quality else None
        return Measures(found.rows, found.pooled, measured, found.grid, found.tokens)
