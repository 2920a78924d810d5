from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from saescape._docs import doc_params
from saescape._keys import IMAGE_UNS, sae_keys
from saescape._rows import RowSource
from saescape._validate import check_adata, check_integer, require_key

from ._axes import show_if_wanted

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from anndata import AnnData

    from saescape._typing import IntArray

# inches of a crop, and of a title above it
_PANEL = 1.3
_TITLE = 0.22


@doc_params
def top_crops(
    adata: AnnData,
    features: str | int | Sequence[str | int],
    *,
    key: str | None = None,
    n_crops: int = 8,
    channels: Sequence[str] | None = None,
    groupby: str | None = None,
    crop_size: int | None = None,
    outline: bool = True,
    folder: str | Path | None = None,
    show: bool | None = None,
) -> np.ndarray:
    """Show the image crops that activate features of a sparse autoencoder most.

    One row per feature, one column per observation, the most active first; the activation stands above each crop.
    Crops are drawn with their surroundings, in the contrast of the whole data set (0.1 to 99.9 percentile of each
    channel), not stretched one by one, so that brightness compares between crops.

    Parameters
    ----------
    {adata}
    features
        Names (`"sae_12"`) or numbers of features.
    {key}
    n_crops
        Crops per feature; observations in which it is not active are not shown.
    channels
        Channels to blend, at most six; None takes the first six. One channel is grey; several get fixed colours, those
        of the usual dyes where the name tells (DAPI blue, GFP green, ...). R, G, B are shown as they are.
    groupby
        Column of `.obs` to write under the activation.
    crop_size
        Side of the crops in pixels; None for that at creation.
    outline
        Draw the outline of the observation's own label.
    folder
        Folder with the image files, see :func:`saescape.get.crops`.
    {show}

    Returns
    -------
    Array of :class:`matplotlib.axes.Axes`, `(n_features, n_crops)`.

    Raises
    ------
    KeyError
        No such feature, channel or column, no fitted sparse autoencoder, or no images.

    Examples
    --------
    >>> import numpy as np, saescape as sae
    >>> from scipy import sparse
    >>> image = np.random.default_rng(0).poisson(100, (2, 96, 96)).astype(np.uint16)
    >>> adata = sae.pp.image_to_adata(image, tile_size=32, show_progress_bar=False)
    >>> adata.obsm["X_sae"] = sparse.csr_matrix(np.eye(9, dtype=np.float32))
    >>> axes = sae.pl.top_crops(adata, ["sae_0", "sae_3"], n_crops=4, show=False)
    >>> axes.shape
    (2, 4)
    """
    import matplotlib.pyplot as plt

    from saescape.get import crops

    check_adata(adata)
    stored = require_key(adata, "uns", IMAGE_UNS)
    codes = RowSource(require_key(adata, "obsm", sae_keys(key).obsm, argument="key"), where="`adata.obsm`")
    check_integer("n_crops", n_crops)
    indices, names = _resolve_features(adata, features, key, codes.n_dims)
    chosen = _resolve_channels(channels, [str(name) for name in stored["channel_names"]])
    groups = None if groupby is None else require_key(adata, "obs", groupby, argument="groupby").astype(str).to_numpy()

    activations = _columns(codes, indices)
    tops = [_most_active(column, n_crops) for column in activations.T]
    wanted = np.unique(np.concatenate(tops))
    pictures: Any = ()
    outlines: np.ndarray | None = None
    if len(wanted):
        selected = adata.obs_names[wanted]
        _check_unique(adata)
        raw = crops(adata, list(selected), crop_size=crop_size, mask_crops=False, normalized=False, folder=folder)
        pictures = _pictures(raw, stored, chosen)
        if outline and stored["params"]["unit"] == "label":
            from saescape.imaging._recut import recut_masks

            outlines = recut_masks(adata.obs.iloc[wanted], stored, crop_size=crop_size, folder=folder)

    figure, axes = plt.subplots(
        len(indices),
        n_crops,
        figsize=(_PANEL * n_crops + 0.5, (_PANEL + _TITLE * (1 if groups is None else 2)) * len(indices) + 0.3),
        squeeze=False,
        layout="constrained",
    )
    position = {int(row): i for i, row in enumerate(wanted)}
    for axes_row, column, top, name in zip(axes, activations.T, tops, names, strict=True):
        share = f"{100 * np.mean(column > 0):.3g}% active" if len(top) else "never active"
        for i, ax in enumerate(axes_row):
            _bare(ax)
            if i >= len(top):
                continue
            at = position[int(top[i])]
            ax.imshow(pictures[at], interpolation="nearest")
            if outlines is not None and outlines[at].any() and not outlines[at].all():
                # padded, so that the outline closes where the label reaches the edge of the crop
                ax.contour(
                    np.pad(outlines[at], 1),
                    levels=[0.5],
                    colors="white",
                    linewidths=0.7,
                    extent=(-1.5, outlines.shape[2] + 0.5, -1.5, outlines.shape[1] + 0.5),
                )
                ax.set_xlim(-0.5, outlines.shape[2] - 0.5)
                ax.set_ylim(outlines.shape[1] - 0.5, -0.5)
            group = "" if groups is None else f"\n{groups[top[i]]}"
            ax.set_title(f"{column[top[i]]:.3g}{group}", fontsize=8, pad=2)
        axes_row[0].set_ylabel(f"{name}\n{share}", fontsize=8)
    _channel_legend(figure, chosen, stored)
    show_if_wanted(show=show)
    return axes


