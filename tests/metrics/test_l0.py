from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse

from saescape.metrics import dead_fraction, l0


@pytest.mark.parametrize("container", [np.asarray, sparse.csr_matrix, sparse.csc_array, sparse.coo_matrix])
def test_closed_forms(container):
    codes = container(np.array([[0.0, 2, 0, 0], [1, 3, 0, 0], [0, 0, 0, 0]]))
    assert l0(codes) == 1
    assert dead_fraction(codes) == 0.5


def test_stored_zeros_do_not_count():
    codes = sparse.csr_matrix((np.array([0.0, 1.0]), np.array([0, 1]), np.array([0, 2])), shape=(1, 2))
    assert l0(codes) == 1
    assert dead_fraction(codes) == 0.5
    assert codes.nnz == 2


def test_bad_input():
    with pytest.raises(ValueError, match="2-D with at least one row"):
        l0(np.zeros((0, 3)))
    with pytest.raises(ValueError, match="2-D with at least one row and one feature"):
        dead_fraction(np.zeros(3))
