"""The peers, each called through its public functions as its documentation does; all return a dense coupling."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np

from .costs import euclidean, graph_distances, prepared

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .data import Pair

#: what each peer needs beside this package's own requirements
PACKAGES = {"moscot": "moscot"}


def missing(method: str) -> str | None:
    """Name the package that has to be installed to run a method, if it is absent."""
    package = PACKAGES.get(method)
    return package if package is not None and find_spec(package) is None else None


def versions() -> str:
    found = []
    for name in ("saescape", "pot", "moscot", "ott-jax", "jax", "torch", "numpy", "scipy"):
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            found.append(f"{name} not installed")
    return ", ".join(found)


def pot_entropic(pair: Pair, *, rows: str = "raw", **arguments: Any) -> NDArray:
    import ot

    return ot.gromov.entropic_gromov_wasserstein(
        euclidean(pair.x, rows), euclidean(pair.y, rows), loss_fun="square_loss", symmetric=True, **arguments
    )


def pot_proximal(pair: Pair, **arguments: Any) -> NDArray:
    """POT's entropic solver with proximal point steps: epsilon is the size of a step, not of the regularisation."""
    return pot_entropic(pair, solver="PPA", **arguments)


def pot_exact(pair: Pair, *, rows: str = "raw") -> NDArray:
    import ot

    return ot.gromov.gromov_wasserstein(euclidean(pair.x, rows), euclidean(pair.y, rows), symmetric=True)


def pot_low_rank(pair: Pair, *, rank: int, rows: str = "raw") -> NDArray:
    import ot

    left, right, weight = ot.gromov.lowrank_gromov_wasserstein_samples(
        prepared(pair.x, rows), prepared(pair.y, rows), rank=rank
    )
    return (left / weight) @ right.T


def pot_quantized(pair: Pair, *, n_parts: int | None = None, rows: str = "raw") -> NDArray:
    """Quantized transport; without `n_parts` (POT has no default) twice the square root of the cells."""
    import ot

    sides = [prepared(x, rows) for x in (pair.x, pair.y)]
    sizes = [n_parts or int(2 * len(side) ** 0.5) for side in sides]
    grouped = ot.gromov.quantized_fused_gromov_wasserstein_samples(*sides, *sizes, random_state=0)[2]
    # POT 0.9.7 returns cells in the order of their parts; here they are put back, to its advantage
    orders = []
    for side, size in zip(sides, sizes, strict=True):
        part = ot.gromov.get_partition_and_representants_samples(side, size, "kmeans", 0)[0]
        orders.append(np.concatenate([np.flatnonzero(part == p) for p in np.unique(part)]))
    plan = np.empty_like(grouped)
    plan[np.ix_(*orders)] = grouped
    return plan


def scot(pair: Pair, *, n_neighbors: int = 50, epsilon: float = 1e-3) -> NDArray:
    """The procedure of SCOT with the solver of POT: steps in the graph of neighbours, entropic transport."""
    import ot

    costs = [graph_distances(x, n_neighbors) for x in (pair.x, pair.y)]
    return ot.gromov.entropic_gromov_wasserstein(
        *costs, loss_fun="square_loss", epsilon=epsilon, symmetric=True, max_iter=1000, tol=1e-9
    )


def moscot(pair: Pair, *, rows: str = "raw", cost: str = "sq_euclidean", **arguments: Any) -> NDArray:
    import anndata as ad
    from moscot.problems.cross_modality import TranslationProblem

    sides = [ad.AnnData(prepared(x, rows).astype(np.float32)) for x in (pair.x, pair.y)]
    for side in sides:
        side.obsm["rep"] = side.X
    problem = TranslationProblem(*sides).prepare(src_attr="rep", tgt_attr="rep", cost=cost)
    problem = problem.solve(**arguments)
    (solution,) = problem.solutions.values()
    return np.asarray(solution.transport_matrix, dtype=float)


METHODS = {
    "POT entropic": pot_entropic,
    "POT proximal": pot_proximal,
    "POT exact": pot_exact,
    "POT low-rank": pot_low_rank,
    "POT quantized": pot_quantized,
    "SCOT procedure": scot,
    "moscot": moscot,
}
