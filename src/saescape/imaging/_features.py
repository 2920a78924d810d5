"""Named features of all objects of a block: intensity, texture, shape and relations between channels."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ._intensity import INTENSITY_NAMES, channel_correlations, intensity_features
from ._shape import SHAPE_NAMES, shape_features
from ._texture import TEXTURE_NAMES, NeighbourPairs, cooccurrence, quantise, texture_features

if TYPE_CHECKING:
    from collections.abc import Sequence

    from saescape._typing import FloatArray

    from ._intensity import ObjectPixels
    from ._scaling import Scaling


def feature_names(channels: Sequence[str], *, shape: bool) -> list[str]:
    """Names of the columns of :func:`object_features`."""
    names = [f"shape_{name}" for name in SHAPE_NAMES] if shape else []
    for channel in channels:
        names += [f"{channel}_{name}" for name in (*INTENSITY_NAMES, *TEXTURE_NAMES)]
    names += [f"corr_{a}_{b}" for i, a in enumerate(channels) for b in channels[i + 1 :]]
    return names


def object_features(
    labels: np.ndarray, values: np.ndarray, pixels: ObjectPixels, scaling: Scaling, *, shape: bool
) -> FloatArray:
    """Features of labels 1..n, float64, in the units of the image.

    Parameters
    ----------
    labels
        (Y, X) labels 1..n, all of which occur.
    values
        (C, n_pixels) pixels of the objects in the order of `pixels`.
    pixels
        Where the objects are.
    scaling
        Bounds between which texture is quantised.
    shape
        Whether the outline of the objects means something (labels) or not (windows).
    """
    n_objects = len(pixels.counts)
    pairs = NeighbourPairs(labels, pixels)
    columns = [shape_features(labels, pixels)] if shape else []
    for channel, channel_values in enumerate(values):
        columns.append(intensity_features(channel_values, pixels))
        levels = quantise(channel_values, float(scaling.low[channel]), float(scaling.high[channel]))
        columns.append(texture_features(cooccurrence(levels, pairs, n_objects)))
    columns.append(channel_correlations(values, pixels))
    return np.concatenate(columns, axis=1)
