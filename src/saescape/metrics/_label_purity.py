from __future__ import annotations

from typing import TYPE_CHECKING, Any

from saescape.interpretability._monosemanticity import label_shares

from ._codes import as_codes, as_labels

if TYPE_CHECKING:
    from scipy import sparse

    from saescape._typing import FloatArray


def label_purity(codes: FloatArray | sparse.csr_matrix, labels: Any) -> FloatArray:
    """Largest share of a feature's activity that is on cells of one label.

    Parameters
    ----------
    codes
        Codes `(n, n_features)`, dense or sparse, non-negative.
    labels
        Label of each cell.

    Returns
    -------
    Share `(n_features,)` in (0, 1]; NaN for features that never fire. Chance is the share of the most frequent label,
    more where few cells are active.

    Raises
    ------
    ValueError
        For numbers of rows that differ, missing labels, negative and non-finite values.

    Examples
    --------
    >>> import numpy as np
    >>> import saescape as sae
    >>> codes = np.array([[1.0, 1.0], [2.0, 0.0], [0.0, 3.0]])
    >>> sae.metrics.label_purity(codes, ["a", "a", "b"]).tolist()
    [1.0, 0.75]
    """
    checked = as_codes(codes)
    return label_shares(checked, *as_labels(labels, checked.shape[0])).max(1)
