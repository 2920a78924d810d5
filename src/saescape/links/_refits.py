"""Couplings of a reduced problem: of the cells as they are, and of arrangements that have nothing to do with them.

Marginals are fixed, also where those of the coupling were relaxed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy import sparse

from saescape._threads import one_thread
from saescape.transport._coreset import coreset
from saescape.transport._embedding import embed, prepare
from saescape.transport._nulls import reduced, smooth_images_in_place
from saescape.transport._problem import Problem, make_side
from saescape.transport._search import search
from saescape.transport._solver import solve

if TYPE_CHECKING:
    from saescape._typing import FloatArray
    from saescape.transport._align import Settings
    from saescape.transport._coreset import Coreset
    from saescape.transport._problem import Side

N_CELLS = 1000
_N_LANDMARKS = 256
_CORESET_SIZE = 128


@dataclass(frozen=True)
class Cells:
    """Cells of one side: rows as each metric sees them, their embedding, and a summary of it by few points.

    `joint` is the side's factor of the cost of labels, if the coupling was supervised.
    """

    rows: list[FloatArray]
    embedded: Side
    summary: Coreset
    core: Side
    joint: FloatArray | None

    def means(self, values: FloatArray | sparse.csr_matrix) -> FloatArray:
        """Mean of the cells' values `(n, d)`, dense or sparse, in each point of the summary."""
        label, n = self.summary.label, len(self.summary.label)
        member = sparse.csr_matrix((np.ones(n, np.float32), (label, np.arange(n))), (len(self.summary.weight), n))
        sums = member @ values
        sums = sums.toarray() if sparse.issparse(sums) else np.asarray(sums)
        return sums / np.bincount(label, minlength=len(self.summary.weight))[:, None].astype(np.float32)


def make_cells(x: FloatArray, settings: Settings, rng: np.random.Generator, joint: FloatArray | None = None) -> Cells:
    """Embed and summarise the rows `(n, d)` of a representation."""
    x = reduced(x)
    return _embedded([prepare(x, metric) for metric in settings.metrics], joint, settings, rng)


def rearranged_cells(cells: Cells, settings: Settings, rng: np.random.Generator) -> Cells:
    """The same cells with their labels, neighbours kept and the arrangement at large left to chance."""
    return _embedded(smooth_images_in_place(cells.rows, rng), cells.joint, settings, rng)


def _embedded(rows: list[FloatArray], joint: FloatArray | None, settings: Settings, rng: np.random.Generator) -> Cells:
    n_neighbors = None if settings.n_neighbors is None else min(settings.n_neighbors, len(rows[0]) - 1)
    points = [
        embed(view, metric, n_neighbors=n_neighbors, n_landmarks=_N_LANDMARKS, prepared=True, rng=rng).points
        for view, metric in zip(rows, settings.metrics, strict=True)
    ]
    summary = coreset(np.concatenate(points, 1), _CORESET_SIZE, rng)
    factor = None if joint is None else summary.means(joint)
    core = make_side([summary.means(p) for p in points], summary.weight, settings.device, factor)
    return Cells(rows, make_side(points, None, settings.device, joint), summary, core, joint)


def refit(x: Cells, y: Cells, settings: Settings, rng: np.random.Generator) -> FloatArray:
    """Search for a coupling: the distribution `(n, n_points)` of each cell of `x` over the summary of `y`."""
    problem = Problem(x.core, y.core, settings.alpha)
    with one_thread():
        cross = search(problem, settings.epsilon, settings.n_starts, rng, rounds=1).cross[:1]
        return _conditional(x, y, problem, cross, settings.epsilon)


def refit_stored(x: Cells, y: Cells, plan: sparse.csr_matrix, settings: Settings) -> FloatArray:
    """The same from a coupling `(n, m)` that is there: the optimum of the summaries that it leads to."""
    problem = Problem(x.core, y.core, settings.alpha)
    left, right = (
        sparse.csr_matrix((np.ones(len(s.label)), (s.label, np.arange(len(s.label)))), (len(s.weight), len(s.label)))
        for s in (x.summary, y.summary)
    )
    between = (left @ plan @ right.T).toarray()
    between /= between.sum()
    start = torch.as_tensor(between, dtype=torch.float32, device=x.core.points.device)[None]
    with one_thread():
        return _conditional(x, y, problem, problem.evaluate(start)[0], settings.epsilon)


def _conditional(x: Cells, y: Cells, problem: Problem, cross: torch.Tensor, epsilon: float) -> FloatArray:
    solution = solve(problem, cross, epsilon, max_iter=20)
    offset = solution.g[0] / epsilon + y.core.weight.log()
    logits = problem.left(x.embedded, solution.cross[0]) @ problem.right.T / epsilon + offset
    return torch.softmax(logits, 1).cpu().numpy()
