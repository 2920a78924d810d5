"""Crops of each feature side by side in one picture, as a data URI."""

from __future__ import annotations

import base64
from io import BytesIO
from typing import Any

import numpy as np

MAX_SIDE = 96
_QUALITY = 82


def sheet(pictures: np.ndarray) -> dict[str, Any]:
    """JPEG of `(n, h, w, 3)` uint8 pictures in a row; oblong ones are cut to squares, large ones reduced."""
    from PIL import Image

    n, height, width = pictures.shape[:3]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = pictures[:, top : top + side, left : left + side]
    row = Image.fromarray(np.ascontiguousarray(square.transpose(1, 0, 2, 3).reshape(side, n * side, 3)))
    shown = min(side, MAX_SIDE)
    if shown < side:
        row = row.resize((n * shown, shown), Image.Resampling.LANCZOS)
    stream = BytesIO()
    row.save(stream, "JPEG", quality=_QUALITY, subsampling=0)
    encoded = base64.b64encode(stream.getvalue()).decode()
    return {"src": f"data:image/jpeg;base64,{encoded}", "side": shown, "n": n}
