"""Sparse inference over any row source, and what the encoder loses against it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from ._encode import encode_rows
from ._infer import Dictionary
from ._match_bits import shortest_rule
from ._match_l0 import encoder_l0, match_l0, sample_rows, sample_size
from ._rule import CodingRule

if TYPE_CHECKING:
    import torch

    from saescape._rows import RowSource
    from saescape._typing import IntArray

    from ._encode import Encoded
    from ._weights import SaeWeights

# most atoms of a row in matching pursuit, in multiples of the mean that is asked for
_OMP_ROOM = 4


@dataclass(frozen=True)
class Tuned:
    """A rule with the penalty that was looked for.

    `l0_target` and `l0_sample` are the mean L0 wanted, and found on the `n_sample` rows that the penalty was tuned on;
    None when no L0 was wanted.
    """

    rule: CodingRule
    l0_target: float | None
    l0_sample: float | None
    n_sample: int


@dataclass(frozen=True)
class Inferred:
    """Codes by inference and by the encoder on the same rows."""

    encoded: Encoded
    by_encoder: Encoded
    rule: CodingRule
    n_unconverged: int

    @property
    def amortisation_gap(self) -> float:
        """FVU that the encoder has in addition (O'Neill et al., arXiv 2411.13117)."""
        return self.by_encoder.fvu() - self.encoded.fvu()


def tune_rule(
    rows: RowSource,
    weights: SaeWeights,
    device: torch.device,
    method: str,
    *,
    l0_target: float | None = None,
    by_length: bool = False,
) -> Tuned:
    """Find the penalty on a sample of the rows.

    Parameters
    ----------
    method
        `"fista"` or `"omp"`.
    l0_target
        Mean number of features per row; None for the encoder's.
    by_length
        Take what describes the rows in the fewest bits instead.
    """
    sample = sample_rows(rows, sample_size(weights.n_features))
    target = encoder_l0(sample, weights, device) if l0_target is None else float(l0_target)
    dictionary = Dictionary(weights, device)
    centred = sample.to(device) - dictionary.b_dec
    n_atoms = _OMP_ROOM * max(1, int(np.ceil(target))) if method == "omp" else None

    rule = CodingRule(method, 0.0, n_atoms)
    if by_length:
        return Tuned(shortest_rule(rule, weights, centred), None, None, len(sample))
    match = match_l0(dictionary, lambda penalty: replace(rule, penalty=penalty).apply(dictionary), centred, target)
    return Tuned(replace(rule, penalty=match.penalty), target, match.l0, len(sample))


def infer_rows(
    rows: RowSource,
    weights: SaeWeights,
    device: torch.device,
    rule: CodingRule,
    groups: IntArray | None = None,
    *,
    show_progress_bar: bool = False,
) -> Inferred:
    """Codes of all rows by a rule, and by the encoder for comparison."""
    encode = partial(encode_rows, rows, weights, device, groups, scale=weights.scale)
    inference = rule.for_weights(weights, device)
    by_encoder = encode(show_progress_bar=show_progress_bar and inference is None)
    if inference is None:
        return Inferred(by_encoder, by_encoder, rule, 0)
    encoded = encode(inference=inference, show_progress_bar=show_progress_bar)
    return Inferred(encoded, by_encoder, rule, inference.n_unconverged)
