from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from collections.abc import Sequence


def label_transfer_accuracy(
    labels_true: Sequence[Any] | pd.Series | pd.Categorical | np.ndarray,
    labels_pred: Sequence[Any] | pd.Series | pd.Categorical | np.ndarray,
    *,
    balanced: bool = True,
) -> float:
    """Accuracy of transferred labels.

    Parameters
    ----------
    labels_true
        `(n,)` known labels. Cells whose label is missing (None or NaN) are left out.
    labels_pred
        `(n,)` transferred labels. A missing prediction is wrong.
    balanced
        Mean of the accuracies of the known classes (recall), so that a common class does not decide; otherwise the
        share of cells that are right.

    Returns
    -------
    The accuracy, between 0 and 1. Chance is one over the number of known classes when `balanced`, whatever the
    predictions' frequencies (independent predictions have an expected recall equal to their frequency, and these sum
    to at most one); otherwise predicting the largest class everywhere already gives its share.

    Raises
    ------
    ValueError
        If the lengths differ or no label is known.

    Notes
    -----
    Brodersen et al. (2010), The balanced accuracy and its posterior distribution, for any number of classes.

    Examples
    --------
    >>> import saescape as sae
    >>> sae.metrics.label_transfer_accuracy(["a", "a", "a", "b"], ["a", "a", "a", "a"])
    0.5
    >>> sae.metrics.label_transfer_accuracy(["a", "a", "a", "b"], ["a", "a", "a", "a"], balanced=False)
    0.75
    """
    truth, predicted = (pd.Series(np.asarray(labels, dtype=object)) for labels in (labels_true, labels_pred))
    if len(truth) != len(predicted):
        msg = f"`labels_true` and `labels_pred` must have the same length, found {len(truth)} and {len(predicted)}."
        raise ValueError(msg)
    known = truth.notna()
    if not known.any():
        msg = "`labels_true` has no known label."
        raise ValueError(msg)
    truth, predicted = truth[known], predicted[known]
    # compared as text: the labels of two objects often differ only in type (0 and "0")
    right = (truth.astype(str) == predicted.astype(str)) & predicted.notna()
    if balanced:
        return float(right.groupby(truth.astype(str)).mean().mean())
    return float(right.mean())
