"""A stored model as the functions that the null of re-encoded features needs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from saescape._rows import RowSource
from saescape.superposition._reencoded import Recoder

from ._encode import encode_rows

if TYPE_CHECKING:
    from scipy import sparse

    from saescape._typing import FloatArray

    from ._rule import CodingRule
    from ._weights import SaeWeights

# multiplications that take as long as everything about a row that does not grow with the dictionary
_OVERHEAD, _SPARSE_OVERHEAD = 2.5e4, 2e5


def model_recoder(weights: SaeWeights, rule: CodingRule, l0: float) -> Recoder:
    """Encode rows as the model's codes were made.

    Parameters
    ----------
    rule
        That is stored with the model.
    l0
        Active features per row; sparse inference takes a round for each.
    """
    cpu = torch.device("cpu")
    inference = rule.for_weights(weights, cpu)

    def encode(rows: FloatArray) -> sparse.csr_matrix:
        source = RowSource(np.ascontiguousarray(rows, dtype=np.float32))
        return encode_rows(source, weights, cpu, inference=inference).codes

    product = float(weights.n_dims * weights.n_features)
    work = product + _OVERHEAD if inference is None else (product + _SPARSE_OVERHEAD) * (1 + l0)
    return Recoder(encode, weights.W_dec, weights.b_dec, work)
