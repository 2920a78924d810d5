from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy import sparse

from saescape._docs import doc_params
from saescape._keys import feature_modules_key
from saescape._logging import logg
from saescape._random import as_generator, child_seed, rng_param
from saescape._stored_features import group_codes, stored_features
from saescape._validate import check_adata, check_copy, check_integer, check_real

from ._feature_inputs import add_columns, as_text
from ._feature_match import _check_slot

if TYPE_CHECKING:
    from anndata import AnnData

    from saescape._typing import BoolArray, IntArray, Rng
    from saescape.coactivation._pairs import Pairs

_ALPHA = 0.05
_N_NAMED = 10


@doc_params
def feature_modules(
    adata: AnnData,
    *,
    key: str | None = None,
    groupby: str | None = None,
    batch_key: str | None = None,
    threshold: float = 0.0,
    min_count: int = 10,
    min_lift: float = 1.5,
    min_size: int = 3,
    resolution: float = 1.0,
    rng: Rng = 0,
    key_added: str | None = None,
    copy: bool = False,
) -> AnnData | None:
    r"""Group features that are active in the same cells, and find features inside of others.

    Two features of the same cell type are active together because of the cell type. With `groupby` and `batch_key` the
    expectation is that of permutations which keep how often each feature is active within each group and batch, so that
    only what goes beyond them counts.

    Parameters
    ----------
    {adata}
    {key}
    groupby
        Column of `.obs` with the cell type (or another partition) within which features are permuted. Without it,
        modules are cell types to a large part.
    batch_key
        Column of `.obs` with the unit of independence (plate, donor, well). Features are permuted within batches, and a
        pair must meet more often than expected in more than half of the batches in which it could.
    threshold
        A feature counts as active above this share of its largest code, in [0, 1). Codes of pooled tokens are
        positive nearly everywhere: raise it there.
    min_count
        Cells in which a pair must be active together.
    min_lift
        Ratio of this number to its expectation that a pair must exceed.
    min_size
        Features of the smallest module.
    resolution
        Of the Leiden algorithm; larger values give more modules.
    {rng}
    {key_added}
    {copy}

    Returns
    -------
    Returns `None` if `copy=False`, else an `AnnData`. Sets the following fields:

    `adata.uns['sae' | key]['features']`
        Columns `module` (`"0"` is the largest; empty for none) and `parent` (name of the feature that this one lies
        inside of; empty for none).
    `adata.uns['feature_modules' | key_added]['modules']` : :class:`pandas.DataFrame`
        Index `module`; `n_features`, `n_pairs` (links inside), `density` (their share of all pairs inside), `mean_pmi`,
        and `top_features` (up to ten, by the sum of their links).
    `adata.uns['feature_modules' | key_added]['hierarchy']` : :class:`pandas.DataFrame`
        One row per feature with a parent: `child`, `parent`, `share_of_child` (of the child's cells in which the parent
        is active), `share_of_parent`, `n_child` and `n_parent` (cells).
    `adata.uns['feature_modules' | key_added]['graph']` : :class:`scipy.sparse.csr_matrix` (dtype `float32`)
        Links `(n_features, n_features)`: pointwise mutual information in bits.
    `adata.uns['feature_modules' | key_added]['n_pairs']` : :class:`dict`
        `possible` pairs of features that fire, `counted` (at least `min_count` common cells) and `linked`.
    `adata.uns['feature_modules' | key_added]['params']` : :class:`dict`
        Arguments.

    Raises
    ------
    KeyError
        When there is no such fit, or `groupby` or `batch_key` does not exist.
    ValueError
        For missing groups and settings out of range.

    Notes
    -----
    For `c` common cells and their expectation `e` the link has the weight :math:`\max(0, \log_2 c / e)`, the positive
    pointwise mutual information of :cite:t:`Church1990`. Mean and variance of `c` under permutations within strata are
    exact (hypergeometric in each stratum); the p-value is the larger of those of the binomial and the normal
    distribution with these two moments, and links have a false discovery rate below 5 % over all pairs of features
    (Benjamini-Hochberg). Modules by the Leiden algorithm :cite:p:`Traag2019`. A parent is active in more than 95 % of
    the cells of its child, of which chance would give at most half, and the child in less than half of its parent's; of
    several, the one with the fewest cells is taken. Cells of one batch are treated as independent given their stratum:
    where the strata are coarse, as without `groupby`, links show cell types.

    Examples
    --------
    >>> import scanpy as sc
    >>> import saescape as sae
    >>> adata = sc.datasets.pbmc68k_reduced()
    >>> sae.tl.sae_fit(adata, 64, use_rep="X_pca", max_epochs=20, show_progress_bar=False)
    >>> sae.tl.feature_modules(adata, groupby="bulk_labels")
    >>> adata.uns["feature_modules"]["graph"].shape
    (64, 64)
    """
    check_adata(adata)
    check_copy(adata, copy=copy)
    check_real("threshold", threshold, 0, np.nextafter(1, 0), open_low=False)
    check_integer("min_count", min_count)
    check_real("min_lift", min_lift, 1, open_low=False)
    check_integer("min_size", min_size, 2)
    check_real("resolution", resolution)
    slot = feature_modules_key(key_added)
    _check_slot(adata, slot, key_added)
    features = stored_features(adata, key)
    groups, _ = group_codes(adata, groupby, "groupby")
    batches, _ = group_codes(adata, batch_key, "batch_key")
    stratum_of = np.unique(groups * (1 + batches.max()) + batches, return_inverse=True)[1].ravel()

    from saescape.coactivation._graph import communities, hierarchy, pair_graph
    from saescape.coactivation._pairs import active_entries, coactive_pairs, share_of_batches

    start = logg.info(f"looking for modules of {int(features.alive.sum())} features")
    active = active_entries(features.codes, threshold)
    n_active = np.asarray(active.sum(0)).ravel().astype(np.int64)
    pairs = coactive_pairs(active, stratum_of, min_count=min_count)
    significant = (pairs.qvalue < _ALPHA) & (pairs.count > min_lift * pairs.expected)
    if batch_key is not None:
        significant &= share_of_batches(active, stratum_of, batches, pairs) > 0.5
    seed = rng_param(rng)
    graph = pair_graph(pairs, significant, len(features.names))
    label = communities(graph, resolution=resolution, min_size=min_size, seed=child_seed(as_generator(rng)))
    parent, of_child, of_parent = hierarchy(pairs, significant, n_active)

    adata = adata.copy() if copy else adata
    names = features.names.astype(str).to_numpy()
    modules = _module_table(graph, label, names)
    child = np.flatnonzero(parent >= 0)
    adata.uns[slot] = {
        "modules": modules,
        "hierarchy": pd.DataFrame(
            {
                "child": names[child],
                "parent": names[parent[child]],
                "share_of_child": of_child[child],
                "share_of_parent": of_parent[child],
                "n_child": n_active[child],
                "n_parent": n_active[parent[child]],
            },
            index=[str(i) for i in range(len(child))],
        ),
        "graph": graph,
        "n_pairs": _pair_numbers(pairs, significant, n_active),
        "params": {
            "key": key,
            "groupby": groupby,
            "batch_key": batch_key,
            "threshold": threshold,
            "min_count": min_count,
            "min_lift": min_lift,
            "min_size": min_size,
            "resolution": resolution,
            "n_strata": int(stratum_of.max()) + 1,
            "rng": seed,
        },
    }
    columns = {
        "module": as_text([i if i >= 0 else None for i in label]),
        "parent": as_text([names[i] if i >= 0 else None for i in parent]),
    }
    add_columns(adata, features.keys, columns)
    logg.info(
        "    finished",
        time=start,
        deep=f"added\n    `.uns[{slot!r}]`, {len(modules)} modules and {len(child)} features with a parent\n"
        f"    columns `module` and `parent` of `.uns[{features.keys.uns!r}]['features']`",
    )
    return adata if copy else None


