from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from scipy import sparse

    from saescape._typing import FloatArray


@dataclass(frozen=True)
class SaeWeights:
    """A trained sparse autoencoder that acts on raw input (any standardisation is folded in).

    ``pre = (x - b_dec) @ W_enc + b_enc``, ``z = select(relu(pre))``, ``x_hat = z @ W_dec + b_dec``; with the
    architecture `"gated"`, ``z = (pre > 0) * relu(exp(r_mag) * (pre - b_enc) + b_mag)``.
    """

    W_enc: FloatArray
    W_dec: FloatArray
    b_enc: FloatArray
    b_dec: FloatArray
    architecture: str
    k: int
    threshold: FloatArray | None = None
    r_mag: FloatArray | None = None
    b_mag: FloatArray | None = None
    #: units of the dimensions in which errors count alike; None when they are those of the input
    scale: FloatArray | None = None

    @property
    def n_dims(self) -> int:
        """Input dimensions."""
        return self.W_enc.shape[0]

    @property
    def n_features(self) -> int:
        """Size of the dictionary."""
        return self.W_enc.shape[1]

    def decode(self, codes: FloatArray | sparse.spmatrix) -> FloatArray:
        """Reconstruct inputs from codes `(n, n_features)`."""
        return np.asarray(codes @ self.W_dec + self.b_dec, dtype=np.float32)

    def arrays(self) -> dict[str, FloatArray]:
        """The tensors by name, without those that this architecture has not."""
        names = ("W_enc", "W_dec", "b_enc", "b_dec", "threshold", "r_mag", "b_mag", "scale")
        named = {name: getattr(self, name) for name in names}
        return {name: array for name, array in named.items() if array is not None}