def _resolve_features(adata: AnnData, features: Any, key: str | None, n_dims: int) -> tuple[list[int], list[str]]:
    model = adata.uns.get(sae_keys(key).uns, {})
    known = [str(name) for name in model["features"].index] if "features" in model else []
    if len(known) != n_dims:
        known = [f"sae_{i}" for i in range(n_dims)]
    listed = [features] if isinstance(features, str | int | np.integer) else list(features)
    if not listed:
        msg = "`features` is empty."
        raise ValueError(msg)
    position = {name: i for i, name in enumerate(known)}
    indices = []
    for feature in listed:
        if isinstance(feature, str):
            if feature not in position:
                msg = f"`features`: {feature!r} is none of the {n_dims} features {known[0]!r} ... {known[-1]!r}."
                raise KeyError(msg)
            indices.append(position[feature])
        else:
            indices.append(check_integer("features", feature, 0, n_dims - 1, high_name="number of features - 1"))
    return indices, [known[i] for i in indices]


def _resolve_channels(channels: Sequence[str] | None, available: list[str]) -> list[int]:
    from saescape.imaging._preview import MAX_CHANNELS

    if channels is None:
        return list(range(min(len(available), MAX_CHANNELS)))
    listed = [channels] if isinstance(channels, str) else list(channels)
    missing = [name for name in listed if name not in available]
    if missing:
        msg = f"`channels`: {missing} not found. Available channels: {available}."
        raise KeyError(msg)
    if not 0 < len(listed) <= MAX_CHANNELS:
        msg = f"`channels` must name 1 to {MAX_CHANNELS} channels, found {len(listed)}."
        raise ValueError(msg)
    return [available.index(name) for name in listed]


def _columns(codes: RowSource, indices: list[int]) -> np.ndarray:
    """(n_obs, len(indices)) activations, read by blocks."""
    return np.concatenate([block[:, indices] for _, block in codes.blocks()])


def _most_active(column: np.ndarray, n_crops: int) -> IntArray:
    # ties in the order of the observations
    order = np.argsort(-column, kind="stable")[:n_crops]
    return order[column[order] > 0]


def _check_unique(adata: AnnData) -> None:
    if not adata.obs_names.is_unique:
        msg = "`adata.obs_names` are not unique; call `adata.obs_names_make_unique()`."
        raise ValueError(msg)


def _pictures(raw: np.ndarray, stored: Any, chosen: list[int]) -> np.ndarray:
    from saescape.imaging._preview import picture
    from saescape.imaging._scaling import Scaling

    names = [str(stored["channel_names"][i]) for i in chosen]
    bounds = np.asarray(stored["display_bounds"])[chosen]
    return picture(raw[:, chosen], names, Scaling(bounds[:, 0], bounds[:, 1]), raw.dtype)


def _bare(ax: Any) -> None:
    ax.set_xticks([])
    ax.set_yticks([])
    for spine in ax.spines.values():
        spine.set_visible(False)


def _channel_legend(figure: Any, chosen: list[int], stored: Any) -> None:
    from matplotlib.lines import Line2D

    from saescape.imaging._preview import RGB, channel_colors

    names = [str(stored["channel_names"][i]) for i in chosen]
    if tuple(names) == RGB:
        return
    colors = channel_colors(names) if len(names) > 1 else [(0.6, 0.6, 0.6)]
    handles = [
        Line2D([], [], marker="s", linestyle="", color=color, markersize=7, label=name)
        for color, name in zip(colors, names, strict=True)
    ]
    figure.legend(
        handles=handles, loc="outside lower center", ncols=len(names), frameon=False, fontsize=8, handletextpad=0.2
    )
