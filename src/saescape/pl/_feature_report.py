from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from saescape._docs import doc_params
from saescape._files import replacing
from saescape._keys import IMAGE_UNS, sae_keys
from saescape._logging import logg
from saescape._random import as_generator
from saescape._stored_features import stored_features
from saescape._validate import check_adata, check_integer, require_key, string_list

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from os import PathLike

    from anndata import AnnData

    from saescape._typing import IntArray, Rng

# first of these in `.obsm` when no basis is given
_BASES = ("X_umap", "X_tsne", "X_draw_graph_fa", "X_pca")
# crops that are read at once
_CROPS = 2048
_ANNOTATION = {"Genes": "genes", "Gene sets": "enrichment", "Groups and measurements": "concepts"}


@doc_params
def feature_report(
    adata: AnnData,
    path: str | PathLike[str],
    *,
    key: str | None = None,
    features: str | int | Sequence[str | int] | None = None,
    groupby: str | Sequence[str] | None = None,
    basis: str | None = None,
    exemplar_key: str | None = None,
    n_obs: int = 12,
    channels: Sequence[str] | None = None,
    crop_size: int | None = None,
    folder: str | Path | None = None,
    title: str = "Features",
    rng: Rng = 0,
) -> Path:
    """Write a page about every feature into one HTML file that needs no network and no server.

    A table that can be searched and sorted leads to a page per feature: crops or observations in which it is most
    active, activations, where they are on the embedding, groups, genes and gene sets, features that are alike or active
    together, and what else is known of it. Anything that is missing is left out. Nothing is computed again: run the
    tools whose results shall be in the report before.

    Parameters
    ----------
    {adata}
    path
        File to write; it is replaced.
    {key}
    features
        Names or numbers of the features that get a page; None for all that are active somewhere.
    groupby
        Columns of `.obs` to summarise; None for all categorical columns with 2 to 50 groups, except those of quality.
    basis
        Two columns of `.obsm` to draw, such as `"X_umap"` or `"umap"`; None for the first of UMAP, t-SNE, ForceAtlas2,
        PCA that is there.
    exemplar_key
        Column of `.obs`, such as the donor: no group of it fills more than a third of the exemplars.
    n_obs
        Exemplars of each feature.
    channels
        Channels of the crops, see :func:`saescape.pl.top_crops`.
    crop_size
        Side of the crops in pixels; None for that at creation.
    folder
        Folder with the image files, see :func:`saescape.get.crops`.
    title
        Heading of the report.
    {rng}

    Returns
    -------
    The path of the file.

    Raises
    ------
    KeyError
        No fitted sparse autoencoder, no such feature, column or basis.
    FileNotFoundError, IsADirectoryError
        If the folder of `path` does not exist, or `path` is one.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> import scanpy as sc
    >>> import saescape as sae
    >>> adata = sc.datasets.pbmc68k_reduced()
    >>> sae.tl.sae_fit(adata, 32, use_rep="X_pca", max_epochs=2, show_progress_bar=False)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     written = sae.pl.feature_report(adata, Path(folder) / "features.html", groupby="bulk_labels")
    ...     written.read_text(encoding="utf-8")[:15]
    '<!doctype html>'
    """
    check_adata(adata)
    check_integer("n_obs", n_obs)
    stored = stored_features(adata, key)
    names = [str(name) for name in stored.names]
    chosen = np.flatnonzero(stored.alive) if features is None else stored.positions(features, "features")
    target = Path(path)
    if target.is_dir():
        msg = f"`path` must be a file, but {str(target)!r} is a folder."
        raise IsADirectoryError(msg)
    if not target.parent.is_dir():
        msg = f"`path`: there is no folder {str(target.parent)!r}; create it first."
        raise FileNotFoundError(msg)
    columns = _groupings(adata, groupby)
    shown = _basis(adata, basis)
    exemplar_groups = None
    if exemplar_key is not None:
        exemplar_groups = pd.factorize(require_key(adata, "obs", exemplar_key, argument="exemplar_key"))[0]

    from saescape.report._collect import collect
    from saescape.report._page import render
    from saescape.report._statistics import Codes

    start = logg.info("writing a report of the features")
    data, tops = collect(
        Codes.of(stored.codes),
        chosen,
        names=names,
        table=stored.table,
        decoder=stored.decoder.astype(np.float64),
        obs_names=[str(name) for name in adata.obs_names],
        groupby=columns,
        annotation=_annotation(adata, stored.keys.uns),
        basis=shown,
        exemplar_groups=exemplar_groups,
        n_top=n_obs,
        title=title,
        subtitle=_subtitle(adata, len(chosen), len(names), stored.entry),
        rng=as_generator(rng),
    )
    pictures = {}
    if IMAGE_UNS in adata.uns:
        pictures = _pictures(
            adata,
            key,
            [names[i] for i in chosen],
            chosen,
            tops,
            channels=channels,
            crop_size=crop_size,
            folder=folder,
        )
    with replacing(target) as temporary:
        Path(temporary).write_text(render(data, pictures), encoding="utf-8")
    size = target.stat().st_size / 2**20
    logg.info(f"    finished: {len(chosen)} features, {size:.1f} MiB in {str(target)!r}", time=start)
    return target


