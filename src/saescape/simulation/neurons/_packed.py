"""Masks of concepts, eight pixels in a byte."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from saescape._typing import BoolArray


class PackedMasks(Mapping[str, "BoolArray"]):
    """Read-only dict of boolean masks `(n_concepts, Y, X)` by field, unpacked when asked for."""

    def __init__(self) -> None:
        self._bits: dict[str, np.ndarray] = {}
        self._width: dict[str, int] = {}

    def add(self, field: str, masks: BoolArray) -> None:
        """Keep the masks of a field."""
        self._bits[field] = np.packbits(masks, axis=-1)
        self._width[field] = masks.shape[-1]

    def __getitem__(self, field: str) -> BoolArray:
        masks: BoolArray = np.unpackbits(self._bits[field], axis=-1, count=self._width[field]).view(bool)
        return masks

    def __iter__(self) -> Iterator[str]:
        return iter(self._bits)

    def __len__(self) -> int:
        return len(self._bits)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({len(self)} fields: {', '.join(self._bits)})"
