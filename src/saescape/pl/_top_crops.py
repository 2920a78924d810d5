from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from saescape._docs import doc_params
from saescape._keys import IMAGE_UNS
from saescape._validate import check_adata, check_integer, check_real, require_key

from ._axes import show_if_wanted
from ._crop_marks import check_channel_colors, draw_channel_legend, draw_outline, draw_scale_bar
from ._crop_pictures import draw_pictures
from ._crop_ranking import rank_observations

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from anndata import AnnData

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
    channel_colors: Mapping[str, Any] | Sequence[Any] | None = None,
    groupby: str | None = None,
    crop_size: int | None = None,
    outline: bool = True,
    scale_bar: bool = True,
    pixel_size: float | None = None,
    folder: str | Path | None = None,
    show: bool | None = None,
) -> np.ndarray:
    """Show the image crops that activate features of a sparse autoencoder most, or are largest in another number.

    One row per feature, one column per observation, the most active first; the activation stands above each crop.
    Crops are drawn with their surroundings, in the contrast of the whole data set (0.1 to 99.9 percentile of each
    channel), not stretched one by one, so that brightness compares between crops.

    Parameters
    ----------
    {adata}
    features
        Names (`"sae_12"`) or numbers of features; also numeric columns of `.obs` and names of variables.
    {key}
    n_crops
        Crops per feature; observations in which it is not active are not shown.
    channels
        Channels to blend, at most six; None takes the first six. One channel is grey; several get fixed colours, those
        of the usual dyes where the name tells (DAPI blue, GFP green, ...). R, G, B are shown as they are.
    channel_colors
        Colour of each channel as matplotlib takes it: a dict by name (others keep their colour), or a sequence in the
        order of the channels shown.
    groupby
        Column of `.obs` to write under the activation.
    crop_size
        Side of the crops in pixels; None for that at creation.
    outline
        Draw the outline of the observation's own label.
    scale_bar
        Draw a bar where the size of a pixel is known; its length, 1, 2 or 5 times a power of ten in micrometres, is
        written in the first crop of a row, or in all if fields differ.
    pixel_size
        Micrometres per pixel, for all fields; None takes what the files said.
    folder
        Folder with the image files, see :func:`saescape.get.crops`, also on thumbnails in place of lost pixels.
    {show}

    Returns
    -------
    Array of :class:`matplotlib.axes.Axes`, `(n_features, n_crops)`.

    Raises
    ------
    KeyError
        No such feature, channel or column, no fitted sparse autoencoder, or no images.
    TypeError
        A column of `.obs` in `features` that is not numeric.
    ValueError
        Something that is no colour, pixels that cannot be reached (see :func:`saescape.get.crops`).

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

    check_adata(adata)
    stored = require_key(adata, "uns", IMAGE_UNS)
    check_integer("n_crops", n_crops)
    ranked = rank_observations(adata, features, key, n_crops)
    available = [str(name) for name in stored["channel_names"]]
    chosen = _resolve_channels(channels, available)
    names = [available[i] for i in chosen]
    colors = check_channel_colors(channel_colors, names, available)
    if pixel_size is not None:
        check_real("pixel_size", pixel_size)
    groups = None if groupby is None else require_key(adata, "obs", groupby, argument="groupby").astype(str).to_numpy()
    if not adata.obs_names.is_unique:
        msg = "`adata.obs_names` are not unique; call `adata.obs_names_make_unique()`."
        raise ValueError(msg)

    wanted = np.unique(np.concatenate([one.top for one in ranked]))
    pictures = None
    if len(wanted):
        pictures = draw_pictures(
            adata,
            wanted,
            chosen,
            channel_colors=colors,
            crop_size=crop_size,
            outline=outline,
            pixel_size=pixel_size,
            folder=folder,
        )

    figure, axes = plt.subplots(
        len(ranked),
        n_crops,
        figsize=(_PANEL * n_crops + 0.5, (_PANEL + _TITLE * (1 if groups is None else 2)) * len(ranked) + 0.3),
        squeeze=False,
        layout="constrained",
    )
    position = {int(row): i for i, row in enumerate(wanted)}
    for axes_row, (label, values, top) in zip(axes, ranked, strict=True):
        for i, ax in enumerate(axes_row):
            _bare(ax)
            if i >= len(top) or pictures is None:
                continue
            at = position[int(top[i])]
            ax.imshow(pictures.colors[at], interpolation="nearest")
            if pictures.outlines is not None:
                draw_outline(ax, pictures.outlines[at])
            if scale_bar and pictures.pixel_size[at] > 0:
                # the length is written once in a row, if it is the same everywhere
                written = i == 0 or len(np.unique(pictures.pixel_size)) > 1
                draw_scale_bar(ax, pictures.colors.shape[1:3], float(pictures.pixel_size[at]), label=written)
            group = "" if groups is None else f"\n{groups[top[i]]}"
            ax.set_title(f"{values[top[i]]:.3g}{group}", fontsize=8, pad=2)
        axes_row[0].set_ylabel(label, fontsize=8)
    draw_channel_legend(figure, names, colors)
    show_if_wanted(show=show)
    return axes


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


def _bare(ax: Any) -> None:
    ax.set_xticks([])
    ax.set_yticks([])
    for spine in ax.spines.values():
        spine.set_visible(False)
