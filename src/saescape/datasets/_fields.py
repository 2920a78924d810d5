from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    import pandas as pd

DATA = Path(__file__).parent / "data"


@dataclass(frozen=True)
class ImageFields:
    """Fields of view of an imaging experiment, ready for :func:`saescape.pp.image_to_adata`.

    Attributes
    ----------
    images
        Each field's image or the path of it, by field name.
    channel_names
        Names of the channels.
    obs
        One row per field (index: field name): plate, well and so on.
    labels
        Each field's mask or the path of it, by field name; None when there is none.
    boxes
        One row per annotated object: `field`, `cell_type`, `x`, `y` (centre), `width`, `height` in pixels;
        None when there are none.
    cells
        Each field's mask of whole cells, where `labels` are their nuclei; None when there is none.
    """

    images: Mapping[str, Path | np.ndarray]
    channel_names: list[str]
    obs: pd.DataFrame
    labels: Mapping[str, Path | np.ndarray] | None = None
    boxes: pd.DataFrame | None = None
    cells: Mapping[str, Path | np.ndarray] | None = None
