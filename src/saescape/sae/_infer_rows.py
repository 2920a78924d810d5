"""Sparse inference over any row source at the sparsity of the encoder, and what the encoder loses against it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ._encode import encode_rows
from ._infer import Dictionary, FistaInference, OmpInference
from ._match_l0 import encoder_l0, match_l0, sample_rows, sample_size

if TYPE_CHECKING:
    import torch

    from saescape._rows import RowSource
    from saescape._typing import FloatArray

    from ._encode import Encoded
    from ._weights import SaeWeights

# most atoms of a row in matching pursuit, in multiples of the mean that is asked for
_OMP_ROOM = 4


@dataclass(frozen=True)
class Inferred:
    """Codes by inference and by the encoder on the same rows.

    `l0_target` and `l0_sample` are the mean L0 wanted, and found on the rows that the penalty was tuned on.
    """

    encoded: Encoded
    by_encoder: Encoded
    penalty: float
    l0_target: float
    l0_sample: float
    n_sample: int
    n_unconverged: int

    @property
    def amortisation_gap(self) -> float:
        """FVU that the encoder has in addition (O'Neill et al., arXiv 2411.13117)."""
        return self.by_encoder.fvu() - self.encoded.fvu()


def infer_rows(
    rows: RowSource,
    weights: SaeWeights,
    device: torch.device,
    method: str,
    *,
    l0_target: float | None = None,
    scale: FloatArray | None = None,
    show_progress_bar: bool = False,
) -> Inferred:
    """Tune the penalty on a sample of the rows, then infer all of them.

    Parameters
    ----------
    method
        `"fista"` or `"omp"`.
    l0_target
        Mean number of features per row; None for the encoder's.
    scale
        Units of the dimensions in which errors are measured and minimised; None for those of the rows.
    """
    by_encoder = encode_rows(rows, weights, device, scale=scale)
    sample = sample_rows(rows, sample_size(weights.n_features))
    target = encoder_l0(sample, weights, device) if l0_target is None else float(l0_target)
    dictionary = Dictionary(weights, device, scale)

    def infer(penalty: float) -> FistaInference | OmpInference:
        if method == "fista":
            return FistaInference(dictionary, penalty)
        return OmpInference(dictionary, penalty, _OMP_ROOM * max(1, int(np.ceil(target))))

    centred = sample.to(device) - dictionary.b_dec
    match = match_l0(dictionary, infer, centred, target)
    inference = infer(match.penalty)
    encoded = encode_rows(rows, weights, device, scale=scale, inference=inference, show_progress_bar=show_progress_bar)
    return Inferred(
        encoded, by_encoder, match.penalty, target, match.l0, len(sample), n_unconverged=inference.n_unconverged
    )
