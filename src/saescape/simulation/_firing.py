"""When simulated concepts fire: how often, with which others, and only inside which parent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import ndtri

from saescape._validate import check_real

if TYPE_CHECKING:
    from saescape._typing import BoolArray, FloatArray, IntArray

BLOCK_SIZE = 4
# probability of a child where its parent is present
CHILD_PROBABILITY = 0.5
# usage above this would often be cut off at 1 by the differences between cells
_MAX_DENSITY = 0.25


@dataclass(frozen=True)
class Firing:
    """What decides, besides the rates of the cells, which concepts are present at a position.

    `density` is the mean probability of each concept. `parent` is the index of the concept that must be present too,
    -1 for none. `block` numbers the groups of concepts whose presence has latent correlation `correlation`; it is -1
    for children, and for all concepts without correlation.
    """

    density: FloatArray
    parent: IntArray
    block: IntArray
    correlation: float


def check_share(name: str, value: float) -> None:
    """Raise unless `value` is a number in [0, 1)."""
    check_real(name, value, open_low=False)
    if value >= 1:
        msg = f"`{name}` must be at least 0 and less than 1, found {value:g}."
        raise ValueError(msg)


def check_firing(density: float, *, correlation: float, hierarchy: float, zipf: float) -> None:
    """Raise for numbers out of range, and where the children keep the mean density from being reached."""
    check_real("correlation", correlation, -1 / (BLOCK_SIZE - 1))
    if correlation >= 1:
        msg = f"`correlation` must be greater than -1/3 and less than 1, found {correlation:g}."
        raise ValueError(msg)
    check_share("hierarchy", hierarchy)
    check_real("zipf", zipf, open_low=False)
    highest = 1 - (1 - CHILD_PROBABILITY) * hierarchy
    if density > highest:
        msg = f"`density` must be at most {highest:g} with `hierarchy` {hierarchy:g}, found {density:g}."
        raise ValueError(msg)


def firing(
    n_concepts: int, density: float, *, correlation: float, hierarchy: float, zipf: float, rng: np.random.Generator
) -> Firing:
    """Draw the children and their parents, the blocks and the ranks of usage."""
    n_children = min(round(hierarchy * n_concepts), n_concepts - 1)
    shuffled = rng.permutation(n_concepts)
    children, roots = np.sort(shuffled[:n_children]), np.sort(shuffled[n_children:])
    parent = np.full(n_concepts, -1)
    parent[children] = rng.choice(roots, n_children)
    block = np.full(n_concepts, -1)
    if correlation:
        # neighbours are in different blocks: what fires together does not also point in one direction
        block[roots] = np.arange(len(roots)) % -(-len(roots) // BLOCK_SIZE)
    usage = (1.0 + rng.permutation(len(roots))) ** -zipf
    # a root counts once and CHILD_PROBABILITY times per child
    weight = 1 + CHILD_PROBABILITY * np.bincount(parent[children], minlength=n_concepts)[roots]
    each = np.full(n_concepts, density)
    if zipf or n_children:
        each[roots] = _with_mean(usage, weight, density * n_concepts)
        each[children] = CHILD_PROBABILITY * each[parent[children]]
    return Firing(each, parent, block, correlation)


def present(uniform: FloatArray, rates: FloatArray, how: Firing) -> BoolArray:
    r"""Which concepts are present, from uniform numbers `(..., n_concepts)` and the rates of the concepts.

    With correlation the uniform numbers of a block become Gaussian ones of equal correlation `c`,
    :math:`\sqrt{1-c}\,(e - \bar e) + \sqrt{1+(n-1)c}\,\bar e` for a block of `n`; each keeps its rate.
    """
    if how.correlation:
        on = np.empty(uniform.shape, dtype=bool)
        alone = how.block < 0
        on[..., alone] = uniform[..., alone] < rates[..., alone]
        for columns in _columns_of_blocks(how.block):
            n = columns.shape[1]
            normal = ndtri(np.maximum(uniform[..., columns], np.finfo(float).tiny))
            mean = normal.mean(-1, keepdims=True)
            normal -= mean
            normal *= np.sqrt(1 - how.correlation)
            normal += np.sqrt(1 + (n - 1) * how.correlation) * mean
            on[..., columns] = normal < ndtri(rates[..., columns])
    else:
        on = uniform < rates
    child = np.flatnonzero(how.parent >= 0)
    if len(child):
        on[..., child] = on[..., how.parent[child]] & (uniform[..., child] < CHILD_PROBABILITY)
    return on


def _columns_of_blocks(block: IntArray) -> list[IntArray]:
    """The concepts of the blocks, those of equally large blocks together: `(blocks, size)`."""
    order = np.argsort(block, kind="stable")
    order = order[block[order] >= 0]
    sizes = np.bincount(block[order])
    start = np.cumsum(sizes) - sizes
    return [order[start[sizes == n][:, None] + np.arange(n)] for n in np.unique(sizes)]


def _with_mean(usage: FloatArray, weight: FloatArray, total: float) -> FloatArray:
    """Scale `usage` to a weighted sum of `total`, none above 1/4 (or the common value, if that is more)."""
    limit = max(_MAX_DENSITY, total / weight.sum())
    order = np.argsort(-usage)
    usage_left = np.cumsum((usage * weight)[order][::-1])[::-1]
    weight_limited = np.cumsum(weight[order]) - weight[order]
    # if the most used ones are at the limit: the scale that the others then need, and the first they all fit
    scale = (total - weight_limited * limit) / usage_left
    fits = scale * usage[order] <= limit * (1 + 1e-9)
    return np.minimum(scale[np.argmax(fits)] * usage, limit)
