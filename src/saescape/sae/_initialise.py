from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from ._parameters import Parameters
from ._sparse import bag_embedding
from .architectures import topk_rows

if TYPE_CHECKING:
    import numpy as np

    from .architectures import Architecture

_CALIBRATION_ROWS = 2_048


def initial_parameters(
    sample: torch.Tensor, b_dec: torch.Tensor, architecture: Architecture, rng: np.random.Generator
) -> Parameters:
    """Decoder rows from data, encoder tied to them up to one scale fitted on the sample.

    Parameters
    ----------
    sample
        Standardised rows on CPU, in random order, all distinct observations.
    b_dec
        Where the decoder bias starts.
    architecture
        Sets the biases and what else it learns per feature.
    """
    n_features, k = architecture.n_features, architecture.k
    centred = sample - b_dec
    d = centred.shape[1]
    rows = centred[:n_features]
    directions = torch.from_numpy(rng.standard_normal((n_features, d), dtype="float32"))
    length = torch.linalg.vector_norm(rows, dim=1)
    # rows at the mean have no direction, and small data not enough rows: those features start at random
    usable = (length > 1e-6 * length.mean().clamp_min(1e-30)).nonzero().view(-1)
    directions[usable] = rows[usable]
    decoder = torch.nn.functional.normalize(directions, dim=1).contiguous()

    x = centred[-_CALIBRATION_ROWS:]
    pre = x @ decoder.t()
    values, cols = topk_rows(pre, k)
    ptr = torch.arange(0, cols.numel() + 1, k)
    reconstruction = bag_embedding(cols.reshape(-1), decoder, ptr, values.relu().reshape(-1))
    power = float(reconstruction.square().sum())
    scale = float((x * reconstruction).sum()) / power if power > 0 else 1.0
    parameters = Parameters(
        encoder=decoder * scale, decoder=decoder, b_enc=torch.zeros(n_features), b_dec=b_dec.clone().contiguous()
    )
    architecture.start(parameters, pre * scale)
    return parameters
