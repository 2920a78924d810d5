"""Named features of all objects of a block."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ._quantiles import QUANTILES, object_quantiles
from ._shape import SHAPE_NAMES, object_shapes
from ._sorted import SortedPixels

if TYPE_CHECKING:
    from collections.abc import Sequence

    from saescape._typing import FloatArray

    from ._scaling import Scaling

# families that are measured channel by channel, with the names of their features
CHANNEL_NAMES = {
    "intensity": ("mean", "sd", "min", "max", "sum", "skewness", "kurtosis", "displacement"),
    "quantiles": tuple(f"q{round(100 * q):02d}" for q in QUANTILES),
    "texture": ("contrast", "dissimilarity", "homogeneity", "energy", "entropy", "glcm_correlation"),
    "granularity": tuple(f"granularity_{scale}" for scale in (1, 2, 4, 8)),
    "radial": tuple(f"{name}_{ring}" for name in ("radial", "radial_cv") for ring in ("inner", "middle", "outer")),
}
FAMILIES = ("intensity", "quantiles", "shape", "texture", "granularity", "radial", "correlation")


def feature_names(channels: Sequence[str], *, families: Sequence[str] = FAMILIES, shape: bool) -> list[str]:
    """Names of the columns of :func:`block_features`."""
    names = [f"shape_{name}" for name in SHAPE_NAMES] if shape and "shape" in families else []
    for channel in channels:
        for family, own in CHANNEL_NAMES.items():
            if family in families:
                names += [f"{channel}_{name}" for name in own]
    if "correlation" in families:
        for i, a in enumerate(channels):
            for b in channels[i + 1 :]:
                names += [f"corr_{a}_{b}", f"manders_{a}_{b}", f"manders_{b}_{a}"]
    return names


def block_features(
    labels: np.ndarray,
    pixels: np.ndarray,
    n_objects: int,
    scaling: Scaling,
    *,
    families: Sequence[str] = FAMILIES,
    shape: bool,
) -> FloatArray:
    """Features of labels 1..n, float64, in the units of the image.

    Every family looks at the pixels of one object alone and in the order of the image, so that a result depends
    neither on how a field was cut into blocks nor on what lies around the object. This holds for windows that are
    stacked below each other as full boxes, too.

    Parameters
    ----------
    labels
        (Y, X) whole numbers; 0 and numbers above `n_objects` are background. A label that does not occur gets NaN.
    pixels
        (C, Y, X) finite pixels of any real type.
    n_objects
        Number of labels n.
    scaling
        Bounds between which texture is quantised; from the lower one on, a pixel carries signal for Manders'
        coefficients.
    families
        Which of `FAMILIES`.
    shape
        Whether the outline of the objects means something (labels) or not (windows).
    """
    objects, present = SortedPixels.of(labels, n_objects)
    flat = [channel.reshape(-1) for channel in pixels]
    n_features = len(feature_names([""] * len(pixels), families=families, shape=shape))
    result = np.full((n_objects, n_features), np.nan)
    for members, group in objects.groups():
        columns: list[FloatArray] = [np.empty((len(group.sizes), 0))]
        if shape and "shape" in families:
            columns.append(object_shapes(group))
        if set(families) != {"shape"}:
            columns += _channel_columns(group, np.stack([channel[group.index] for channel in flat]), scaling, families)
        result[present[members]] = np.concatenate(columns, axis=1)
    return result


def _channel_columns(
    pixels: SortedPixels, raw: np.ndarray, scaling: Scaling, families: Sequence[str]
) -> list[FloatArray]:
    n_objects, n_channels = len(pixels.sizes), len(raw)
    values = raw.astype(np.float64)
    place = (pixels.starts, pixels.rows, pixels.columns)
    found: dict[str, FloatArray] = {
        name: np.empty((n_objects, n_channels, len(own))) for name, own in CHANNEL_NAMES.items() if name in families
    }
    low, high = scaling.low.astype(np.float64), scaling.high.astype(np.float64)
    if "intensity" in families:
        from .kernels._intensity import measure_intensity

        measure_intensity(values, *place, pixels.location, found["intensity"])
    if "quantiles" in families:
        found["quantiles"] = object_quantiles(raw, pixels)
    if "texture" in families:
        from .kernels._texture import measure_texture

        measure_texture(values, *place, pixels.sizes, low, high, found["texture"])
    if "granularity" in families:
        from .kernels._granularity import measure_granularity

        measure_granularity(values, *place, pixels.sizes, found["granularity"])
    if "radial" in families:
        from .kernels._radial import measure_rings

        measure_rings(values, *place, pixels.location, found["radial"])
    columns: list[FloatArray] = []
    if found:
        columns.append(np.concatenate(list(found.values()), axis=2).reshape(n_objects, -1))
    if "correlation" in families:
        from .kernels._correlation import measure_correlation

        together = np.empty((n_objects, 3 * n_channels * (n_channels - 1) // 2))
        measure_correlation(values, pixels.starts, low, together)
        columns.append(together)
    return columns
