"""What `tl.feature_match` compares: directions, activity or profiles over genes, with what is there by chance."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy import sparse

from saescape._rep import get_representation
from saescape._rows import RowSource
from saescape._store import from_uns
from saescape.matching._nulls import RandomDirections, RandomFeatures, permuted_cells
from saescape.matching._similarity import Activity, CodeCorrelation, CosineSimilarity

from ._superposition_inputs import pooled_rows
from ._superposition_recoding import coded_rows

if TYPE_CHECKING:
    from collections.abc import Callable

    from anndata import AnnData

    from saescape._stored_features import StoredFeatures
    from saescape._typing import FloatArray, IntArray
    from saescape.matching._similarity import Similarity

_MIN_CELLS, _MIN_GENES = 10, 10
# cells on which random features and permutations are made
_NULL_CELLS = 4_000
# entries of expression that are dense at once
_BLOCK_ENTRIES = 2**25


@dataclass(frozen=True)
class Side:
    """One AnnData with its features; only alive ones take part."""

    adata: AnnData
    features: StoredFeatures
    key: str | None
    layer: str | None

    @property
    def alive(self) -> IntArray:
        return np.flatnonzero(self.features.alive)

    @property
    def name(self) -> str:
        return self.features.adata_name


@dataclass(frozen=True)
class Comparison:
    """Similarities of the alive features of two sides, and those with dictionaries that chance drew, of some kinds."""

    similarity: Similarity
    chance: dict[str, Callable[[np.random.Generator], Similarity]]
    n_shared: int


def compare_decoders(side: Side, other: Side) -> Comparison:
    """Cosines of directions in the same input space."""
    first, second = side.features.decoder, other.features.decoder
    names, names_ref = (_input_names(s) for s in (side, other))
    if first.shape[1] != second.shape[1]:
        msg = (
            f"`on='decoder'` needs the same input space, found {first.shape[1]} dimensions in `{side.name}` and "
            f"{second.shape[1]} in `{other.name}`; use `on='codes'` for the same cells, or `on='genes'`."
        )
        raise ValueError(msg)
    if len(names) == len(names_ref) == first.shape[1] and not np.array_equal(names, names_ref):
        position = pd.Index(names_ref).get_indexer(names)
        if (position < 0).any():
            msg = (
                f"`on='decoder'` needs the same input space, but dimension {str(names[position < 0][0])!r} of "
                f"`{side.name}` is not among those of `{other.name}` ({str(names_ref[0])!r}, ...); use `on='codes'` "
                "for the same cells or `on='genes'` for shared genes."
            )
            raise ValueError(msg)
        second = second[:, position]
    return _compare_profiles(first[side.alive], second[other.alive], first.shape[1])


def _input_names(side: Side) -> np.ndarray:
    # zarr gives strings of a dtype of their own, which do not cast
    return np.array([str(name) for name in side.features.entry.get("input_names", [])], dtype=object)


def _compare_profiles(first: FloatArray, second: FloatArray, n_shared: int) -> Comparison:
    similarity = CosineSimilarity.of(first, second)
    random = RandomDirections(second)

    def chance(rng: np.random.Generator) -> Similarity:
        return CosineSimilarity(similarity.first, random.draw(len(second), rng).astype(np.float32))

    return Comparison(similarity, {"random_directions": chance}, n_shared)


def compare_codes(side: Side, other: Side, rng: np.random.Generator) -> Comparison:
    """Correlation over the observations that both sides have."""
    for s in (side, other):
        if not s.adata.obs_names.is_unique:
            msg = f"`on='codes'` needs unique `{s.name}.obs_names`; call `{s.name}.obs_names_make_unique()`."
            raise ValueError(msg)
    position = other.adata.obs_names.get_indexer(side.adata.obs_names)
    cells = np.flatnonzero(position >= 0)
    if len(cells) < _MIN_CELLS:
        msg = (
            f"`on='codes'` needs the same cells, but `{side.name}` and `{other.name}` share {len(cells)} of their "
            f"`obs_names` (at least {_MIN_CELLS} are needed), such as {side.adata.obs_names[0]!r} and "
            f"{other.adata.obs_names[0]!r}; use `on='genes'` for different cells."
        )
        raise ValueError(msg)
    first = side.features.codes[cells][:, side.alive]
    second = other.features.codes[position[cells]][:, other.alive]
    similarity = CodeCorrelation.of(first, second)
    # chance levels come from fewer cells, which makes them higher, if anything
    some = cells if len(cells) <= _NULL_CELLS else np.sort(rng.choice(cells, _NULL_CELLS, replace=False))
    here = Activity.of(side.features.codes[some][:, side.alive])
    there = sparse.csr_matrix(other.features.codes[position[some]][:, other.alive])

    def permuted(rng: np.random.Generator) -> Similarity:
        return CodeCorrelation(here, Activity.of(permuted_cells(there, rng)))

    chance: dict[str, Callable[[np.random.Generator], Similarity]] = {"permuted_cells": permuted}
    rows = _representation(other, position[some])
    if rows is not None:
        random = RandomFeatures(rows, there)

        def drawn(rng: np.random.Generator) -> Similarity:
            return CodeCorrelation(here, Activity.of(random.draw(rng)))

        chance["random_features"] = drawn
    return Comparison(similarity, chance, len(cells))


def _representation(side: Side, cells: IntArray) -> FloatArray | None:
    """Rows that the features were fitted on, mean over positions; None where they are not at hand."""
    if "W_enc" not in side.features.entry.get("weights", {}):
        return None
    rows = coded_rows(side.adata, from_uns(side.adata, side.key, adata_name=side.name))
    return None if rows is None else pooled_rows(rows, cells)


def compare_genes(side: Side, other: Side) -> tuple[Comparison, str]:
    """Correlation of profiles over shared genes, and what the profiles are: loadings, or else association."""
    for s in (side, other):
        if not s.adata.var_names.is_unique:
            msg = f"`on='genes'` needs unique `{s.name}.var_names`; call `{s.name}.var_names_make_unique()`."
            raise ValueError(msg)
    position = other.adata.var_names.get_indexer(side.adata.var_names)
    genes = np.flatnonzero(position >= 0)
    if len(genes) < _MIN_GENES:
        msg = (
            f"`on='genes'` needs shared genes, but `{side.name}` and `{other.name}` share {len(genes)} of their "
            f"`var_names` (at least {_MIN_GENES} are needed): {list(side.adata.var_names[:3])} and "
            f"{list(other.adata.var_names[:3])}. Use the same naming in both."
        )
        raise ValueError(msg)
    loadings, loadings_ref = _loadings(side), _loadings(other)
    if side.layer is None and other.layer is None and loadings is not None and loadings_ref is not None:
        source = "loadings"
        first, second = loadings[:, genes], loadings_ref[:, position[genes]]
    else:
        source = "association"
        first, second = _association(side, genes), _association(other, position[genes])
    first, second = (_centred(profile, own=source == "association") for profile in (first, second))
    return _compare_profiles(first, second, len(genes)), source


def _loadings(side: Side) -> FloatArray | None:
    stored = side.adata.varm.get(side.features.keys.varm)
    if stored is None or np.ndim(stored) != 2 or stored.shape[1] != side.features.codes.shape[1]:
        return None
    return np.asarray(stored, dtype=np.float64).T[side.alive]


def _association(side: Side, genes: IntArray) -> FloatArray:
    """Pearson correlation of each alive feature with each gene."""
    from saescape.links._association import strength

    rows = get_representation(side.adata, None, side.layer, adata_name=side.name).rows
    codes = sparse.csr_matrix(side.features.codes[:, side.alive], dtype=np.float32)
    n_columns, parts = max(1, _BLOCK_ENTRIES // side.adata.n_obs), []
    for low in range(0, len(genes), n_columns):
        some = RowSource(rows.data, columns=genes[low : low + n_columns], where=rows.where)
        parts.append(strength(codes, some.read_all()).correlation)
    return np.nan_to_num(np.concatenate(parts, 1))


def _centred(profile: FloatArray, *, own: bool) -> FloatArray:
    """Without each feature's mean over genes; with `own`, first without what all features share (such as depth)."""
    if own and len(profile) > 1:
        profile = profile - profile.mean(0)
    return profile - profile.mean(1, keepdims=True)
