"""Unrelated clouds of the data's own pieces, for refitted nulls."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.sparse.csgraph import breadth_first_order, minimum_spanning_tree
from scipy.spatial.distance import cdist

from saescape._random import child_seed

from ._nulls import centred

if TYPE_CHECKING:
    from collections.abc import Sequence

    from saescape._typing import FloatArray, IntArray

# few: about as many as there are clusters or branches, each of which then stays as it is
_N_PIECES = (4, 8)
# largest SD of the logarithm of the number of cells of a piece, and of its distance from the joint
_SIZE_SD = 0.7
_LENGTH_SD = 0.5
_N_PARTNERS = 5


def rearranged_pieces(views: Sequence[FloatArray], rng: np.random.Generator) -> tuple[list[FloatArray], IntArray]:
    """Turn the pieces of the data at random about their joints, all views `(n, d_v)` alike.

    The pieces are k-means clusters, hung together as in the shortest tree through their centres. Each is turned about
    the middle of the way to its neighbour in the tree, what hangs on it is moved along, its distance and its number
    of cells are drawn anew: the pivot moves of polymer chains (Madras & Sokal 1988). A cluster or a branch stays as it
    is; how they lie to each other is chance.

    Returns the images and the cell `(n,)` that each row was.
    """
    first = centred(views[0])
    n_pieces = min(int(rng.integers(_N_PIECES[0], _N_PIECES[1] + 1)), len(np.unique(first, axis=0)))
    piece = _pieces(first, n_pieces, rng)
    n_pieces = int(piece.max()) + 1
    order, parent = _tree(_centres(first, piece), int(rng.integers(n_pieces)))
    # from pieces as long and as large as they were to ones that differ much
    change = rng.random()
    length = np.exp(change * _LENGTH_SD * rng.normal(size=n_pieces))
    size = np.exp(change * _SIZE_SD * rng.normal(size=n_pieces))
    cell, partner, share = _drawn_cells(first, piece, size, rng)
    seed = int(rng.integers(2**63 - 1))
    images = []
    for view in views:
        x, singular_values = _principal(centred(view))
        # one state of the generator: the same turns for all views
        moved = _turned(x, singular_values, piece, order, parent, length, np.random.default_rng(seed))
        images.append(centred(moved[cell] + share[:, None] * (moved[partner] - moved[cell])))
    return images, cell


def _turned(
    x: FloatArray,
    singular_values: FloatArray,
    piece: IntArray,
    order: IntArray,
    parent: IntArray,
    length: FloatArray,
    rng: np.random.Generator,
) -> FloatArray:
    """The pieces in random orientations, each joined to its parent half-way between their centres."""
    centre = _centres(x, piece)
    q = _n_turned(singular_values)
    turn = {order[0]: np.eye(x.shape[1])}
    origin = {order[0]: (np.zeros(x.shape[1]), np.zeros(x.shape[1]))}
    moved = x.copy()
    for child in order[1:]:
        above = parent[child]
        joint = (centre[child] + centre[above]) / 2
        before, after = origin[above]
        turn[child] = np.eye(x.shape[1])
        turn[child][:q, :q] = np.linalg.qr(rng.normal(size=(q, q)))[0]
        stretch = (length[child] - 1) * (centre[child] - joint) @ turn[child]
        origin[child] = joint, (joint - before) @ turn[above] + after + stretch
        inside = piece == child
        moved[inside] = (x[inside] - joint) @ turn[child] + origin[child][1]
    return moved


def _n_turned(singular_values: FloatArray) -> int:
    """Leading axes that hold most of the variance: their participation ratio and one."""
    variance = singular_values**2
    return min(int(np.ceil(variance.sum() ** 2 / (variance**2).sum())) + 1, len(variance))


def _pieces(x: FloatArray, n_pieces: int, rng: np.random.Generator) -> IntArray:
    from sklearn.cluster import KMeans

    label = KMeans(n_pieces, n_init=1, random_state=child_seed(rng) % 2**32).fit(x).labels_
    return np.unique(label, return_inverse=True)[1]


def _centres(x: FloatArray, piece: IntArray) -> FloatArray:
    return np.stack([x[piece == i].mean(0) for i in range(piece.max() + 1)])


def _tree(centre: FloatArray, root: int) -> tuple[IntArray, IntArray]:
    """Pieces in the order of the tree, and the parent of each."""
    tree = minimum_spanning_tree(cdist(centre, centre))
    return breadth_first_order(tree, root, directed=False)


def _drawn_cells(
    x: FloatArray, piece: IntArray, size: FloatArray, rng: np.random.Generator
) -> tuple[IntArray, IntArray, FloatArray]:
    """As many cells as there are, in proportion to the `size` of their pieces, and a point on the way to a near one.

    The second cell, of the same piece, keeps those that are drawn twice from being copies.
    """
    n = len(x)
    weight = size[piece]
    cell = rng.choice(n, n, p=weight / weight.sum())
    distance = cdist(x[cell], x)
    distance[piece[cell][:, None] != piece[None]] = np.inf
    distance[np.arange(n), cell] = np.inf
    k = min(_N_PARTNERS, n - 1)
    near = np.argpartition(distance, k - 1, 1)[np.arange(n), rng.integers(k, size=n)]
    partner = np.where(np.isfinite(distance[np.arange(n), near]), near, cell)
    return cell, partner, 0.5 * rng.random(n)


def _principal(x: FloatArray) -> tuple[FloatArray, FloatArray]:
    left, size, _ = np.linalg.svd(x, full_matrices=False)
    keep = size > 1e-6 * size[0]
    return (left * size)[:, keep], size[keep]
