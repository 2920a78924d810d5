"""Rows per second from raw rows to sparse codes."""

from __future__ import annotations

import time

import numpy as np
import torch
from scipy import sparse

from .ours import encode_ours, some_weights
from .report import NUMBERS, row, say, table

SIZES = [(512, 4096, 32), (512, 16_384, 32), (128, 1024, 16), (50, 1024, 16)]
_BATCH = 1024


def measure_encoding(sizes: list[tuple[int, int, int]], n_rows: int, n_rounds: int) -> None:
    say("\n### Encoding, rows per CPU second (median of paired rounds)\n")
    table("d", "m", "k", "to CSR, with errors and counts", "product alone", "dense, then CSR", "/ product", "/ dense")
    for d, m, k in sizes:
        x = np.random.default_rng(1).standard_normal((n_rows, d), dtype=np.float32)
        weights = some_weights(d, m, k, x.mean(0))
        times = _times(x, weights, n_rounds)
        ours, product, dense = (np.array(times[name]) for name in ("ours", "product", "dense"))
        rates = [n_rows / float(np.median(each)) for each in (ours, product, dense)]
        of_product, of_dense = float(np.median(product / ours)), float(np.median(dense / ours))
        NUMBERS["encoding", str(d), str(m), "of product"] = of_product
        NUMBERS["encoding", str(d), str(m), "of dense"] = of_dense
        row(d, m, k, *(f"{rate:,.0f}" for rate in rates), f"{of_product:.2f}", f"{of_dense:.2f}")


def _times(x: np.ndarray, weights, n_rounds: int) -> dict[str, list[float]]:
    encoder, bias = torch.from_numpy(np.ascontiguousarray(weights.W_enc.T)), torch.from_numpy(weights.b_enc)
    shift = torch.from_numpy(weights.b_dec)
    out = torch.empty(_BATCH, weights.n_features)

    def product() -> None:
        for start in range(0, len(x), _BATCH):
            part = torch.from_numpy(x[start : start + _BATCH])
            torch.addmm(bias, part, encoder.t(), out=out[: len(part)])

    def dense() -> None:
        parts = []
        for start in range(0, len(x), _BATCH):
            pre = (torch.from_numpy(x[start : start + _BATCH]) - shift) @ encoder.t() + bias
            values, cols = pre.topk(weights.k, -1)
            parts.append(sparse.csr_matrix(torch.zeros_like(pre).scatter(1, cols, values.relu()).numpy()))
        sparse.vstack(parts)

    calls = {"ours": lambda: encode_ours(x, weights), "product": product, "dense": dense}
    times: dict[str, list[float]] = {name: [] for name in calls}
    for i in range(n_rounds + 1):
        for name, call in calls.items():
            start = time.process_time()
            call()
            # the first round warms up
            if i:
                times[name].append(time.process_time() - start)
    return times
