"""Adam (Kingma & Ba, arXiv 1412.6980, algorithm 1) on slices of parameters, so that a slice stays in cache."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Sequence

# a run has about a thousand steps, in which a rare feature has few gradients: moments must not last longer than that
_BETA1, _BETA2, _EPS = 0.9, 0.99, 1e-8


def fused_update(
    params: Sequence[torch.Tensor],
    grads: Sequence[torch.Tensor],
    means: Sequence[torch.Tensor],
    squares: Sequence[torch.Tensor],
    step: torch.Tensor,
    lr: float,
) -> None:
    """One pass over memory per tensor; a private function of torch, so it is probed before use."""
    torch._fused_adam_(
        list(params),
        list(grads),
        list(means),
        list(squares),
        [],
        [step] * len(params),
        lr=lr,
        beta1=_BETA1,
        beta2=_BETA2,
        weight_decay=0.0,
        eps=_EPS,
        amsgrad=False,
        maximize=False,
    )


def plain_update(
    params: Sequence[torch.Tensor],
    grads: Sequence[torch.Tensor],
    means: Sequence[torch.Tensor],
    squares: Sequence[torch.Tensor],
    step: torch.Tensor,
    lr: float,
) -> None:
    """The same update with public operations."""
    t = float(step)
    for param, grad, mean, square in zip(params, grads, means, squares, strict=True):
        mean.lerp_(grad, 1 - _BETA1)
        square.mul_(_BETA2).addcmul_(grad, grad, value=1 - _BETA2)
        denominator = square.sqrt().div_(math.sqrt(1 - _BETA2**t)).add_(_EPS)
        param.addcdiv_(mean, denominator, value=-lr / (1 - _BETA1**t))


@lru_cache
def has_fused_update(device_type: str) -> bool:
    """Whether the fused function exists on this device and does what the plain one does."""
    results = []
    for update in (fused_update, plain_update):
        param, mean, square = (torch.zeros(3, device=device_type) for _ in range(3))
        grad = torch.tensor([1.0, -2.0, 0.5], device=device_type)
        try:
            update([param], [grad], [mean], [square], torch.ones((), device=device_type), 0.1)
        except (AttributeError, NotImplementedError, RuntimeError, TypeError):
            return False
        results.append(param)
    return bool(torch.allclose(results[0], results[1], rtol=1e-4))


class Adam:
    """Moments of a few tensors with equal first dimension, updated slice by slice.

    Parameters
    ----------
    params
        Tensors to update in place.
    """

    def __init__(self, params: Sequence[torch.Tensor]) -> None:
        self.params = list(params)
        self.means = [torch.zeros_like(param) for param in self.params]
        self.squares = [torch.zeros_like(param) for param in self.params]
        device = self.params[0].device
        self.step = torch.zeros((), device=device)
        self.fused = has_fused_update(device.type)

    def tensors(self) -> dict[str, torch.Tensor]:
        """Moments and count by name: the ones in use, not copies."""
        moments = {"mean": self.means, "square": self.squares}
        named = {f"{kind}_{i}": tensor for kind, tensors in moments.items() for i, tensor in enumerate(tensors)}
        return named | {"step": self.step}

    def next_step(self) -> None:
        """Count one step; call it once before the updates of its slices."""
        self.step += 1

    def update(self, grads: Sequence[torch.Tensor], lr: float, rows: slice = slice(None)) -> None:
        """Update the given rows of each tensor."""
        update = fused_update if self.fused else plain_update
        update(
            [param[rows] for param in self.params],
            grads,
            [mean[rows] for mean in self.means],
            [square[rows] for square in self.squares],
            self.step,
            lr,
        )
