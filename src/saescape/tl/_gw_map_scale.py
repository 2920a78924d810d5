"""What `tl.gw_map` takes from the machine, asked and said before it starts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from saescape import _memory
from saescape._logging import logg

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tqdm.auto import tqdm

    from saescape._typing import FloatArray
    from saescape.transport._sparse_rows import Rows

# above so many cells a side the log says how the work is kept linear
_MANY_CELLS = 5000


def check_map_memory(x: Rows, y: Rows, targets: Sequence[FloatArray], method: str) -> None:
    """Raise when the map does not fit into memory.

    Raises
    ------
    MemoryError
        With the estimate and what to set.
    """
    from saescape.transport._peak import peak_bytes
    from saescape.transport._pot import dense_bytes

    n, m = len(x), len(y)
    n_bytes = dense_bytes(n, m) if method == "pot" else peak_bytes(x, y, sum(t.shape[1] for t in targets))
    available = _memory.available_memory()
    if available is not None and n_bytes > available:
        msg = (
            f"mapping {n:,} cells on {m:,} ({y.shape[1]:,} dimensions in `use_rep_ref`) needs about "
            f"{n_bytes / 2**30:.3g} GiB, but {available / 2**30:.3g} GiB are available; map a subsample "
            "(`adata[cells]`, `adata_ref[cells]`) or set `use_rep_ref` to fewer dimensions."
        )
        raise MemoryError(msg)


def advance(bar: tqdm) -> Callable[..., object]:
    """Make a function that moves the progress bar on and shows what comes next, if it is told."""

    def step(phase: str | None = None) -> None:
        if phase is not None:
            bar.set_postfix_str(phase, refresh=False)
        bar.update()

    return step


def describe_scale(n: int, m: int, n_landmarks: int | None, method: str) -> None:
    """Say in the log how many cells are made manageable."""
    if method == "pot" or max(n, m) <= _MANY_CELLS:
        return
    from saescape.transport._align import SOLVE_SIZE
    from saescape.transport._readout import stored_per_row

    logg.info(
        f"    more than {_MANY_CELLS:,} cells: distances to landmarks, a coupling of {n_landmarks or SOLVE_SIZE:,} "
        "points of each side (`n_landmarks`) that is extended to all cells, and of that the largest entries, at most "
        f"{stored_per_row(n, m):,} for each cell, are stored"
    )
