from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

DATA = Path(__file__).parent / "data"


@dataclass(frozen=True)
class ImageFields:
    """Fields of view of an imaging experiment, ready for :func:`saescape.pp.image_to_adata`.

    Attributes
    ----------
    images
        Path of each field's image, by field name.
    channel_names
        Names of the channels.
    obs
        One row per field (index: field name): plate, well and so on.
    labels
        Path of each field's mask, by field name; None when there is none.
    boxes
        One row per annotated object: `field`, `cell_type`, `x`, `y` (centre), `width`, `height` in pixels;
        None when there are none.
    """

    images: dict[str, Path]
    channel_names: list[str]
    obs: pd.DataFrame
    labels: dict[str, Path] | None = None
    boxes: pd.DataFrame | None = None
