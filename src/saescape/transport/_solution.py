"""What the solvers return, and what they agree on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ._problem import cross_matrix

if TYPE_CHECKING:
    import torch

    from ._problem import State

# L1 error of the column marginals that an inner solution may have
MARGINAL_TOL = 5e-4
N_WARM = 8


@dataclass(frozen=True)
class Solutions:
    """A batch of solutions: plans `(b, n, m)`, their linearisations, objectives, losses and potentials."""

    plan: torch.Tensor
    state: State
    objective: torch.Tensor
    loss: torch.Tensor
    f: torch.Tensor
    g: torch.Tensor
    converged: bool
    n_iter: int

    @property
    def cross(self) -> torch.Tensor:
        """Cross matrices."""
        return cross_matrix(self.state)
