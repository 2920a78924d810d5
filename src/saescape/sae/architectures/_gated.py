from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from ._active import above
from ._base import Architecture, Backward, start_threshold

if TYPE_CHECKING:
    import torch

    from saescape.sae._parameters import Parameters

    from ._active import Active
    from ._base import Batch


class Gated(Architecture):
    r"""Whether a feature is active and how much of it there is are decided apart.

    Gate :math:`\pi = (x - b_{dec}) W_{enc} + b_{enc}`, magnitude
    :math:`\mu = e^{r} (x - b_{dec}) W_{enc} + b_{mag}`, code :math:`z = H(\pi)\,\mathrm{relu}(\mu)`. The gate has no
    gradient from the reconstruction; it learns from :math:`\lambda \|\mathrm{relu}(\pi)\|_1` and from
    reconstructing the row by :math:`\mathrm{relu}(\pi)` with the decoder held fixed (Rajamanoharan et al.,
    arXiv 2404.16014, equations 6 to 8).
    """

    penalised: ClassVar[bool] = True
    extras: ClassVar[tuple[str, ...]] = ("r_mag", "b_mag")

    def start(self, parameters: Parameters, pre: torch.Tensor) -> None:
        parameters.b_enc.fill_(-start_threshold(pre, self.k))
        for name in self.extras:
            parameters.extras[name] = parameters.b_enc.new_zeros(self.n_features)

    def start_penalty(self, parameters: Parameters) -> float:
        # as for the ReLU, of which the gate is one
        return 2.0 * max(-float(parameters.b_enc.mean()), 1e-3)

    def select(self, pre: torch.Tensor, learned: dict[str, torch.Tensor]) -> Active:
        del learned
        return above(pre, 0.0)

    def _magnitude(self, active: Active, learned: dict[str, torch.Tensor]) -> torch.Tensor:
        scale, shift = learned["r_mag"].exp(), learned["b_mag"]
        return (active.values - learned["b_enc"][active.cols]).mul_(scale[active.cols]).add_(shift[active.cols])

    def infer(self, pre: torch.Tensor, learned: dict[str, torch.Tensor]) -> Active:
        active = above(pre, 0.0)
        return active._replace(values=self._magnitude(active, learned).relu_())

    def codes(self, active: Active, parameters: Parameters) -> torch.Tensor:
        return self._magnitude(active, parameters.learned()).relu_()

    def backward(self, batch: Batch, d_codes: torch.Tensor, penalty: torch.Tensor | None) -> Backward:
        p, active, n = batch.parameters, batch.active, len(batch.centred)
        scale = p.extras["r_mag"].exp()[active.cols]
        d_magnitude = d_codes.mul_(batch.codes > 0)
        product = active.values - p.b_enc[active.cols]
        extras = {
            "r_mag": batch.per_feature(d_magnitude * scale * product),
            "b_mag": batch.per_feature(d_magnitude),
        }
        residual = batch.ops.bag(active.cols, p.decoder, active.ptr, active.values).sub_(batch.centred)
        d_gate = batch.ops.dots(active.rows, active.cols, active.ptr, residual.mul_(2.0 / n), p.decoder)
        if penalty is not None:
            d_gate += penalty / n
        return Backward(d_gate + d_magnitude * scale, batch.per_feature(d_gate), extras)
