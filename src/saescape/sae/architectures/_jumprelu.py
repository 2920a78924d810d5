from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from ._active import above
from ._base import Architecture, Backward, start_threshold

if TYPE_CHECKING:
    import torch

    from saescape.sae._parameters import Parameters

    from ._active import Active
    from ._base import Batch

# width of the kernel in units of the threshold
BANDWIDTH = 0.3


class JumpReLU(Architecture):
    r"""A learned threshold per feature and a penalty on the number of active features.

    :math:`z = \pi H(\pi - \theta)` and the loss :math:`\|x - \hat x\|^2 + \lambda \|z\|_0`. Neither has a gradient with
    respect to :math:`\theta`; that of their expectation is estimated with a rectangular kernel around the threshold
    (Rajamanoharan et al., arXiv 2407.14435, equations 11 and 12). Here the kernel is as wide as a fixed share of the
    threshold, so that training does not depend on the scale of a feature.
    """

    penalised: ClassVar[bool] = True
    extras: ClassVar[tuple[str, ...]] = ("log_threshold",)

    def start(self, parameters: Parameters, pre: torch.Tensor) -> None:
        threshold = start_threshold(pre, self.k)
        parameters.extras["log_threshold"] = parameters.b_enc.new_full((self.n_features,), threshold).log_()

    def start_penalty(self, parameters: Parameters) -> float:
        # a feature pays when it explains more than the penalty: pi^2 > c
        return float(parameters.extras["log_threshold"].mean().exp()) ** 2

    def select(self, pre: torch.Tensor, learned: dict[str, torch.Tensor]) -> Active:
        return above(pre, (1 - BANDWIDTH / 2) * learned["log_threshold"].exp())

    def infer(self, pre: torch.Tensor, learned: dict[str, torch.Tensor]) -> Active:
        threshold = learned["threshold"] if "threshold" in learned else learned["log_threshold"].exp()
        return above(pre, threshold.clamp_min(0.0))

    def codes(self, active: Active, parameters: Parameters) -> torch.Tensor:
        threshold = parameters.extras["log_threshold"].exp()[active.cols]
        return active.values * (active.values > threshold)

    def backward(self, batch: Batch, d_codes: torch.Tensor, penalty: torch.Tensor | None) -> Backward:
        values = batch.active.values
        threshold = batch.parameters.extras["log_threshold"].exp()[batch.active.cols]
        near = (values - threshold).abs() < BANDWIDTH / 2 * threshold
        # d/d log(theta) = theta d/d theta; the width of the kernel is BANDWIDTH * theta
        d_log = threshold * d_codes
        if penalty is not None:
            d_log += penalty / len(batch.centred)
        d_log.mul_(near).div_(-BANDWIDTH)
        return Backward(d_codes.mul_(values > threshold), extras={"log_threshold": batch.per_feature(d_log)})
