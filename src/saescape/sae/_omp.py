"""Non-negative sparse coding of a batch of rows by active sets: orthogonal matching pursuit, and the exact lasso."""

from __future__ import annotations

import torch
import torch.nn.functional as F

# slots to begin with; most rows need few
_SLOTS = 8
# a new atom whose part outside the span of the support is shorter than this is taken as dependent
_DEPENDENT = {torch.float32: 1e-3, torch.float64: 1e-6}
# correlations below this share of the row's length are rounding
_ROUNDING = {torch.float32: 1e-5, torch.float64: 1e-11}
# additions per atom allowed: an addition may remove others, though the error always falls
_ROUNDS = 3


class _Support:
    """Atoms in use by each row, in slots: free slots have zero atoms, zero code and a unit diagonal."""

    def __init__(self, x: torch.Tensor, n_slots: int) -> None:
        n, d = x.shape
        self.x = x
        self.cols = torch.zeros(n, n_slots, dtype=torch.long, device=x.device)
        self.used = torch.zeros(n, n_slots, dtype=torch.bool, device=x.device)
        self.codes = x.new_zeros(n, n_slots)
        self.atoms = x.new_zeros(n, n_slots, d)
        self.gram = torch.eye(n_slots, dtype=x.dtype, device=x.device).repeat(n, 1, 1)

    @property
    def n_slots(self) -> int:
        return self.cols.shape[1]

    def widen(self, extra: int) -> None:
        """More slots for every row."""
        for name in ("cols", "used", "codes"):
            setattr(self, name, F.pad(getattr(self, name), (0, extra)))
        self.atoms = F.pad(self.atoms, (0, 0, 0, extra))
        self.gram = F.pad(self.gram, (0, extra, 0, extra))
        self.gram.diagonal(dim1=1, dim2=2)[:, -extra:] = 1

    def keep(self, rows: torch.Tensor) -> None:
        """Only these rows from here on."""
        for name, value in vars(self).items():
            setattr(self, name, value[rows])

    def residual(self) -> torch.Tensor:
        return self.x - torch.bmm(self.codes.unsqueeze(1), self.atoms).squeeze(1)

    def add(self, cols: torch.Tensor, atoms: torch.Tensor) -> torch.Tensor:
        """Put one atom into a free slot of each row; returns the slots."""
        rows = torch.arange(len(cols), device=cols.device)
        slots = self.used.to(torch.int8).argmin(1)
        self.used[rows, slots] = True
        self.cols[rows, slots] = cols
        self.atoms[rows, slots] = atoms
        products = torch.bmm(self.atoms, atoms.unsqueeze(2)).squeeze(2)
        self.gram[rows, slots] = products
        self.gram[rows, :, slots] = products
        return slots

    def remove(self, rows: torch.Tensor, slots: torch.Tensor) -> None:
        """Free slots."""
        self.used[rows, slots] = False
        self.codes[rows, slots] = 0
        self.atoms[rows, slots] = 0
        self.gram[rows, slots] = 0
        self.gram[rows, :, slots] = 0
        self.gram[rows, slots, slots] = 1

    def refit(self, new: torch.Tensor, shrinkage: float) -> torch.Tensor:
        """Non-negative least squares on the support, given the solution before the atoms in slots `new` were added.

        The inner loop of Lawson & Hanson (1974, chapter 23): step towards the least-squares solution until the first
        coefficient reaches zero, free its slot, repeat. Returns the rows to which the new atom brought nothing.
        """
        rows = torch.arange(len(new), device=new.device)
        useless = torch.zeros(len(new), dtype=torch.bool, device=new.device)
        first = True
        while len(rows):
            factor, info = torch.linalg.cholesky_ex(self.gram[rows])
            target = torch.bmm(self.atoms[rows], self.x[rows].unsqueeze(2)) - shrinkage
            if first:
                pivots = factor.diagonal(dim1=1, dim2=2)
                # the support was independent before, so a small pivot in any slot is the doing of the new atom
                dependent = (info > 0) | (pivots.amin(1) < _DEPENDENT[pivots.dtype])
                self.remove(rows[dependent], new[dependent])
                useless[rows[dependent]] = True
                rows, factor, target = rows[~dependent], factor[~dependent], target[~dependent]
            solution = torch.cholesky_solve(target, factor).squeeze(2)
            codes, used = self.codes[rows], self.used[rows]
            negative = used & (solution <= 0)
            shares = torch.where(negative, codes / (codes - solution).clamp_min(torch.finfo(codes.dtype).tiny), 2.0)
            share, slot = shares.min(1)
            blocked = share < 2
            moved = torch.where(blocked.unsqueeze(1), codes + share.unsqueeze(1) * (solution - codes), solution)
            self.codes[rows] = torch.where(used, moved.clamp_min(0), 0.0)
            self.remove(rows[blocked], slot[blocked])
            if first:
                useless[rows[blocked]] = slot[blocked] == new[rows[blocked]]
            first = False
            rows = rows[blocked & ~useless[rows]]
        return useless


