from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from saescape._docs import doc_params
from saescape._random import as_generator, child_seed
from saescape._validate import check_integer
from saescape.interpretability._forced_choice import draw_trials
from saescape.sae._stability import unit_rows
from saescape.superposition._arrays import as_matrix

from ._codes import as_codes, as_labels, same_rows

if TYPE_CHECKING:
    from scipy import sparse

    from saescape._typing import FloatArray, Rng


@doc_params
def two_afc(
    codes: FloatArray | sparse.csr_matrix,
    embedding: FloatArray,
    *,
    groups: Any = None,
    n_trials: int = 50,
    n_exemplars: int = 9,
    rng: Rng = 0,
) -> FloatArray:
    """Share of trials in which active and inactive cells of a feature are told apart by resemblance.

    In a trial (two-alternative forced choice) a judge sees active cells and inactive cells of a feature and has to say
    which of two further cells is active.

    Parameters
    ----------
    codes
        Codes `(n, n_features)`, dense or sparse, non-negative; 0 is inactive.
    embedding
        The same cells as an independent encoder sees them `(n, d)`; the judge's similarity is the cosine.
    groups
        Group (donor, plate) of each cell. Exemplars then come from other groups than the cell in question, and each
        active cell has an inactive counterpart from its own group.
    n_trials
        Trials of each feature.
    n_exemplars
        Active cells shown in a trial, and inactive ones.
    {rng}

    Returns
    -------
    Share `(n_features,)`, .5 by chance; ties count half. NaN for features with fewer than ``2 (1 + n_exemplars)``
    active cells (in groups with inactive cells), or active in one group only.

    Raises
    ------
    ValueError
        For numbers of rows that differ, missing groups, negative and non-finite values.

    Notes
    -----
    The task of :cite:t:`Zimmermann2024` and :cite:t:`Klindt2023`, with exemplars from the quarter of the cells with the
    largest codes and negatives from inactive cells: their rule, both from the tails of the activations, gives chance
    for a perfect sparse feature, most of whose cells are tied at 0. The share saturates: a feature of ten of twenty
    cell types still gets .8; :func:`~saescape.metrics.monosemanticity` falls.

    Examples
    --------
    >>> import numpy as np
    >>> import saescape as sae
    >>> rng = np.random.default_rng(0)
    >>> label = rng.integers(0, 4, 400)
    >>> embedding = np.eye(4)[label] + 0.1 * rng.normal(size=(400, 4))
    >>> codes = np.column_stack([label == 0, rng.random(400) < 0.2]) * 1.0
    >>> clear, arbitrary = sae.metrics.two_afc(codes, embedding)
    >>> print(f"{clear:.2f}", bool(arbitrary < 0.7))
    1.00 True
    """
    check_integer("n_trials", n_trials)
    check_integer("n_exemplars", n_exemplars)
    checked, rows = as_codes(codes), as_matrix("embedding", embedding)
    same_rows(checked, rows)
    batch_of = None if groups is None else as_labels(groups, len(rows))[0]
    generator = np.random.default_rng(child_seed(as_generator(rng)))
    trials = draw_trials(checked, batch_of, n_trials=n_trials, n_exemplars=n_exemplars, rng=generator)
    return trials.scores(unit_rows(rows))
