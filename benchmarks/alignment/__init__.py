"""Parts of `benchmarks/gw_alignment.py`. Imported before NumPy, because libraries read these at their import."""

from __future__ import annotations

import os

os.environ.update(
    {
        **dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"), "1"),
        "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1",
        "JAX_PLATFORMS": "cpu",
        # POT imports every array library that it finds, which takes seconds and memory that are not its own
        **{f"POT_BACKEND_DISABLE_{name}": "1" for name in ("PYTORCH", "JAX", "TENSORFLOW", "CUPY")},
    }
)