def nonnegative_omp(
    x: torch.Tensor, atoms: torch.Tensor, n_atoms: int, *, min_correlation: float = 0.0, shrinkage: float = 0.0
) -> tuple[torch.Tensor, torch.Tensor]:
    """Codes with at most `n_atoms` non-zeros, chosen greedily and refitted exactly under non-negativity.

    Orthogonal matching pursuit (Pati et al. 1993) with positive correlations only (Bruckstein et al. 2008) and the
    refit of Lawson & Hanson (1974): it is their active-set method stopped at `n_atoms` atoms, and a row without other
    limits ends at the solution of non-negative least squares. A code does not depend on the other rows.

    Parameters
    ----------
    x
        Rows `(n, d)`.
    atoms
        Dictionary `(m, d)` with rows of unit length (or zero, which are never used).
    n_atoms
        Most atoms per row.
    min_correlation
        A row stops when no atom's product with its residual is larger: an atom lowers ``1/2 ||residual||^2`` by at
        least half the square of its correlation, so this is a price of ``1/2 min_correlation^2`` per atom.
    shrinkage
        Price of a unit of code in the refit. With `min_correlation` at the same value the codes that need no more than
        `n_atoms` atoms are the minima of ``1/2 ||x - zD||^2 + shrinkage * sum(z)``.

    Returns
    -------
    Values and columns `(n, n_atoms)`; unused places have value 0 and column 0.
    """
    n = len(x)
    n_atoms = min(n_atoms, len(atoms))
    values = x.new_zeros(n, n_atoms)
    cols = torch.zeros(n, n_atoms, dtype=torch.long, device=x.device)
    support, open_rows = _Support(x, min(n_atoms, _SLOTS)), torch.arange(n, device=x.device)
    floor = min_correlation + _ROUNDING[x.dtype] * x.norm(dim=1)
    stopped = torch.zeros(n, dtype=torch.bool, device=x.device)
    for _ in range(_ROUNDS * n_atoms + 1):
        best, where = (support.residual() @ atoms.t()).max(1)
        n_used = support.used.sum(1)
        stopped = stopped | (best <= floor) | (n_used == n_atoms)
        if bool(stopped.any()):
            ended, width = open_rows[stopped], support.n_slots
            values[ended, :width] = support.codes[stopped]
            cols[ended, :width] = support.cols[stopped] * support.used[stopped]
            going = (~stopped).nonzero().view(-1)
            support.keep(going)
            open_rows, where, floor, stopped = open_rows[going], where[going], floor[going], stopped[going]
            n_used = n_used[going]
        if len(open_rows) == 0:
            break
        if support.n_slots < n_atoms and int(n_used.max()) == support.n_slots:
            support.widen(min(support.n_slots, n_atoms - support.n_slots))
        stopped = support.refit(support.add(where, atoms[where]), shrinkage)
    values[open_rows, : support.n_slots] = support.codes
    cols[open_rows, : support.n_slots] = support.cols * support.used
    return values, cols
