from __future__ import annotations

import anndata as ad
import dask.array as da
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from saescape._rows import RowSource

RNG = np.random.default_rng(0)
DENSE = (RNG.normal(size=(23, 7)) * (RNG.random((23, 7)) < 0.5)).astype(np.float32)


def containers(tmp_path):
    adata = ad.AnnData(sparse.csr_matrix(DENSE))
    adata.layers["csc"] = sparse.csc_matrix(DENSE)
    adata.write_h5ad(tmp_path / "x.h5ad")
    dense = ad.AnnData(DENSE)
    dense.write_h5ad(tmp_path / "dense.h5ad")
    return {
        "numpy": DENSE,
        "float64": DENSE.astype(np.float64),
        "csr": sparse.csr_matrix(DENSE),
        "csc": sparse.csc_matrix(DENSE),
        "csr_array": sparse.csr_array(DENSE),
        "coo": sparse.coo_matrix(DENSE),
        "frame": pd.DataFrame(DENSE),
        "dask": da.from_array(DENSE, chunks=(5, 7)),
        "dask_sparse": da.from_array(DENSE, chunks=(5, 7)).map_blocks(sparse.csr_matrix),
        "backed_sparse": ad.read_h5ad(tmp_path / "x.h5ad", backed="r").X,
        "backed_dense": ad.read_h5ad(tmp_path / "dense.h5ad", backed="r").X,
    }


def test_every_container_gives_the_same_rows(tmp_path):
    order = np.array([4, 0, 22, 4, 9])
    for name, data in containers(tmp_path).items():
        source = RowSource(data)
        assert (source.n_obs, source.n_dims, source.n_positions) == (23, 7, None), name
        np.testing.assert_array_equal(source.read_all(), DENSE, err_msg=name)
        assert source.read(3, 5).dtype == np.float32
        assert source.read(3, 5).flags.c_contiguous
        np.testing.assert_array_equal(source.take(order), DENSE[order], err_msg=name)
        blocks = list(source.blocks(4))
        assert [start for start, _ in blocks] == [0, 4, 8, 12, 16, 20]
        np.testing.assert_array_equal(np.concatenate([block for _, block in blocks]), DENSE, err_msg=name)
        mean, var = source.moments()
        np.testing.assert_allclose(mean, DENSE.mean(0), atol=1e-6)
        np.testing.assert_allclose(var, DENSE.var(0), atol=1e-6)


def test_tokens_and_column_masks():
    tokens = RNG.normal(size=(5, 3, 4)).astype(np.float32)
    columns = np.array([True, False, True, True])
    source = RowSource(tokens, columns=columns)
    assert (source.n_rows, source.n_positions, source.n_dims) == (15, 3, 3)
    np.testing.assert_array_equal(source.read_all(), tokens[..., columns])
    mean, var = source.moments()
    np.testing.assert_allclose(mean, tokens[..., columns].reshape(-1, 3).mean(0), atol=1e-6)
    np.testing.assert_allclose(var, tokens[..., columns].reshape(-1, 3).var(0), atol=1e-6)


def test_moments_over_many_blocks_equal_one(monkeypatch):
    import saescape._rows as rows

    monkeypatch.setattr(rows.RowSource, "block_size", lambda self: 2)
    mean, var = RowSource(DENSE + 1e3).moments()
    exact = (DENSE + 1e3).astype(np.float64)
    np.testing.assert_allclose(mean, exact.mean(0))
    np.testing.assert_allclose(var, exact.var(0), rtol=1e-6)


def test_non_finite_values_are_counted_and_located():
    data = DENSE.copy()
    data[3, 2], data[7, 1] = np.nan, np.inf
    with pytest.raises(ValueError, match=r"`adata.X` has 2 non-finite values, the first at position \(3, 2\)"):
        RowSource(data, where="`adata.X`").moments()


@pytest.mark.parametrize("data", [np.zeros(3), np.zeros((2, 2, 2, 2))])
def test_wrong_rank(data):
    with pytest.raises(ValueError, match="2 or 3 dimensions"):
        RowSource(data)


@pytest.mark.parametrize("dtype", [complex, object, str])
def test_wrong_dtype(dtype):
    with pytest.raises(TypeError, match="real numbers"):
        RowSource(np.zeros((2, 2), dtype=dtype))