def _pair_numbers(pairs: Pairs, significant: BoolArray, n_active: IntArray) -> dict[str, int]:
    n_alive = int(np.count_nonzero(n_active))
    return {
        "possible": n_alive * (n_alive - 1) // 2,
        "counted": len(pairs.count),
        "linked": int(significant.sum()),
    }


def _module_table(graph: sparse.csr_matrix, label: IntArray, names: np.ndarray) -> pd.DataFrame:
    rows: list[dict[str, Any]] = []
    for module in range(int(label.max(initial=-1)) + 1):
        members = np.flatnonzero(label == module)
        inside = sparse.csr_matrix(graph[members][:, members])
        n, n_pairs = len(members), inside.nnz // 2
        strongest = members[np.argsort(-np.asarray(inside.sum(0)).ravel(), kind="stable")]
        rows.append(
            {
                "n_features": n,
                "n_pairs": n_pairs,
                "density": 2 * n_pairs / (n * (n - 1)),
                "mean_pmi": float(inside.data.mean()),
                "top_features": ",".join(names[strongest[:_N_NAMED]]),
            }
        )
    columns = ["n_features", "n_pairs", "density", "mean_pmi", "top_features"]
    return pd.DataFrame(rows, columns=columns, index=pd.Index([str(i) for i in range(len(rows))], name="module"))
