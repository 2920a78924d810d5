from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from scipy import sparse

from saescape.metrics import mcc


@pytest.fixture
def sources():
    rng = np.random.default_rng(0)
    return rng.exponential(size=(400, 5)) * (rng.random((400, 5)) < 0.3)


def test_permuted_scaled_and_shifted_sources_match_perfectly(sources):
    codes = np.column_stack([2 * sources[:, [3, 1, 0, 4, 2]] + 1, np.ones(400)])
    score, info = mcc(codes, sources, return_info=True)
    assert score == pytest.approx(1)
    assert dict(info["pairs"].tolist()) == {0: 3, 1: 1, 2: 0, 3: 4, 4: 2}
    np.testing.assert_allclose(info["correlations"], 1)
    assert np.isnan(info["pvalue"])


def test_unmatched_sources_count_zero_and_signs_on_request(sources):
    assert mcc(sources[:, :3], sources) == pytest.approx(3 / 5, abs=1e-6)
    assert mcc(-sources, sources) == pytest.approx(1)
    assert mcc(-sources, sources, signed=True) < 0.2


def test_equals_brute_force_over_matchings(sources):
    codes = sources + np.random.default_rng(1).exponential(size=sources.shape)
    correlation = np.abs(np.corrcoef(codes.T, sources.T)[:5, 5:])
    best = max(np.mean([correlation[i, j] for j, i in enumerate(p)]) for p in permutations(range(5)))
    assert mcc(codes, sources) == pytest.approx(best)
    assert mcc(sparse.csr_matrix(codes), sources) == pytest.approx(best)
    assert mcc(sparse.csr_matrix(codes), sparse.csc_matrix(sources)) == pytest.approx(best)


def test_permutation_null(sources, global_state):
    noise = np.random.default_rng(2).exponential(size=(400, 20))
    score, info = mcc(noise, sources, n_perms=99, return_info=True)
    assert info["null"].shape == (99,)
    # chance is far from 0, and the score of unrelated codes is within it
    assert info["null"].mean() > 0.05
    assert info["pvalue"] > 0.05
    good = mcc(sources + 0.1 * noise[:, :5], sources, n_perms=99, return_info=True)[1]
    assert good["pvalue"] == pytest.approx(0.01)
    again = mcc(noise, sources, n_perms=99, return_info=True)[1]
    np.testing.assert_array_equal(again["null"], info["null"])


@pytest.mark.parametrize("container", [np.asarray, sparse.csr_matrix])
def test_bad_input(container, sources):
    constant = sources.copy()
    constant[:, 2] = 0.1
    with pytest.raises(ValueError, match="1 sources without variance, the first in column 2"):
        mcc(sources, container(constant))
    with pytest.raises(ValueError, match="must have the same rows, found 10 and 400"):
        mcc(container(sources[:10]), sources)
    bad = sources.copy()
    bad[0, 0] = np.inf
    with pytest.raises(ValueError, match="`codes` has 1 non-finite"):
        mcc(container(bad), sources)
    with pytest.raises(ValueError, match="`codes` must be 2-D and not empty"):
        mcc(np.zeros((0, 2)), sources)
    with pytest.raises(TypeError, match="`n_perms` must be an integer"):
        mcc(sources, sources, n_perms=1.5)
