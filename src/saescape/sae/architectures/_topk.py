from __future__ import annotations

import torch

from ._active import Active
from ._base import Architecture
from ._largest import topk_rows


class TopK(Architecture):
    """Keep the k largest pre-activations of each row (Gao et al., arXiv 2406.04093, section 2.3)."""

    def select(self, pre: torch.Tensor, learned: dict[str, torch.Tensor]) -> Active:
        del learned
        n = pre.shape[0]
        values, cols = topk_rows(pre, self.k)
        rows = torch.arange(n, device=pre.device).repeat_interleave(self.k)
        ptr = torch.arange(0, n * self.k + 1, self.k, device=pre.device)
        return Active(values.view(-1), cols.view(-1), rows, ptr)

    def infer(self, pre: torch.Tensor, learned: dict[str, torch.Tensor]) -> Active:
        return self.select(pre, learned)
