"""Sparse inference that describes rows in the fewest bits: its penalty, and the features that it may use."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from ._choose_k import description_length
from ._infer import Dictionary
from ._prune import without_sums

if TYPE_CHECKING:
    from ._infer import Inference
    from ._rule import CodingRule
    from ._weights import SaeWeights

_STEP = 1.6
# penalties in a row that lengthen the description before the search ends
_PATIENCE = 2
# penalties below this share of the largest useful one count as none
_SMALLEST = 1e-3
# squared distances below which a direction counts as a sum of others
_BOUNDS = (0.1, 0.2, 0.35, 0.5)


@torch.no_grad()
def shortest_rule(rule: CodingRule, weights: SaeWeights, centred: torch.Tensor) -> CodingRule:
    """The penalty and the features with which rows have the shortest description.

    An autoencoder wider than needed has directions for things that occur together, and several for one thing. Codes
    of equal rows then differ by chance in which of them they use. Such features are left out as long as descriptions
    get shorter.

    Parameters
    ----------
    centred
        Rows from which `b_dec` was subtracted.
    """
    dictionary = Dictionary(weights, centred.device)
    rule = replace(rule, penalty=_shortest_penalty(rule, dictionary, centred))
    active = rule.apply(dictionary).active(centred)
    n_used = np.bincount(active.cols.cpu().numpy(), minlength=len(dictionary.atoms))
    fewest = _bits(dictionary, rule.apply(dictionary), centred)
    best = rule
    for bound in _BOUNDS:
        used = without_sums(dictionary.atoms, n_used, bound)
        smaller = Dictionary(weights, centred.device, used)
        bits = _bits(smaller, rule.apply(smaller), centred)
        if bits < fewest:
            fewest, best = bits, replace(rule, used=used)
    if best.used is None:
        return best
    return replace(best, penalty=_shortest_penalty(best, Dictionary(weights, centred.device, best.used), centred))


def _shortest_penalty(rule: CodingRule, dictionary: Dictionary, centred: torch.Tensor) -> float:
    """Lower the penalty from where codes are empty until descriptions get longer, then look to both sides of the best.

    With a large penalty the residual is long, with a small one the list of active features. Nothing about the number of
    features is assumed, so it can differ from the one the model was trained with.
    """
    top = dictionary.largest_correlation(centred)
    if top <= 0:
        return 1.0
    bits: dict[float, float] = {}

    def measure(penalty: float) -> float:
        bits[penalty] = _bits(dictionary, replace(rule, penalty=penalty).apply(dictionary), centred)
        return bits[penalty]

    fewest, worse, penalty = float("inf"), 0, top
    while worse < _PATIENCE and penalty > _SMALLEST * top:
        penalty /= _STEP
        length = measure(penalty)
        fewest, worse = (length, 0) if length < fewest else (fewest, worse + 1)
    best = min(bits, key=bits.__getitem__)
    for step in (_STEP**0.5, _STEP**-0.5):
        measure(best * step)
    return min(bits, key=bits.__getitem__)


def _bits(dictionary: Dictionary, inference: Inference, centred: torch.Tensor) -> float:
    active = inference.active(centred)
    scaled = centred * dictionary.inverse
    n, d = centred.shape
    # in units of atoms of length one
    values = active.values * dictionary.lengths[active.cols]
    rest = scaled.clone()
    size = max(1, 2**22 // d)
    for start in range(0, len(values), size):
        part = slice(start, start + size)
        rest.index_add_(0, active.rows[part], dictionary.atoms[active.cols[part]] * -values[part].unsqueeze(1))
    return description_length(
        active.cols.cpu().numpy(),
        values.cpu().numpy(),
        n_rows=n,
        n_features=len(dictionary.atoms),
        n_dims=d,
        error=float(rest.square().mean()),
    )
