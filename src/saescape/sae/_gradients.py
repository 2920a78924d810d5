"""Loss of a batch and its gradients, written out by hand: after the encoder product only active entries are touched."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from ._prefixes import prefix_errors
from ._sparse import transpose_pattern
from .architectures import Batch

if TYPE_CHECKING:
    from ._parameters import Parameters
    from ._sparse import SparseOps
    from .architectures import Active, Architecture


@dataclass
class AuxGradients:
    """Gradients of the rows of dead features from the auxiliary loss."""

    features: torch.Tensor
    encoder: torch.Tensor
    decoder: torch.Tensor
    b_enc: torch.Tensor


@dataclass
class Gradients:
    """Gradients of one batch; those of encoder and decoder rows are formed for a slice of features at a time."""

    loss: torch.Tensor
    n_active: torch.Tensor
    fired: torch.Tensor
    vectors: dict[str, torch.Tensor]
    _ops: SparseOps
    _centred: torch.Tensor
    _d_output: torch.Tensor
    _ptr: torch.Tensor
    _rows: torch.Tensor
    _output_rows: torch.Tensor
    _codes: torch.Tensor
    _d_pre: torch.Tensor
    _aux: AuxGradients | None

    def cuts(self, starts: list[int]) -> list[int]:
        """Position among the active entries where the entries of each feature of `starts` begin."""
        return self._ptr[starts].tolist()

    def rows(self, start: int, stop: int, low: int, high: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Gradients of encoder and decoder rows ``start:stop``, whose entries are ``low:high``."""
        ptr = self._ptr[start : stop + 1] - low
        encoder = self._ops.bag(self._rows[low:high], self._centred, ptr, self._d_pre[low:high])
        decoder = self._ops.bag(self._output_rows[low:high], self._d_output, ptr, self._codes[low:high])
        if self._aux is not None:
            bounds = torch.tensor([start, stop], device=self._aux.features.device)
            first, last = torch.searchsorted(self._aux.features, bounds).tolist()
            if last > first:
                index = self._aux.features[first:last] - start
                encoder.index_add_(0, index, self._aux.encoder[first:last])
                decoder.index_add_(0, index, self._aux.decoder[first:last])
        return encoder, decoder


def batch_gradients(
    architecture: Architecture,
    parameters: Parameters,
    centred: torch.Tensor,
    pre: torch.Tensor,
    active: Active,
    ops: SparseOps,
    *,
    penalty: torch.Tensor | None = None,
    dead: torch.Tensor | None = None,
    k_aux: int = 0,
    aux_coefficient: float = 0.0,
) -> Gradients:
    """Gradients of ``mean_i ||x_hat_i - x_i||^2`` plus penalty and auxiliary loss of dead features.

    With nested prefixes of the dictionary the error is the mean over prefixes.

    Parameters
    ----------
    centred
        ``x - b_dec``.
    pre
        Pre-activations ``centred @ encoder.T + b_enc``.
    penalty
        Weight of the architecture's own sparsity penalty.
    dead
        Increasing indices of the features that did not fire for long.
    """
    n = centred.shape[0]
    m = parameters.encoder.shape[0]
    codes = architecture.codes(active, parameters)
    nested = prefix_errors(architecture.prefixes, active, codes, centred, parameters.decoder, ops)
    active, codes, error = nested.active, nested.codes, nested.error
    batch = Batch(parameters, centred, active, codes, ops)
    d_codes = ops.dots(nested.output_rows, active.cols, nested.ptr, nested.d_output, parameters.decoder)
    back = architecture.backward(batch, d_codes, penalty)
    ptr, permutation = transpose_pattern(active.cols, m)
    # the decoder bias acts twice: on the output, and through `centred` on the encoder
    d_linear = batch.per_feature(back.d_pre)
    d_b_enc = d_linear if back.d_b_enc is None else back.d_b_enc
    aux = None
    if dead is not None and dead.numel() and k_aux:
        aux = auxiliary_gradients(parameters, centred, pre, error, dead, ops, k_aux, aux_coefficient)
        d_linear = d_linear.index_add(0, dead, aux.b_enc)
        d_b_enc = d_b_enc.index_add(0, dead, aux.b_enc)
    positive = codes > 0
    return Gradients(
        loss=error.square().sum() / n,
        n_active=positive.sum(),
        fired=batch.per_feature(positive.to(codes.dtype)) > 0,
        vectors={
            "b_dec": nested.d_output[:n].sum(0) - d_linear @ parameters.encoder,
            "b_enc": d_b_enc,
            **back.extras,
        },
        _ops=ops,
        _centred=centred,
        _d_output=nested.d_output,
        _ptr=ptr,
        _rows=active.rows[permutation],
        _output_rows=nested.output_rows[permutation],
        _codes=codes[permutation],
        _d_pre=back.d_pre[permutation],
        _aux=aux,
    )


def auxiliary_gradients(
    parameters: Parameters,
    centred: torch.Tensor,
    pre: torch.Tensor,
    error: torch.Tensor,
    dead: torch.Tensor,
    ops: SparseOps,
    k_aux: int,
    coefficient: float,
) -> AuxGradients:
    """Let dead features model what the live ones left over (Gao et al., arXiv 2406.04093, appendix A.2).

    ``coefficient * min(n_dead / k_aux, 1) * mean_i ||z_aux_i @ decoder + error_i||^2`` with the error held fixed and
    ``z_aux`` the `k_aux` largest dead features of each row. Works on the rows of dead features alone.
    """
    n, n_dead = centred.shape[0], dead.numel()
    k = min(k_aux, n_dead)
    decoder = parameters.decoder[dead]
    values, cols = pre.index_select(1, dead).topk(k, dim=-1, sorted=False)
    values, cols = values.view(-1), cols.view(-1)
    rows = torch.arange(n, device=pre.device).repeat_interleave(k)
    ptr = torch.arange(0, n * k + 1, k, device=pre.device)
    codes = values.relu()
    d_output = ops.bag(cols, decoder, ptr, codes).add_(error)
    d_output.mul_(2.0 * coefficient * min(n_dead / k_aux, 1.0) / n)
    d_codes = ops.dots(rows, cols, ptr, d_output, decoder).mul_(values > 0)
    feature_ptr, permutation = transpose_pattern(cols, n_dead)
    feature_rows = rows[permutation]
    return AuxGradients(
        features=dead,
        encoder=ops.bag(feature_rows, centred, feature_ptr, d_codes[permutation]),
        decoder=ops.bag(feature_rows, d_output, feature_ptr, codes[permutation]),
        b_enc=torch.zeros(n_dead, device=pre.device).index_add_(0, cols, d_codes),
    )
