"""Parameters during training, on standardised input, and their translation from and to weights on raw input."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import torch

from ._weights import SaeWeights

if TYPE_CHECKING:
    from saescape._typing import FloatArray


@dataclass
class Parameters:
    """Encoder and decoder rows `(n_features, n_dims)`, biases, and what an architecture learns per feature besides."""

    encoder: torch.Tensor
    decoder: torch.Tensor
    b_enc: torch.Tensor
    b_dec: torch.Tensor
    extras: dict[str, torch.Tensor] = field(default_factory=dict)

    def learned(self) -> dict[str, torch.Tensor]:
        """Everything that decides, per feature, how pre-activations become codes."""
        return {"b_enc": self.b_enc, **self.extras}

    def named(self) -> dict[str, torch.Tensor]:
        """All tensors by name."""
        return {"encoder": self.encoder, "decoder": self.decoder, "b_dec": self.b_dec, **self.learned()}

    def to(self, device: torch.device) -> Parameters:
        """The same on another device."""
        extras = {name: tensor.to(device) for name, tensor in self.extras.items()}
        encoder, decoder = self.encoder.to(device), self.decoder.to(device)
        return Parameters(encoder, decoder, self.b_enc.to(device), self.b_dec.to(device), extras)

    def normalise(self, rows: slice = slice(None)) -> None:
        """Scale decoder rows to unit length."""
        part = self.decoder[rows]
        part.div_(torch.linalg.vector_norm(part, dim=1, keepdim=True).clamp_min_(1e-8))


class Standardizer:
    """``(x - mean) / scale``.

    Parameters
    ----------
    kind
        `"center"`: one scale for all dimensions, the root mean variance; `"zscore"`: the standard deviation of each
        dimension (1 where it is constant); `"none"`: the identity.
    mean, variance
        Of each dimension over all rows.
    """

    def __init__(self, kind: str, mean: FloatArray, variance: FloatArray) -> None:
        total = float(np.sum(variance))
        # rounding leaves a trace of variance on constant data
        if total <= 1e-12 * float(np.sum(np.square(mean))) or total == 0:
            msg = "The data have no variance: all rows are equal."
            raise ValueError(msg)
        self.kind = kind
        d = len(mean)
        if kind == "center":
            scale = np.full(d, np.sqrt(total / d))
        elif kind == "zscore":
            scale = np.sqrt(variance)
            scale[scale <= 1e-8 * np.sqrt(total / d)] = 1.0
        else:
            scale = np.ones(d)
        self.mean = np.zeros(d) if kind == "none" else np.asarray(mean, dtype=np.float64)
        self.scale = scale
        # where the decoder bias starts: always the mean of what the model sees (a zero bias kills features)
        self.b_dec = (np.asarray(mean) - self.mean) / scale
        self.total_variance = float(np.sum(variance / scale**2))

    def tensors(self, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean and inverse scale."""
        as_tensor = lambda a: torch.as_tensor(a.astype(np.float32), device=device)  # noqa: E731
        return as_tensor(self.mean), as_tensor(1 / self.scale)

    @property
    def code_scale(self) -> float:
        """Factor from codes of standardised data to codes in units of the input.

        Only one scale for all dimensions can be moved into the codes; with one scale per dimension it
        stays in encoder and decoder, because rescaling features one by one would change which are the largest.
        """
        return float(self.scale[0]) if self.kind == "center" else 1.0

    def fold(self, parameters: Parameters, *, architecture: str, k: int) -> SaeWeights:
        """Weights that act on raw input."""
        p = {name: tensor.cpu().numpy().astype(np.float64) for name, tensor in parameters.named().items()}
        c = self.code_scale
        dec = p["decoder"] * self.scale / c
        if self.kind == "center":
            dec = dec / np.linalg.norm(dec, axis=1, keepdims=True)
        weights = {
            "W_enc": (p["encoder"] / self.scale * c).T,
            "W_dec": dec,
            "b_enc": p["b_enc"] * c,
            "b_dec": p["b_dec"] * self.scale + self.mean,
        }
        if "log_threshold" in p:
            weights["threshold"] = np.exp(p["log_threshold"]) * c
        if "r_mag" in p:
            weights |= {"r_mag": p["r_mag"], "b_mag": p["b_mag"] * c}
        if self.kind == "zscore":
            weights["scale"] = self.scale
        arrays = {name: np.ascontiguousarray(a, dtype=np.float32) for name, a in weights.items()}
        return SaeWeights(**arrays, architecture=architecture, k=k)

    def unfold(self, weights: SaeWeights, device: torch.device) -> Parameters:
        """Parameters on standardised input that do what `weights` do on raw input."""
        c = self.code_scale
        dec = weights.W_dec * c / self.scale
        # unit rows: lengths move into the encoder
        length = np.maximum(np.linalg.norm(dec, axis=1), 1e-8)
        arrays = {
            "encoder": weights.W_enc.T * self.scale / c * length[:, None],
            "decoder": dec / length[:, None],
            "b_enc": weights.b_enc / c * length,
            "b_dec": (weights.b_dec - self.mean) / self.scale,
        }
        extras = {}
        if weights.architecture == "jumprelu" and weights.threshold is not None:
            extras["log_threshold"] = np.log(np.maximum(weights.threshold / c * length, 1e-6))
        if weights.r_mag is not None and weights.b_mag is not None:
            extras |= {"r_mag": weights.r_mag, "b_mag": weights.b_mag / c * length}
        as_tensor = lambda a: torch.tensor(np.ascontiguousarray(a, dtype=np.float32), device=device)  # noqa: E731
        return Parameters(
            **{name: as_tensor(a) for name, a in arrays.items()},
            extras={name: as_tensor(a) for name, a in extras.items()},
        )
