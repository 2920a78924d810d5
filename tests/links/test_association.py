from __future__ import annotations

import numpy as np
from scipy import sparse

from saescape.links._association import strength


def draw(n=40, f=5, g=4, seed=0):
    rng = np.random.default_rng(seed)
    codes = np.maximum(rng.normal(size=(n, f)), 0)
    expression = codes @ rng.normal(size=(f, g)) + rng.normal(size=(n, g)) + 3
    return sparse.csr_matrix(codes.astype(np.float32)), expression.astype(np.float32)


def test_correlation_is_that_of_numpy():
    codes, expression = draw()
    expected = np.corrcoef(codes.toarray().T, expression.T)[:5, 5:]
    links = strength(codes, expression)
    np.testing.assert_allclose(links.correlation, expected, atol=1e-5)
    assert links.sd is links.t is links.n_batches is None


def test_constant_features_and_genes_have_no_link():
    codes, expression = draw()
    dense = codes.toarray()
    dense[:, 1], expression[:, 2] = 0.1, 1000.1
    r = strength(sparse.csr_matrix(dense), expression).correlation
    assert np.isnan(r[1]).all()
    assert np.isnan(r[:, 2]).all()
    assert np.isfinite(np.delete(np.delete(r, 1, 0), 2, 1)).all()


def test_batches_are_combined_on_the_fisher_scale():
    codes, expression = draw(60)
    batch_of = np.repeat([0, 1, 2], [30, 20, 10])
    # offsets between batches do not count
    expression += 50 * batch_of[:, None].astype(np.float32)
    links = strength(codes, expression, batch_of)
    each = [strength(codes[batch_of == b], expression[batch_of == b]).correlation for b in range(3)]
    weight = np.array([27, 17, 7])
    z = np.arctanh(each)
    mean = np.average(z, axis=0, weights=weight)
    np.testing.assert_allclose(links.correlation, np.tanh(mean), atol=1e-5)
    np.testing.assert_allclose(links.sd, np.std(each, axis=0, ddof=1), atol=1e-5)
    error = np.sqrt((weight[:, None, None] ** 2 * (z - mean) ** 2).sum(0) * 3 / 2) / weight.sum()
    np.testing.assert_allclose(links.t, mean / error, rtol=1e-3)
    assert (links.n_batches == 3).all()


def test_equal_batches_give_the_t_test_of_scipy():
    from scipy.stats import ttest_1samp

    codes, expression = draw(80)
    batch_of = np.repeat(np.arange(4), 20)
    each = np.arctanh([strength(codes[batch_of == b], expression[batch_of == b]).correlation for b in range(4)])
    np.testing.assert_allclose(
        strength(codes, expression, batch_of).t, ttest_1samp(each, 0, axis=0).statistic, rtol=1e-3
    )


def test_a_batch_in_which_a_feature_is_silent_is_left_out_for_it():
    codes, expression = draw(60)
    batch_of = np.repeat([0, 1, 2], 20)
    dense = codes.toarray()
    dense[:20, 0] = 0
    links = strength(sparse.csr_matrix(dense), expression, batch_of)
    assert (links.n_batches[0] == 2).all()
    assert (links.n_batches[1:] == 3).all()
    rest = strength(sparse.csr_matrix(dense[20:]), expression[20:], batch_of[20:] - 1)
    np.testing.assert_allclose(links.correlation[0], rest.correlation[0], rtol=1e-5)
