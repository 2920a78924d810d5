from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch

if TYPE_CHECKING:
    from ._sparse import SparseOps
    from .architectures import Active


class Nested(NamedTuple):
    """Reconstruction errors of nested prefixes of the dictionary.

    With `b` prefixes the arrays of outputs have ``b n`` rows: row ``p n + i`` belongs to row `i` of the batch and to
    the features between prefix ``p - 1`` and prefix `p`.
    """

    #: entries, ordered by `output_rows`
    active: Active
    codes: torch.Tensor
    output_rows: torch.Tensor
    ptr: torch.Tensor
    #: reconstruction by all features minus row, `(n, n_dims)`
    error: torch.Tensor
    #: gradient of the loss with respect to what an entry adds to its row of the output, `(b n, n_dims)`
    d_output: torch.Tensor


def prefix_errors(
    prefixes: tuple[int, ...],
    active: Active,
    codes: torch.Tensor,
    centred: torch.Tensor,
    decoder: torch.Tensor,
    ops: SparseOps,
) -> Nested:
    """Errors of the reconstruction by the first `prefixes` features, and gradients of the mean of their squares."""
    n, d = centred.shape
    b = len(prefixes)
    if b == 1:
        error = ops.bag(active.cols, decoder, active.ptr, codes).sub_(centred)
        return Nested(active, codes, active.rows, active.ptr, error, error * (2.0 / n))
    bounds = torch.tensor(prefixes[:-1], device=active.cols.device)
    output_rows = torch.bucketize(active.cols, bounds, right=True) * n + active.rows
    output_rows, order = output_rows.sort(stable=True)
    active = active._replace(values=active.values[order], cols=active.cols[order], rows=active.rows[order])
    codes = codes[order]
    ptr = torch.zeros(b * n + 1, dtype=torch.long, device=codes.device)
    torch.cumsum(torch.bincount(output_rows, minlength=b * n), 0, out=ptr[1:])
    # what each part of the dictionary adds, and the error after each of them
    errors = ops.bag(active.cols, decoder, ptr, codes).view(b, n, d).cumsum(0).sub_(centred)
    # an entry takes part in all prefixes from its own on
    d_output = (errors * (2.0 / (n * b))).flip(0).cumsum(0).flip(0).view(b * n, d)
    return Nested(active, codes, output_rows, ptr, errors[-1], d_output)
