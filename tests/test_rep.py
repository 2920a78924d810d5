from __future__ import annotations

import numpy as np
import pytest

from saescape._rep import get_representation


def test_sources_and_names(small):
    assert get_representation(small).on_variables
    assert list(get_representation(small).names) == list(small.var_names)
    assert get_representation(small, "X_rep").names[0] == "rep_0"
    assert get_representation(small, "X_rep").rows.n_dims == 12
    np.testing.assert_array_equal(get_representation(small, layer="csr").rows.read_all(), small.X)
    assert get_representation(small, "tokens").rows.n_positions == 4


def test_mask_of_variables(small):
    small.var["highly_variable"] = np.arange(20) < 5
    for mask in ("highly_variable", small.var["highly_variable"].to_numpy()):
        rep = get_representation(small, mask_var=mask)
        assert list(rep.names) == list(small.var_names[:5])
        np.testing.assert_array_equal(rep.rows.read_all(), small.X[:, :5])
    small.var["none"] = False
    with pytest.raises(ValueError, match="selects no variable"):
        get_representation(small, mask_var="none")
    with pytest.raises(KeyError, match="mask_var='missing'"):
        get_representation(small, mask_var="missing")
    with pytest.raises(ValueError, match="must be boolean with one entry per variable"):
        get_representation(small, mask_var=np.ones(3, dtype=bool))
    with pytest.raises(ValueError, match="cannot be used with"):
        get_representation(small, "X_rep", mask_var="highly_variable")


def test_missing_slots_say_what_exists_and_what_makes_them(small):
    with pytest.raises(KeyError, match=r"'X_pca' not found in `adata.obsm`.*'X_rep'.*sc\.pp\.pca"):
        get_representation(small, "X_pca")
    with pytest.raises(KeyError, match=r"`layer='counts'`.*Available keys: \['csr'\]"):
        get_representation(small, layer="counts")
    with pytest.raises(ValueError, match="exclude each other"):
        get_representation(small, "X_rep", "csr")


def test_empty_x_points_to_the_other_slots(small):
    empty = small[:, :0].copy()
    with pytest.raises(ValueError, match=r"is empty; give `use_rep` .*'X_rep'"):
        get_representation(empty)
    assert get_representation(empty, "X_rep").rows.n_obs == 300


def test_not_an_anndata():
    with pytest.raises(TypeError, match="`adata` must be an AnnData, found ndarray"):
        get_representation(np.zeros((3, 3)))
