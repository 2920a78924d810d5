"""Tokens of simulated neurons and, for each of their positions, how many pixels belong to each planted concept."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

import saescape as sae

CHANNELS = 4


@dataclass
class Planted:
    """Observations of a set of fields, and pixel counts `(n_positions in all, n_concepts)`.

    `positive`: in the mask of the concept; `crop`: of the crop outside of it; `cell`: of cells outside of it; `rival`:
    in the mask of another concept that has a channel in common with this one, and not in this one's.
    """

    adata: object
    positive: np.ndarray
    crop: np.ndarray
    cell: np.ndarray
    rival: np.ndarray

    @property
    def tokens(self):
        return self.adata.obsm["tokens"].reshape(-1, self.adata.obsm["tokens"].shape[-1])

    def negatives(self):
        return {"whole crop": self.crop, "within cells": self.cell, "other motifs": self.rival}


def plant(fields, names, *, of_cells):
    """Encode some of the fields by the filter bank: masked crops of cells (64 pixels), or tiles of 32 pixels."""
    images = {name: fields.images[name][:CHANNELS] for name in names}
    how = {"labels": {name: fields.labels[name] for name in names}, "crop_size": 64} if of_cells else {"tile_size": 32}
    adata = sae.pp.image_to_adata(
        images,
        channel_names=fields.channel_names[:CHANNELS],
        encoder="filters",
        tokens=True,
        qc=False,
        show_progress_bar=False,
        **how,
    )
    size, grid = 64 if of_cells else 32, int(adata.uns["image_to_adata"]["token_grid"][0])
    channels = [set(one.split("+")) for one in fields.truth.var["channels"]]
    shared = np.array([[a is not b and bool(a & b) for b in channels] for a in channels])
    counts = {"positive": [], "crop": [], "cell": [], "rival": []}
    for name in names:
        obs = adata.obs[adata.obs["region"] == name]
        masks = windows(fields.concept_masks[name], obs, size)
        ids = windows(fields.labels[name][None], obs, size)[:, 0]
        if of_cells:
            cell = ids == obs["instance_id"].to_numpy()[:, None, None]
            masks &= cell[:, None]
        else:
            cell = ids > 0
        others = np.stack([masks[:, row].any(1) for row in shared], axis=1)
        found = {"positive": masks, "crop": ~masks, "cell": cell[:, None] & ~masks, "rival": others & ~masks}
        for kind, pixels in found.items():
            counts[kind].append(per_position(pixels, grid))
    return Planted(adata, **{kind: np.concatenate(parts) for kind, parts in counts.items()})


def windows(planes, obs, size):
    """(n, planes, size, size): squares around the centres of observations, 0 outside of the field."""
    padded = np.pad(planes, ((0, 0), (size, size), (size, size)))
    tops = np.ceil(obs["row"].to_numpy() + size / 2).astype(int)
    lefts = np.ceil(obs["col"].to_numpy() + size / 2).astype(int)
    return np.stack([padded[:, y : y + size, x : x + size] for y, x in zip(tops, lefts, strict=True)])


def per_position(pixels, grid):
    """(n * grid * grid, planes) number of pixels that are set, positions in row-major order."""
    n, planes, size, _ = pixels.shape
    blocks = pixels.reshape(n, planes, grid, size // grid, grid, size // grid).sum((3, 5), dtype=np.float32)
    return blocks.transpose(0, 2, 3, 1).reshape(-1, planes)


def auroc(values, positive, negative):
    """(columns of `values`, concepts): how often a pixel of the mask has a higher value than one outside; ties half.

    `values` `(n_positions, n)`, dense or sparse and not negative; all pixels of a position have its value. Positions
    of equal value count as half above one another, whatever their order: those without activation, and each with
    itself.
    """
    n_positive, n_negative = positive.sum(0, dtype=np.float64), negative.sum(0, dtype=np.float64)
    sparse = hasattr(values, "tocsc")
    columns = values.tocsc() if sparse else values
    out = np.empty((columns.shape[1], positive.shape[1]))
    for j in range(len(out)):
        if sparse:
            own = slice(columns.indptr[j], columns.indptr[j + 1])
            order = columns.indices[own][np.argsort(columns.data[own], kind="stable")]
        else:
            order = np.argsort(columns[:, j], kind="stable")
        above, below = positive[order].astype(np.float64), negative[order].astype(np.float64)
        rest_above, rest_below = n_positive - above.sum(0), n_negative - below.sum(0)
        won = (above * (rest_below + np.cumsum(below, 0) - 0.5 * below)).sum(0) + 0.5 * rest_above * rest_below
        out[j] = won / (n_positive * n_negative)
    return out
