"""Which widths and sparsities a sweep goes through."""

from __future__ import annotations

import math
from collections.abc import Iterable
from numbers import Integral
from typing import TYPE_CHECKING, Any

from saescape._validate import check_integer

from ._defaults import make_plan

if TYPE_CHECKING:
    from ._defaults import Plan

# how far the powers of two go below and above the rule of thumb, which is rather too large than too small
_BELOW, _ABOVE = 8, 2
# with a larger share of the features, or of the dimensions, a code is not sparse
_SHARE_OF_FEATURES = 10
_SHARE_OF_DIMS = 2


def check_values(name: str, values: Any) -> list[int] | None:
    """A number or increasing numbers as a list; None stays None."""
    if values is None:
        return None
    if isinstance(values, Integral) or not isinstance(values, Iterable) or isinstance(values, str | bytes):
        return [check_integer(name, values)]
    numbers = [check_integer(name, value) for value in values]
    if not numbers:
        msg = f"`{name}` is empty; give at least one value, or None for the default."
        raise ValueError(msg)
    if any(second <= first for first, second in zip(numbers, numbers[1:], strict=False)):
        msg = f"`{name}` must be increasing without repeats, found {numbers}; use {sorted(set(numbers))}."
        raise ValueError(msg)
    return numbers


def make_grid(
    n_rows: int, n_dims: int, *, k: Any, n_features: Any, n_train: int | None = None, **settings: Any
) -> list[Plan]:
    """Complete settings of every combination, ordered by width and then by sparsity.

    Parameters
    ----------
    n_rows, n_dims, n_train
        As for :func:`saescape.sae._defaults.make_plan`.
    k
        Active features per row: one number, increasing numbers, or None. None takes the powers of two from an eighth of
        the rule of thumb (:func:`saescape.sae._defaults.default_k`) to its double that are at most a tenth of the
        features and half of the dimensions, so wider dictionaries may have more of them.
    n_features
        Widths: one number, increasing numbers, or None for half the default, the default and its double.
    **settings
        The other arguments of :func:`saescape.sae._defaults.make_plan`.
    """
    wanted, widths = check_values("k", k), check_values("n_features", n_features)
    default = make_plan(n_rows, n_dims, n_train=n_train, **settings)
    if widths is None:
        widths = [default.n_features // 2, default.n_features, 2 * default.n_features]
    if wanted is not None:
        check_integer("k", wanted[-1], 1, widths[0], high_name="n_features")
    grid = [(width, active) for width in widths for active in wanted or _sparse_enough(default.k, width, n_dims)]
    return [
        make_plan(n_rows, n_dims, n_train=n_train, n_features=width, k=active, **settings) for width, active in grid
    ]


def _sparse_enough(default: int, width: int, n_dims: int) -> list[int]:
    """Powers of two around the rule of thumb that leave the code sparse; at least one number."""
    first = max(0, math.ceil(math.log2(default / _BELOW)))
    last = math.floor(math.log2(default * _ABOVE))
    bound = max(1, min(width // _SHARE_OF_FEATURES, n_dims // _SHARE_OF_DIMS))
    return [2**i for i in range(first, last + 1) if 2**i <= bound] or [bound]
