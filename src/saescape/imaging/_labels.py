"""Check a label image and bring it to consecutive labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from saescape._typing import IntArray

# up to this label a lookup table is cheaper than sorting all pixels
_MAX_TABLE = 2**24


@dataclass(frozen=True)
class LabelImage:
    """Labels 1..n (int32) and the ids that they had."""

    labels: np.ndarray
    ids: IntArray
    was_binary: bool = False


def check_labels(labels: np.ndarray, shape: tuple[int, int], where: str) -> LabelImage:
    """Check a label image against the image it belongs to; a binary mask is split into connected components.

    Raises
    ------
    TypeError
        Labels that are not integers.
    ValueError
        Another shape than the image, or negative labels.
    """
    if labels.shape != tuple(shape):
        msg = f"{where} has shape {labels.shape}, but its image is {tuple(shape)} (Y, X); they must be equal."
        raise ValueError(msg)
    if labels.dtype.kind == "f":
        whole = "" if np.isfinite(labels).all() and not (labels % 1).any() else " (is it a probability map?)"
        msg = f"{where} must hold integers, found dtype {labels.dtype}{whole}; cast it with `labels.astype(int)`."
        raise TypeError(msg)
    if labels.dtype.kind not in "iub":
        msg = f"{where} must hold integers, found dtype {labels.dtype}."
        raise TypeError(msg)
    if labels.dtype.kind == "b":
        labels = labels.astype(np.uint8)
    if labels.dtype.kind == "i" and labels.size and labels.min() < 0:
        msg = f"{where} has {int((labels < 0).sum())} negative labels; background must be 0 and labels positive."
        raise ValueError(msg)
    if labels.dtype.kind == "u" and labels.dtype.itemsize == 8:
        labels = labels.astype(np.int64)
    ids = label_ids(labels)
    if len(ids) == 1 and ids[0] in {1, 255}:
        return _label_components(labels, ids)
    return LabelImage(_consecutive(labels, ids), ids)


def label_ids(labels: np.ndarray) -> IntArray:
    """The labels that occur, without 0, in increasing order."""
    largest = int(labels.max())
    if largest > _MAX_TABLE:
        found = np.unique(labels)
        return found[found > 0].astype(np.int64)
    counts = np.bincount(labels.ravel(), minlength=1)
    counts[0] = 0
    return np.flatnonzero(counts)


def _consecutive(labels: np.ndarray, ids: IntArray) -> np.ndarray:
    n_labels = len(ids)
    if n_labels == 0 or int(ids[-1]) == n_labels:
        return labels.astype(np.int32, copy=False)
    if int(ids[-1]) > _MAX_TABLE:
        # 0 sorts before every id, so that it maps to 0 and ids[i] to i + 1
        return np.searchsorted(np.concatenate([[0], ids]), labels).astype(np.int32)
    table = np.zeros(int(ids[-1]) + 1, dtype=np.int32)
    table[ids] = np.arange(1, n_labels + 1)
    return table[labels]


def _label_components(labels: np.ndarray, ids: IntArray) -> LabelImage:
    from skimage.measure import label

    components, n_components = label(labels, background=0, return_num=True)
    if n_components == 1:
        return LabelImage(components.astype(np.int32), ids)
    return LabelImage(components.astype(np.int32), np.arange(1, n_components + 1), was_binary=True)
