from __future__ import annotations

import torch

# change of log(penalty) per step for an L0 that is e times the wanted one, and for an L0 that becomes e times as large
_GAIN = 0.01
_DAMPING = 3.0
_MEMORY = 0.9


class Penalty:
    """Weight of a sparsity penalty, steered towards a wanted number of active features per row, or fixed.

    Proportional-integral control of ``e = log(L0 / target)``, with the running mean of the L0 of batches:
    ``log(weight) += gain * e + damping * (change of e)``. Parameters follow the weight only slowly; without the second
    term the weight goes on falling long after the L0 has begun to rise.

    Parameters
    ----------
    start
        First weight.
    target
        Wanted mean number of active features per row; None keeps the weight as it is.
    device
        Where the weight lives, so that no step has to wait for it.
    """

    def __init__(self, start: float, target: float | None, device: torch.device) -> None:
        self.target = target
        self.weight = torch.tensor(float(start), device=device)
        self.l0 = torch.tensor(float("nan") if target is None else float(target), device=device)
        self.error = torch.zeros((), device=device)

    def tensors(self) -> dict[str, torch.Tensor]:
        """State by name: the tensors in use, not copies."""
        return {"weight": self.weight, "l0": self.l0, "error": self.error}

    def update(self, n_active: torch.Tensor, n_rows: int) -> None:
        """Take the number of active entries of a batch into account."""
        if self.target is None:
            return
        self.l0.lerp_(n_active / n_rows, 1 - _MEMORY)
        error = (self.l0 / self.target).log().clamp(-1.0, 1.0)
        self.weight.mul_((_GAIN * error + _DAMPING * (error - self.error)).exp())
        self.error.copy_(error)
