from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from saescape.representations._phenotype import as_phenotype


@pytest.mark.parametrize(
    ("values", "n_labels", "known"),
    [
        (pd.Series([1, 2, 3]), 0, 3),
        (pd.Series([1.5, np.nan, 3]), 0, 2),
        (pd.Series([1, 2.5, None], dtype=object), 0, 2),
        (pd.Series([1, None, 3], dtype="Int64"), 0, 2),
        (pd.Series([True, False, True]), 2, 3),
        (pd.Series([True, None, False, True], dtype="boolean"), 2, 3),
        (pd.Series([True, None, False, True], dtype=object), 2, 3),
        (pd.Series(["a", "b", "a", None]), 2, 3),
        (pd.Series(["a", "b", "a", None], dtype="string"), 2, 3),
        (pd.Series(["a", "b", "a", None], dtype="category").cat.add_categories("unused"), 2, 3),
        (pd.Series([3, 5, 3], dtype="category"), 2, 3),
    ],
)
def test_numbers_and_labels(values, n_labels, known):
    phenotype = as_phenotype("p", values)
    assert phenotype.n_labels == n_labels
    assert phenotype.known.sum() == known
    assert len(np.unique(phenotype.values[phenotype.known])) == values.dropna().nunique()


@pytest.mark.parametrize(
    ("values", "error", "match"),
    [
        (pd.Series([1.0, 1.0, np.nan]), ValueError, "constant"),
        (pd.Series(["a", "a"]), ValueError, "constant"),
        (pd.Series([np.nan, np.nan]), ValueError, "missing for all"),
        (pd.Series([None, None], dtype=object), ValueError, "missing for all"),
        (pd.Series([1.0, np.inf, 2.0]), ValueError, "1 infinite"),
        (pd.Series(["a", "b", "c"]), ValueError, "different label"),
        (pd.Series(["a", 1.0, "a"], dtype=object), TypeError, "mixed"),
        (pd.to_datetime(pd.Series(["2020-01-01", "2021-01-01"])), TypeError, "datetime"),
        (pd.Series([1 + 2j, 3.0]), TypeError, "complex"),
    ],
)
def test_errors_name_the_column(values, error, match):
    with pytest.raises(error, match=rf"`obs_keys`: `adata.obs\['p'\]`.*{match}"):
        as_phenotype("p", values)
