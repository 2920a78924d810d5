from __future__ import annotations

import anndata as ad
import dask.array as da
import h5py
import numpy as np
import pandas as pd
import pytest
import zarr
from scipy import sparse

from saescape import _rows
from saescape._rows import RowSource

RNG = np.random.default_rng(0)
DENSE = (RNG.normal(size=(23, 7)) * (RNG.random((23, 7)) < 0.5)).astype(np.float32)


def containers(tmp_path):
    adata = ad.AnnData(sparse.csr_matrix(DENSE))
    adata.layers["csc"] = sparse.csc_matrix(DENSE)
    adata.write_h5ad(tmp_path / "x.h5ad")
    ad.AnnData(sparse.csc_matrix(DENSE)).write_h5ad(tmp_path / "csc.h5ad")
    dense = ad.AnnData(DENSE)
    dense.write_h5ad(tmp_path / "dense.h5ad")
    adata.write_zarr(tmp_path / "x.zarr")
    file = h5py.File(tmp_path / "plain.h5", "w")
    file.create_dataset("chunked", data=DENSE, chunks=(4, 2), compression="gzip")
    file.create_dataset("contiguous", data=DENSE)
    mapped = np.memmap(tmp_path / "map", dtype=np.float32, mode="w+", shape=DENSE.shape)
    mapped[:] = DENSE
    return {
        "numpy": DENSE,
        "float64": DENSE.astype(np.float64),
        "matrix": np.asmatrix(DENSE),
        "unmasked": np.ma.masked_array(DENSE, mask=False),
        "read only": np.broadcast_to(DENSE, DENSE.shape),
        "memmap": mapped,
        "csr": sparse.csr_matrix(DENSE),
        "csc": sparse.csc_matrix(DENSE),
        "csr_array": sparse.csr_array(DENSE),
        "coo": sparse.coo_matrix(DENSE),
        "frame": pd.DataFrame(DENSE),
        "nullable frame": pd.DataFrame(DENSE).astype("Float32"),
        "h5py": file["contiguous"],
        "h5py_chunked": file["chunked"],
        "zarr": zarr.array(DENSE, chunks=(5, 3)),
        "dask": da.from_array(DENSE, chunks=(5, 7)),
        "dask_uneven": da.from_array(DENSE, chunks=((1, 9, 13), (2, 5))),
        "dask_sparse": da.from_array(DENSE, chunks=(5, 7)).map_blocks(sparse.csr_matrix),
        "dask_csc": da.from_array(DENSE, chunks=(5, 7)).map_blocks(sparse.csc_matrix),
        "lazy_sparse": ad.experimental.read_lazy(tmp_path / "x.zarr").X,
        "lazy_csc": ad.experimental.read_lazy(tmp_path / "x.zarr").layers["csc"],
        "backed_sparse": ad.read_h5ad(tmp_path / "x.h5ad", backed="r").X,
        "backed_csc": ad.read_h5ad(tmp_path / "csc.h5ad", backed="r").X,
        "backed_layer": ad.read_h5ad(tmp_path / "x.h5ad", backed="r").layers["csc"],
        "backed_dense": ad.read_h5ad(tmp_path / "dense.h5ad", backed="r").X,
    }


# at 1 byte every chunk is read alone, without gaps; at 60 one or two rows at a time
@pytest.mark.parametrize("read_bytes", [None, 1, 60])
@pytest.mark.filterwarnings("ignore:.*does not have a Zarr V3 specification")
def test_every_container_gives_the_same_rows(read_bytes, tmp_path, monkeypatch):
    if read_bytes is not None:
        monkeypatch.setattr(_rows, "_READ_BYTES", read_bytes)
        monkeypatch.setattr(_rows, "_CHUNK_BYTES", 2 * read_bytes)
        monkeypatch.setattr(_rows, "_GAP_BYTES", read_bytes)
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
        np.testing.assert_array_equal(source.read(2, 9), DENSE[2:9], err_msg=name)
        stored = source.read(2, 9, keep_sparse=True)
        assert sparse.issparse(stored) == source.is_sparse, name
        if source.is_sparse:
            assert stored.dtype == np.float32
            np.testing.assert_array_equal(stored.toarray(), DENSE[2:9], err_msg=name)
        some = RowSource(data, columns=np.array([5, 1]))
        np.testing.assert_array_equal(some.take(order), DENSE[order][:, [5, 1]], err_msg=name)
        np.testing.assert_array_equal(some.read_all(), DENSE[:, [5, 1]], err_msg=name)
        assert source.take(np.array([], dtype=int)).shape == (0, 7)


@pytest.mark.parametrize("kind", ["numpy", "dask", "zarr", "h5py"])
def test_single_positions_of_tokens(kind, tmp_path, monkeypatch):
    monkeypatch.setattr(_rows, "_READ_BYTES", 4 * 12 * 2)
    tokens = np.arange(9 * 4 * 3, dtype=np.float32).reshape(9, 4, 3)
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["x"] = tokens
        data = {
            "numpy": tokens,
            "dask": da.from_array(tokens, chunks=(2, 3, 3)),
            "zarr": zarr.array(tokens, chunks=(2, 3, 2)),
            "h5py": file["x"],
        }[kind]
        source = RowSource(data)
        order = np.array([35, 0, 1, 17, 17, 4])
        np.testing.assert_array_equal(source.take_rows(order), tokens.reshape(-1, 3)[order])
        np.testing.assert_array_equal(source.take(np.array([8, 0])), tokens[[8, 0]])
        np.testing.assert_array_equal(source.read_all(), tokens)
        columns = RowSource(data, columns=np.array([2, 0]))
        np.testing.assert_array_equal(columns.take_rows(order), tokens.reshape(-1, 3)[order][:, [2, 0]])