def _groupings(adata: AnnData, groupby: str | Sequence[str] | None) -> list[pd.Series]:
    if groupby is not None:
        return [require_key(adata, "obs", name, argument="groupby") for name in string_list("groupby", groupby)]
    found = []
    for name in adata.obs:
        column = adata.obs[name]
        is_quality = str(name).startswith("qc_")
        if isinstance(column.dtype, pd.CategoricalDtype) and 2 <= column.nunique() <= 50 and not is_quality:
            found.append(column)
    return found


def _basis(adata: AnnData, basis: str | None) -> tuple[str, np.ndarray] | None:
    if basis is None:
        basis = next((name for name in _BASES if name in adata.obsm), None)
        if basis is None:
            return None
    elif basis not in adata.obsm and f"X_{basis}" in adata.obsm:
        basis = f"X_{basis}"
    coordinates = np.asarray(require_key(adata, "obsm", basis, argument="basis"))
    if coordinates.ndim != 2 or coordinates.shape[1] < 2:
        msg = f"`basis={basis!r}` needs two columns, found shape {coordinates.shape}."
        raise ValueError(msg)
    return basis.removeprefix("X_").replace("umap", "UMAP").replace("pca", "PCA"), coordinates[:, :2]


def _annotation(adata: AnnData, uns_key: str) -> dict[str, pd.DataFrame]:
    found = {}
    for heading, name in _ANNOTATION.items():
        table = adata.uns.get(f"{uns_key}_{name}")
        table = table.get("results") if isinstance(table, dict) else table
        if isinstance(table, pd.DataFrame) and "feature" in table:
            found[heading] = table
    return found


def _subtitle(adata: AnnData, n_shown: int, n_features: int, model: Mapping[str, Any]) -> str:
    metrics = model.get("metrics", {})
    words = [f"{n_shown:,} of {n_features:,} features", f"{adata.n_obs:,} observations"]
    if "fvu" in metrics:
        words.append(f"{100 * (1 - float(metrics['fvu'])):.3g} % of the variance explained")
    if "l0" in metrics:
        words.append(f"{float(metrics['l0']):.3g} features active in an observation")
    return ", ".join(words) + "."


def _pictures(
    adata: AnnData,
    key: str | None,
    names: list[str],
    numbers: IntArray,
    tops: list[IntArray],
    *,
    channels: Sequence[str] | None,
    crop_size: int | None,
    folder: str | Path | None,
) -> dict[str, Any]:
    """Sheets of crops, and of maps where the model was fitted on tokens, by feature."""
    from saescape.maps._overlay import overlay
    from saescape.report._sheets import sheet

    from ._crop_pictures import draw_pictures
    from ._top_crops import _resolve_channels

    stored = adata.uns[IMAGE_UNS]
    chosen = _resolve_channels(channels, [str(name) for name in stored["channel_names"]])
    wanted = np.unique(np.concatenate([*tops, np.zeros(0, dtype=np.int64)]))
    drawn: dict[int, np.ndarray] = {}
    for start in range(0, len(wanted), _CROPS):
        part = wanted[start : start + _CROPS]
        found = draw_pictures(
            adata, part, chosen, channel_colors=None, crop_size=crop_size, outline=False, folder=folder
        )
        drawn.update(zip(part.tolist(), found.colors, strict=True))
    pictures = {
        name: np.stack([drawn[int(row)] for row in top]) for name, top in zip(names, tops, strict=True) if len(top)
    }
    sheets: dict[str, Any] = {"crops": {name: sheet(of_feature) for name, of_feature in pictures.items()}}
    maps = None if crop_size is not None else _maps(adata, key, numbers, tops)
    if maps is not None:
        of_name = dict(zip(names, maps, strict=True))
        sheets["maps"] = {
            name: sheet(overlay(of_feature, of_name[name], float(of_name[name].max())))
            for name, of_feature in pictures.items()
        }
    return sheets


def _maps(adata: AnnData, key: str | None, numbers: IntArray, tops: list[IntArray]) -> list[np.ndarray] | None:
    """Maps of the exemplars of each feature, if the model was fitted on tokens of images that are here."""
    from saescape.get import sae
    from saescape.maps._grid import tokens_of
    from saescape.maps._token_maps import token_maps

    found = tokens_of(adata, adata.uns[sae_keys(key).uns]["params"].get("use_rep"))
    if found is None:
        return None
    sizes = [len(top) for top in tops]
    rows = np.concatenate([*tops, np.zeros(0, dtype=np.int64)])
    maps = token_maps(sae(adata, key=key), *found, rows, np.repeat(numbers, sizes))
    return np.split(maps, np.cumsum(sizes)[:-1])
