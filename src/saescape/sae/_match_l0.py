"""The penalty at which sparse inference uses as many features per row as wanted."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

from ._encode import Encoder

if TYPE_CHECKING:
    from collections.abc import Callable

    from saescape._rows import RowSource

    from ._infer import Dictionary, Inference
    from ._weights import SaeWeights

# rows to tune on: as many as these elements of a dense code matrix allow, within bounds
_SAMPLE_ELEMENTS = 2**22
_SAMPLE_ROWS = (2_048, 16_384)
# observations read at once while sampling
_READ_OBS = 64
_TOLERANCE = 0.005
_MAX_EVALUATIONS = 40
# penalties below this share of the largest useful one count as none
_SMALLEST = 1e-5
_STEP = 1.5


class Match(NamedTuple):
    """A penalty and the mean number of active features it gave on the sample."""

    penalty: float
    l0: float


def sample_size(n_features: int) -> int:
    """Number of rows to tune the penalty on."""
    return int(np.clip(_SAMPLE_ELEMENTS // n_features, *_SAMPLE_ROWS))


def sample_rows(rows: RowSource, n_rows: int) -> torch.Tensor:
    """Rows evenly spread over the observations and, of 3-D data, over positions that differ between observations."""
    p = rows.n_positions or 1
    n_obs = min(rows.n_obs, n_rows)
    indices = np.unique(np.linspace(0, rows.n_obs - 1, n_obs).round().astype(np.int64))
    per_obs = min(p, -(-n_rows // n_obs))
    parts = []
    for i in range(0, len(indices), _READ_OBS):
        chosen = indices[i : i + _READ_OBS]
        block = rows.take(chosen).reshape(len(chosen), p, rows.n_dims)
        positions = (chosen[:, None] + np.linspace(0, p, per_obs, endpoint=False).astype(np.int64)) % p
        parts.append(block[np.arange(len(chosen))[:, None], positions].reshape(-1, rows.n_dims))
    return torch.from_numpy(np.concatenate(parts))


@torch.no_grad()
def encoder_l0(sample: torch.Tensor, weights: SaeWeights, device: torch.device) -> float:
    """Mean number of features that the encoder activates."""
    encoder = Encoder(weights, device)
    active = [encoder.active(encoder.pre_activations(part)[1]) for part in sample.split(encoder.batch_size)]
    return sum(part.values.numel() for part in active) / len(sample)


@torch.no_grad()
def match_l0(
    dictionary: Dictionary, infer: Callable[[float], Inference], centred: torch.Tensor, target: float
) -> Match:
    """Find the penalty with a mean L0 of `target`, to half a percent where rows are many enough for that.

    L0 falls with the penalty: the penalty is first bracketed by steps of a fixed factor, then the bracket is cut where
    a line through the logarithms of both ends meets the target, or in the middle when that did not halve it. The
    closest penalty seen is returned, also where the target is out of reach.
    """
    top = dictionary.largest_correlation(centred)
    if top <= 0:
        return Match(1.0, 0.0)
    seen: dict[float, float] = {top: 0.0}

    def evaluate(penalty: float) -> float:
        seen[penalty] = infer(penalty).active(centred).values.numel() / len(centred)
        return seen[penalty]

    def is_close(l0: float) -> bool:
        return abs(l0 - target) <= _TOLERANCE * target

    high, low = top, top / _STEP
    while not is_close(evaluate(low)) and seen[low] < target and low > _SMALLEST * top:
        high, low = low, low / _STEP
    use_line = True
    while not is_close(seen[low]) and seen[low] > target and len(seen) < _MAX_EVALUATIONS:
        width = np.log(high / low)
        logs = [np.log(max(seen[end], 0.5 / len(centred)) / target) for end in (low, high)]
        share = logs[0] / (logs[0] - logs[1]) if use_line else 0.5
        middle = float(low * np.exp(width * np.clip(share, 0.05, 0.95)))
        l0 = evaluate(middle)
        if is_close(l0) or width < 1e-4:
            break
        low, high = (middle, high) if l0 > target else (low, middle)
        use_line = np.log(high / low) < 0.5 * width
    return Match(*min(seen.items(), key=lambda item: (abs(item[1] - target), -item[0])))
