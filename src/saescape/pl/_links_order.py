"""Which features and genes a plot of their links shows, and in which order."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from saescape._typing import FloatArray, IntArray


def strongest_per_module(strength: FloatArray, module: Sequence[str | None], n_top: int) -> IntArray:
    """Genes with the largest `strength` `(n_genes,)`, the modules taking turns; genes without strength are left out."""
    order = np.argsort(-strength, kind="stable")
    turn = np.zeros(len(order), dtype=int)
    seen: dict[str | None, int] = {}
    for gene in order:
        turn[gene] = seen[module[gene]] = seen.get(module[gene], -1) + 1
    ranked = order[np.argsort(turn[order], kind="stable")]
    return np.sort(ranked[strength[ranked] > 0][:n_top])


def order_genes(values: FloatArray, module: Sequence[str | None], modules: Sequence[str]) -> IntArray:
    """Columns of `values` `(n_features, n_genes)`: module by module, alike ones side by side, those without last."""
    ordered: list[IntArray] = []
    for name in [*modules, None]:
        members = np.array([i for i, own in enumerate(module) if own == name], dtype=int)
        if len(members):
            ordered.append(members[similar_beside(values[:, members].T)])
    return np.concatenate(ordered)


def order_features(values: FloatArray, module: Sequence[str | None], modules: Sequence[str]) -> IntArray:
    """Rows of `values`: by the module of their strongest mean, alike ones side by side within."""
    present = [name for name in modules if name in module]
    if not present:
        return similar_beside(values)
    means = [np.abs(values[:, [own == name for own in module]]).mean(1) for name in present]
    strongest = np.argmax(means, axis=0)
    ordered = [
        members[similar_beside(values[members])]
        for members in (np.flatnonzero(strongest == i) for i in range(len(present)))
        if len(members)
    ]
    return np.concatenate(ordered)


def similar_beside(rows: FloatArray) -> IntArray:
    """Order of the rows in their hierarchical clustering (average linkage, euclidean, optimal order of the leaves)."""
    if len(rows) < 3:
        return np.arange(len(rows))
    from scipy.cluster.hierarchy import leaves_list, linkage
    from scipy.spatial.distance import pdist

    return leaves_list(linkage(pdist(rows), "average", optimal_ordering=True))


def similar_groups(rows: FloatArray, n_groups: int) -> IntArray:
    """Group of each row, at most `n_groups` by the same clustering, numbered by their first row."""
    if len(rows) < 2 or n_groups < 2:
        return np.zeros(len(rows), dtype=int)
    from scipy.cluster.hierarchy import fcluster, linkage
    from scipy.spatial.distance import pdist

    group = fcluster(linkage(pdist(rows), "average"), n_groups, criterion="maxclust")
    first = {name: i for i, name in enumerate(dict.fromkeys(group))}
    return np.array([first[name] for name in group])
