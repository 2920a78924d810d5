from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from saescape._validate import check_finite

if TYPE_CHECKING:
    from saescape._typing import FloatArray


def mmcs(dictionary: FloatArray, dictionary_true: FloatArray) -> float:
    """Mean maximum cosine similarity of true directions with the learned ones.

    Compare it with a random dictionary of the same size: the expected maximum grows with the number of directions.

    Parameters
    ----------
    dictionary
        Learned directions in rows `(n_features, d)`, such as `W_dec_`.
    dictionary_true
        True directions in rows `(n_true, d)`, none of them zero.

    Returns
    -------
    Mean over true directions of the largest cosine with a learned one. Several true directions may share one.

    Notes
    -----
    Sharkey, Braun & Millidge (2022), Taking features out of superposition with sparse autoencoders. Cosines keep their
    sign because codes are non-negative: the opposite direction is no recovery.

    Examples
    --------
    >>> import numpy as np
    >>> import saescape as sae
    >>> sae.metrics.mmcs(np.array([[2.0, 0.0], [1.0, 1.0]]), np.eye(2)).__round__(4)
    0.8536
    """
    learned, true = np.asarray(dictionary, dtype=np.float64), np.asarray(dictionary_true, dtype=np.float64)
    if learned.ndim != 2 or true.ndim != 2 or learned.shape[1] != true.shape[1] or 0 in (*learned.shape, *true.shape):
        msg = (
            "`dictionary` and `dictionary_true` must be 2-D with rows of equal length, "
            f"found {learned.shape} and {true.shape}."
        )
        raise ValueError(msg)
    check_finite(learned, "`dictionary`")
    check_finite(true, "`dictionary_true`")
    length = np.linalg.norm(true, axis=1, keepdims=True)
    if (length == 0).any():
        msg = f"`dictionary_true` has {int((length == 0).sum())} rows of zeros, which have no direction."
        raise ValueError(msg)
    # a learned row of zeros matches nothing
    learned = learned / np.maximum(np.linalg.norm(learned, axis=1, keepdims=True), np.finfo(float).tiny)
    return float((true / length @ learned.T).max(1).mean())