class Counted:
    """An array on disk that remembers what was read."""

    def __init__(self, data, chunks=None):
        self.array, self.shape, self.dtype, self.chunks = data, data.shape, data.dtype, chunks
        self.reads = []

    def __getitem__(self, rows):
        assert isinstance(rows, slice), "fancy indexing is slow on disk"
        self.reads.append((rows.start, rows.stop))
        return self.array[rows]


def test_scattered_rows_are_read_in_few_spans():
    data = np.zeros((10_000, 256), dtype=np.float32)
    rows = np.array([3, 5, 2_999, 5_000, 5_001, 5_010])
    contiguous = Counted(data)
    RowSource(contiguous).take(rows)
    assert contiguous.reads == [(3, 6), (2_999, 3_000), (5_000, 5_011)]
    chunked = Counted(data, chunks=(3_000, 256))
    RowSource(chunked).take(rows)
    # one read for each chunk
    assert chunked.reads == [(3, 3_000), (5_000, 5_011)]


@pytest.mark.parametrize("chunk", [None, 7, 64])
def test_blocks_read_every_row_once_along_the_chunks(chunk, monkeypatch):
    monkeypatch.setattr(_rows, "_READ_BYTES", 30 * 4 * 4)
    data = Counted(np.arange(400, dtype=np.float32).reshape(100, 4), None if chunk is None else (chunk, 4))
    blocks = [block for _, block in RowSource(data).blocks(11)]
    np.testing.assert_array_equal(np.concatenate(blocks), data.array)
    assert [len(block) for block in blocks] == [11] * 9 + [1]
    assert [stop for _, stop in data.reads[:-1]] == [start for start, _ in data.reads[1:]]
    assert all(start % (chunk or 1) == 0 for start, _ in data.reads)


def test_a_lazy_chunk_is_computed_once_however_large_it_is(monkeypatch):
    monkeypatch.setattr(_rows, "_READ_BYTES", 4)
    monkeypatch.setattr(_rows, "_CHUNK_BYTES", 8)
    computed = []

    def chunk(block):
        computed.append(len(block))
        return block

    lazy = da.from_array(DENSE, chunks=(10, -1)).map_blocks(chunk, meta=DENSE[:0])
    source = RowSource(lazy)
    for pass_over in (lambda: list(source.blocks(3)), source.moments, lambda: source.take(np.arange(0, 23, 2))):
        computed.clear()
        pass_over()
        assert sorted(computed) == [3, 10, 10]


def test_masked_and_unknown_and_overflowing_values():
    with pytest.raises(ValueError, match=r"has 2 masked values, the first at position \(1, 0\)"):
        RowSource(np.ma.masked_array(np.zeros((3, 2)), mask=[[0, 0], [1, 1], [0, 0]]))
    lazy = da.from_array(DENSE, chunks=5)
    with pytest.raises(ValueError, match="unknown shape.*compute_chunk_sizes"):
        RowSource(lazy[lazy[:, 0] > 0])
    large = DENSE.astype(np.float64)
    large[17, 3] = -1e39
    for data in (large, sparse.csr_matrix(large), da.from_array(large, chunks=(5, 7))):
        with pytest.raises(ValueError, match="overflow float32 .above 3.4e.38., the first in row 17; rescale"):
            RowSource(data).moments()
    with pytest.raises(ValueError, match="the first in row 17"):
        RowSource(sparse.csr_matrix(large)).read(15, 20, keep_sparse=True)
    with pytest.raises(ValueError, match="no values in its rows"):
        RowSource(np.zeros((3, 0)))
    with pytest.raises(TypeError, match="found column 'b' of dtype"):
        RowSource(pd.DataFrame({"a": [1.0], "b": ["x"]}))
    missing = pd.DataFrame({"a": pd.array([1.0, None], dtype="Float64"), "b": [True, False]})
    with pytest.raises(ValueError, match=r"1 non-finite values, the first at position \(1, 0\)"):
        RowSource(missing).moments()


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
    tokens = np.zeros((6, 4, 5), dtype=np.float32)
    tokens[4, 1, 3] = -np.inf
    with pytest.raises(ValueError, match=r"has 1 non-finite values, the first at position \(4, 1, 3\)"):
        RowSource(da.from_array(tokens, chunks=(2, 4, 5))).moments()


def test_moments_of_huge_and_of_constant_values():
    data = np.full((500, 3), 3e38, dtype=np.float32)
    data[:, 1], data[::2, 2] = 7.3, -3e38
    mean, var = RowSource(data).moments()
    np.testing.assert_allclose(mean, data.astype(np.float64).mean(0))
    np.testing.assert_allclose(var, data.astype(np.float64).var(0))
    assert var[0] == var[1] == 0


@pytest.mark.parametrize("data", [np.zeros(3), np.zeros((2, 2, 2, 2))])
def test_wrong_rank(data):
    with pytest.raises(ValueError, match="2 or 3 dimensions"):
        RowSource(data)


@pytest.mark.parametrize("dtype", [complex, object, str])
def test_wrong_dtype(dtype):
    with pytest.raises(TypeError, match="real numbers"):
        RowSource(np.zeros((2, 2), dtype=dtype))
