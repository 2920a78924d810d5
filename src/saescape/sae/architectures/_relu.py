from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from ._active import above
from ._base import Architecture, Backward, start_threshold

if TYPE_CHECKING:
    import torch

    from saescape.sae._parameters import Parameters

    from ._active import Active
    from ._base import Batch


class ReLU(Architecture):
    """Every positive pre-activation is active; a penalty on the sum of the codes makes them sparse.

    ``penalty * mean_i sum_j z_ij`` with decoder rows of unit length (Bricken et al. 2023, "Towards Monosemanticity").
    """

    penalised: ClassVar[bool] = True

    def start(self, parameters: Parameters, pre: torch.Tensor) -> None:
        # starting dense would cost time, and features that share every row also share their directions
        parameters.b_enc.fill_(-start_threshold(pre, self.k))

    def start_penalty(self, parameters: Parameters) -> float:
        # min_z ||x - z w||^2 + c z over z >= 0 is relu(<x, w> - c / 2)
        return 2.0 * max(-float(parameters.b_enc.mean()), 1e-3)

    def select(self, pre: torch.Tensor, learned: dict[str, torch.Tensor]) -> Active:
        del learned
        return above(pre, 0.0)

    def infer(self, pre: torch.Tensor, learned: dict[str, torch.Tensor]) -> Active:
        return self.select(pre, learned)

    def backward(self, batch: Batch, d_codes: torch.Tensor, penalty: torch.Tensor | None) -> Backward:
        if penalty is not None:
            d_codes += penalty / len(batch.centred)
        # entries are positive already
        return Backward(d_codes)
