"""Links counted between groups of features, gene modules and gene sets."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from saescape._keys import sae_keys
from saescape._validate import require_key

from ._links_order import similar_groups

if TYPE_CHECKING:
    from anndata import AnnData

    from saescape._typing import FloatArray, IntArray
    from saescape.links._stored import StoredLinks

_MAX_GROUPS = 30
_MAX_OWN_GROUPS = 8
_LONGEST = 30
_NONE = "none"


@dataclass(frozen=True)
class Flows:
    """Names of the nodes of each column and the flows `(n_sources, n_targets, 2)` from each column to the next.

    The last axis is negative and positive links. `top_genes` of each gene module are those with most links.
    """

    names: list[list[str]]
    flows: list[FloatArray]
    top_genes: list[str]

    @property
    def sizes(self) -> list[FloatArray]:
        """Size of each node; what leaves a gene module is never more than what reaches it."""
        return [self.flows[0].sum((1, 2)), *(flow.sum((0, 2)) for flow in self.flows)]


def count_flows(
    adata: AnnData,
    links: StoredLinks,
    groupby: str | Mapping[str, str] | None,
    max_qvalue: float,
    weight: str,
    n_top_sets: int,
) -> Flows | None:
    """Sum significant links over groups; None when there are none.

    Raises
    ------
    KeyError
        If `groupby` names a column that does not exist.
    ValueError
        If it has no group for any feature, or too many.
    """
    significant = links.significant(max_qvalue)
    size = significant * (links.strength if weight == "zscore" else 1.0)
    groups = None if groupby is None else _given_groups(adata, links, groupby)
    if not size.any():
        return None
    signed = np.stack([size * (links.zscore < 0), size * ~(links.zscore < 0)], axis=-1)
    if groups is None:
        groups = _own_groups(links, size)
    group_names, group = _used(groups, size.sum(1))
    module_names, module = _used(pd.Categorical(links.module, categories=links.modules), size.sum(0))
    # features x genes -> groups x genes
    from_groups = np.stack([signed[group == i].sum(0) for i in range(len(group_names))])
    to_modules = np.stack([from_groups[:, module == i].sum(1) for i in range(len(module_names))], axis=1)
    names, flows = [group_names, module_names], [to_modules]
    set_names, membership = _sets(links, max_qvalue, n_top_sets)
    if set_names:
        per_gene = signed.sum(0)
        to_sets = np.stack(
            [
                np.einsum("sg,gk->sk", membership[:, module == i], per_gene[module == i])
                for i in range(len(module_names))
            ]
        )
        used = to_sets.sum((0, 2)) > 0
        if used.any():
            flows.append(to_sets[:, used])
            names.append([name for name, keep in zip(set_names, used, strict=True) if keep])
    of_genes = size.sum(0)
    top_genes = [_strongest(links.genes, np.flatnonzero(module == i), of_genes) for i in range(len(module_names))]
    return Flows(names, flows, top_genes)


def _strongest(names: pd.Index, members: IntArray, size: FloatArray) -> str:
    """Name a group by the one or two of its members with most links, and say how many more have any."""
    members = members[size[members] > 0]
    members = members[np.argsort(-size[members], kind="stable")]
    shown = members[:2] if sum(len(str(names[i])) for i in members[:2]) <= _LONGEST else members[:1]
    more = f" +{len(members) - len(shown)}" if len(members) > len(shown) else ""
    return ", ".join(str(names[i]) for i in shown) + more


def _used(groups: pd.Categorical, size: FloatArray) -> tuple[list[str], FloatArray]:
    """Names of the groups with links, those without a group last, and the number of each member's group."""
    codes = np.where(groups.codes < 0, len(groups.categories), groups.codes)
    total = np.bincount(codes, weights=size, minlength=len(groups.categories) + 1)
    number = np.where(total > 0, np.cumsum(total > 0) - 1, -1)
    names = [str(name) for name in [*groups.categories, _NONE]]
    return [name for name, some in zip(names, total > 0, strict=True) if some], number[codes]


def _given_groups(adata: AnnData, links: StoredLinks, groupby: str | Mapping[str, str]) -> pd.Categorical:
    if isinstance(groupby, Mapping):
        where = "`groupby`"
        column = pd.Series(dict(groupby), dtype=object)
    else:
        feature_key = str(links.entry.get("params", {}).get("feature_key", "sae"))
        name = sae_keys(None if feature_key in {"sae", "X_sae"} else feature_key).uns
        where = f"`adata.uns[{name!r}]['features'][{groupby!r}]`"
        table = require_key(adata, "uns", name)["features"]
        if groupby not in table:
            msg = f"`groupby={groupby!r}`: no such column in `adata.uns[{name!r}]['features']`; found {list(table)}."
            raise KeyError(msg)
        column = table[groupby]
    of_features = column.reindex(links.features).astype("category").cat.rename_categories(str)
    of_features = of_features.cat.remove_unused_categories()
    if of_features.isna().all():
        msg = f"{where} has no group for any of the features with links, such as {links.features[0]!r}."
        raise ValueError(msg)
    if len(of_features.cat.categories) > _MAX_GROUPS:
        msg = (
            f"{where} has {len(of_features.cat.categories)} groups, of which at most {_MAX_GROUPS} can be drawn; "
            "cut numbers into classes (`pandas.cut`)."
        )
        raise ValueError(msg)
    return of_features.array


def _own_groups(links: StoredLinks, size: FloatArray) -> pd.Categorical:
    """Clusters of the features with links, named by their strongest ones."""
    rows, columns = np.flatnonzero(size.any(1)), np.flatnonzero(size.any(0))
    n_groups = min(max(len({links.module[i] for i in columns}), 2), _MAX_OWN_GROUPS)
    group = similar_groups(np.nan_to_num(links.zscore[np.ix_(rows, columns)]), n_groups)
    of_features = size.sum(1)
    names = [_strongest(links.features, rows[group == i], of_features) for i in range(group.max() + 1)]
    codes = np.full(len(links.features), -1)
    codes[rows] = group
    # groups beside the modules that they go to, so that fewer bands cross
    place = {name: i for i, name in enumerate([*links.modules, None])}
    height = np.array([place[name] for name in links.module], dtype=float)
    center = [size[codes == i].sum(0) @ height / size[codes == i].sum() for i in range(len(names))]
    order = np.argsort(center, kind="stable")
    rank = np.append(np.argsort(order), -1)
    return pd.Categorical.from_codes(rank[codes], categories=[names[i] for i in order])


def _sets(links: StoredLinks, max_qvalue: float, n_top_sets: int) -> tuple[list[str], FloatArray]:
    """Enriched sets, those of the first module first, and the share `(n_sets, n_genes)` of a gene's links they get."""
    table = links.entry.get("enrichment")
    if table is None or n_top_sets == 0:
        return [], np.zeros((0, len(links.genes)))
    table = table[table["qvalue"] <= max_qvalue]
    chosen = [
        rows.sort_values("qvalue", kind="stable").head(n_top_sets)
        for name in links.modules
        for rows in [table[table["module"].astype(str) == name]]
    ]
    rows = [row for part in chosen for row in part.to_dict("records")]
    names = list(dict.fromkeys(str(row["gene_set"]) for row in rows))
    member = np.zeros((len(names), len(links.genes)))
    own = np.array([name or "" for name in links.module])
    for row in rows:
        genes = row["genes"]
        inside = links.genes.isin(re.split(r"[,;\s]+", genes) if isinstance(genes, str) else list(genes))
        member[names.index(str(row["gene_set"])), inside & (own == str(row["module"]))] = 1.0
    return names, member / np.maximum(member.sum(0), 1.0)
