from __future__ import annotations

from typing import TYPE_CHECKING

from saescape.interpretability._monosemanticity import unit_interval, weighted_similarity
from saescape.sae._stability import unit_rows
from saescape.superposition._arrays import as_matrix

from ._codes import as_codes, same_rows

if TYPE_CHECKING:
    from scipy import sparse

    from saescape._typing import FloatArray


def monosemanticity(codes: FloatArray | sparse.csr_matrix, embedding: FloatArray) -> FloatArray:
    r"""Mean cosine of the cells in which a feature is active, weighted by how active it is.

    Parameters
    ----------
    codes
        Codes `(n, n_features)`, dense or sparse, non-negative. Each feature is scaled to [0, 1].
    embedding
        The same cells as an independent encoder sees them `(n, d)`. With the input of the sparse autoencoder itself the
        measure says that the encoder works, not that features mean anything.

    Returns
    -------
    Score `(n_features,)`, at most 1; NaN for features that are constant or active in fewer than two cells. Chance is
    the mean cosine of all pairs of cells, not 0.

    Raises
    ------
    ValueError
        For numbers of rows that differ, negative and non-finite values.

    Notes
    -----
    The monosemanticity score of :cite:t:`Pach2025`, :math:`\sum_{i<j} a_i a_j \cos(e_i, e_j) / \sum_{i<j} a_i a_j`,
    computed without the pairs: with unit vectors :math:`e_i` it is
    :math:`(\|\sum a_i e_i\|^2 - \sum a_i^2) / ((\sum a_i)^2 - \sum a_i^2)`.

    Examples
    --------
    >>> import numpy as np
    >>> import saescape as sae
    >>> embedding = np.repeat(np.eye(2), 5, axis=0)
    >>> one, both = np.repeat([1.0, 0.0], 5), np.tile([1.0, 0.0], 5)
    >>> sae.metrics.monosemanticity(np.column_stack([one, both]), embedding).tolist()
    [1.0, 0.4]
    """
    checked, rows = as_codes(codes), as_matrix("embedding", embedding)
    same_rows(checked, rows)
    return weighted_similarity(unit_interval(checked), unit_rows(rows))
