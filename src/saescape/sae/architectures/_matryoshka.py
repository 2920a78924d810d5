from __future__ import annotations

from ._batchtopk import BatchTopK

# of all features; few features for the general, many for the specific
_SHARES = (1 / 16, 1 / 8, 1 / 4, 1)


class Matryoshka(BatchTopK):
    """BatchTopK in which the leading features also have to reconstruct on their own.

    The loss is the mean of the reconstruction errors of nested prefixes of the dictionary, so that general features
    come first and are not split up into special ones (Bussmann et al., arXiv 2503.17547, section 3).
    """

    @property
    def prefixes(self) -> tuple[int, ...]:
        sizes = {max(1, int(share * self.n_features)) for share in _SHARES}
        return tuple(sorted(sizes))
