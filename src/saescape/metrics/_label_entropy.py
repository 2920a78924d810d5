from __future__ import annotations

from typing import TYPE_CHECKING, Any

from saescape.interpretability._monosemanticity import entropy, label_shares

from ._codes import as_codes, as_labels

if TYPE_CHECKING:
    from scipy import sparse

    from saescape._typing import FloatArray


def label_entropy(codes: FloatArray | sparse.csr_matrix, labels: Any) -> FloatArray:
    """Entropy of the labels of the cells in which a feature is active, weighted by how active it is.

    Parameters
    ----------
    codes
        Codes `(n, n_features)`, dense or sparse, non-negative.
    labels
        Label of each cell.

    Returns
    -------
    Entropy `(n_features,)` in nats: 0 when all activity is on one label, the logarithm of the number of labels when it
    is spread evenly; NaN for features that never fire. Chance is the entropy of the labels themselves, less where few
    cells are active.

    Raises
    ------
    ValueError
        For numbers of rows that differ, missing labels, negative and non-finite values.

    Examples
    --------
    >>> import numpy as np
    >>> import saescape as sae
    >>> codes = np.array([[1.0, 1.0], [2.0, 0.0], [0.0, 1.0]])
    >>> sae.metrics.label_entropy(codes, ["a", "a", "b"]).round(4).tolist()
    [0.0, 0.6931]
    """
    checked = as_codes(codes)
    return entropy(label_shares(checked, *as_labels(labels, checked.shape[0])))
