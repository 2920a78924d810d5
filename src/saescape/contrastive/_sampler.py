"""Which crops are in which batch: shuffled, or in equal numbers for nested groups."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from saescape._typing import IntArray


def epoch_order(groups: Sequence[IntArray], n: int, rng: np.random.Generator) -> IntArray:
    """Order in which an epoch of `n` draws visits `n` crops.

    Without groups, each crop once. With nested groups (codes `(n,)`, outermost first, such as condition, line, plate),
    the outermost groups take turns, inside them the next ones, and so on: every stretch of the order is as balanced as
    it can be. Small groups repeat their crops, each as often as the others before any of them again; large groups show
    another random part in the next epoch. No group is left out, however small.
    """
    if not groups:
        return rng.permutation(n)
    stream = _stream(list(groups), np.arange(n), rng)
    return np.fromiter((next(stream) for _ in range(n)), dtype=np.int64, count=n)


def _stream(groups: list[IntArray], members: IntArray, rng: np.random.Generator) -> Iterator[int]:
    if not groups:
        while True:
            yield from rng.permutation(members)
    code = groups[0][members]
    children = [_stream(groups[1:], members[code == value], rng) for value in np.unique(code)]
    while True:
        for child in rng.permutation(len(children)):
            yield next(children[child])
