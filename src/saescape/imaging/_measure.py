"""Second pass over all fields: features, quality and codes of every observation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ._blocks import count_blocks, iterate_blocks
from ._features import feature_names, object_features
from ._qc import QC_NAMES, qc_measures

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    import torch

    from saescape._typing import FloatArray, IntArray

    from ._blocks import Block
    from ._fields import Field
    from ._scaling import Scaling
    from ._scan import Scan


@dataclass(frozen=True)
class Measured:
    """Matrix of the result, its names, and what comes beside it."""

    values: FloatArray
    names: list[str]
    quality: FloatArray | None
    grid: tuple[int, int] | None = None
    tokens: FloatArray | None = None


class Measurement:
    """Walk over the blocks of all fields once."""

    def __init__(self, fields: list[Field], scan: Scan, *, block: int, quality: bool, progress: bool) -> None:
        self.fields, self.scan, self.block, self.progress = fields, scan, block, progress
        self.n_obs = sum(len(found) for found in scan.regions)
        self.quality = np.empty((self.n_obs, len(scan.channel_names), len(QC_NAMES))) if quality else None
        if quality:
            self.saturation, self.threshold = scan.summary.saturation(), scan.summary.otsu()

    def _blocks(self, *, need_crops: bool) -> Iterator[Block]:
        from tqdm.auto import tqdm

        blocks = iterate_blocks(self.fields, self.scan.regions, self.block, need_crops=need_crops)
        total = count_blocks(self.scan.regions, self.block)
        yield from tqdm(blocks, total=total, desc="image_to_adata", unit="block", disable=not self.progress)

    def named_features(self, scaling: Scaling, *, shape: bool) -> Measured:
        """Statistics with names, in the units of the image."""
        names = feature_names(self.scan.channel_names, shape=shape)
        values = np.empty((self.n_obs, len(names)), dtype=np.float32)
        for block in self._blocks(need_crops=False):
            for objects in block.objects(sharpness=self.quality is not None):
                values[objects.rows] = object_features(
                    objects.labels, objects.values, objects.pixels, scaling, shape=shape
                )
                self._add_quality(objects)
        return Measured(values, names, self.quality)

    def encoded(
        self,
        encoder: Callable[[torch.Tensor], Any],
        scaling: Scaling | None,
        *,
        mask: bool,
        batch_size: int,
        pool: str,
        keep_tokens: bool,
        device: torch.device,
        names: list[str] | None = None,
    ) -> Measured:
        """Output of an encoder on the crops, pooled over positions."""
        from ._encode import encode_crops, rebatch

        pieces = self._crops(scaling, batch_size, mask=mask)
        found = encode_crops(
            encoder, rebatch(pieces, batch_size), self.n_obs, pool=pool, keep_tokens=keep_tokens, device=device
        )
        names = names or [f"image_{i}" for i in range(found.pooled.shape[1])]
        return Measured(found.pooled, names, self.quality, found.grid, found.tokens)

    def _crops(self, scaling: Scaling | None, size: int, *, mask: bool) -> Iterator[tuple[IntArray, np.ndarray]]:
        for block in self._blocks(need_crops=True):
            if self.quality is not None:
                for objects in block.objects(sharpness=True):
                    self._add_quality(objects)
            yield from block.crops(scaling, size, mask=mask)

    def _add_quality(self, objects: Any) -> None:
        if self.quality is not None:
            self.quality[objects.rows] = qc_measures(
                objects.values, objects.sharpness, objects.pixels, self.saturation, self.threshold
            )
