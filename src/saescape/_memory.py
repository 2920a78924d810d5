"""What fits into memory, asked before it is taken."""

from __future__ import annotations

import os
from pathlib import Path

# smaller results are not worth asking the system
_CHECKED_BYTES = 2**28


def available_memory() -> int | None:
    """Bytes of memory that can be taken now (Linux), or that the machine has; None where the system does not tell."""
    meminfo = Path("/proc/meminfo")
    if meminfo.is_file():
        for line in meminfo.read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return None


def check_memory(n: int, d: int, argument: str, advice: str = "ask for fewer at a time") -> None:
    """Raise when `(n, d)` float32 values do not fit into memory.

    Raises
    ------
    MemoryError
        With the estimate and what to set.
    """
    n_bytes = 4 * n * d
    if n_bytes < _CHECKED_BYTES:
        return

    available = available_memory()
    if available is not None and n_bytes > available:
        msg = (
            f"{argument} needs {n_bytes / 2**30:.3g} GiB for {n:,} cells x {d:,} float32 values, but "
            f"{available / 2**30:.3g} GiB are available; {advice}, or give some cells only "
            "(`adata[cells]`)."
        )
        raise MemoryError(msg)
