"""Data on disk, lazy or larger than memory."""

from __future__ import annotations

import subprocess
import sys
from textwrap import dedent

import anndata as ad
import h5py
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

import saescape as sae
from saescape.models import SparseAutoencoder

QUICK = {"k": 2, "max_epochs": 20, "show_progress_bar": False}


@pytest.fixture
def stored(small, tmp_path):
    small.layers["csc"] = sparse.csc_matrix(small.X)
    small.write_h5ad(tmp_path / "a.h5ad")
    small.write_zarr(tmp_path / "a.zarr")
    return {
        "backed": lambda: ad.read_h5ad(tmp_path / "a.h5ad", backed="r"),
        "lazy zarr": lambda: ad.experimental.read_lazy(tmp_path / "a.zarr"),
        "lazy h5ad": lambda: ad.experimental.read_lazy(tmp_path / "a.h5ad"),
    }


@pytest.mark.parametrize("kind", ["backed", "lazy zarr", "lazy h5ad"])
@pytest.mark.parametrize(
    "source", [{}, {"layer": "csr"}, {"layer": "csc"}, {"use_rep": "tokens"}, {"mask_var": np.arange(20) % 3 > 0}]
)
@pytest.mark.filterwarnings("ignore:.*does not have a Zarr V3 specification")
def test_where_data_are_stored_does_not_matter(kind, source, stored, small):
    adata = stored[kind]()
    sae.tl.sae_fit(adata, 32, batch_key="plate", **source, **QUICK)
    sae.tl.sae_fit(small, 32, batch_key="plate", **source, **QUICK)
    assert abs(adata.obsm["X_sae"] - small.obsm["X_sae"]).nnz == 0
    pd.testing.assert_frame_equal(adata.uns["sae"]["groups"], small.uns["sae"]["groups"])
    assert sae.get.sae(adata).transform(small.X[:, :20]).shape == (300, 32) if source == {} else True


def test_views(stored, small):
    backed = stored["backed"]()
    with pytest.raises(ValueError, match="view of a backed AnnData cannot take results"):
        sae.tl.sae_fit(backed[:100], 32, **QUICK)
    with pytest.raises(ValueError, match="`copy=True` is not possible in backed mode"):
        sae.tl.sae_fit(backed, 32, copy=True, **QUICK)
    assert "sae" not in backed.uns


def _sparse_signals(n, d, rng):
    codes = rng.exponential(size=(n, 24)) * (rng.random((n, 24)) < 0.1)
    return (codes @ rng.normal(size=(24, d))).astype(np.float32), np.argmax(codes, axis=1)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::saescape._warnings.SignificanceWarning")
def test_rows_sorted_on_disk_are_learned_as_well_as_shuffled_ones(tmp_path, monkeypatch):
    from saescape.sae import _batches, _fit

    monkeypatch.setitem(_fit.fit_rows.__kwdefaults__, "max_bytes", 0)
    monkeypatch.setattr(_batches, "_SPAN_BYTES", 2**12)
    monkeypatch.setattr(_batches, "_BUFFER_BYTES", 2**18)
    x, classes = _sparse_signals(20_000, 12, np.random.default_rng(0))
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["shuffled"], file["sorted"] = x, x[np.argsort(classes, kind="stable")]
        fvu = {
            name: SparseAutoencoder(48, k=3, max_epochs=20).fit(file[name]).metrics_["fvu"]
            for name in ("shuffled", "sorted")
        }
    assert fvu["sorted"] == pytest.approx(fvu["shuffled"], rel=0.1)
    assert fvu["sorted"] < 0.1


MEMORY_SCRIPT = dedent("""
    import resource, sys, warnings
    import anndata as ad
    import numpy as np
    import saescape as sae
    import saescape.sae._fit

    def peak():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024

    warnings.simplefilter("ignore")
    # what every fit needs, whatever its data: libraries, threads, buffers of torch
    small = ad.AnnData(np.random.default_rng(0).normal(size=(3_000, 256)).astype(np.float32))
    settings = dict(n_features=64, k=2, max_epochs=1, show_progress_bar=False)
    sae.tl.sae_fit(small, **settings)
    adata = ad.read_h5ad(sys.argv[1], backed="r")
    before = peak()
    sae.tl.sae_fit(adata, **settings)
    assert adata.obsm["X_sae"].shape == (adata.n_obs, 64)
    assert np.isfinite(adata.uns["sae"]["metrics"]["fvu"])
    print(peak() - before)
""")


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="the peak of memory is measured by getrusage")
def test_memory_stays_below_the_size_of_the_data(tmp_path):
    """700 MiB as float32 (175 MiB on disk) are fitted in less than 450 MiB."""
    n, d = 700_000, 256
    ad.AnnData(np.zeros((1, d), dtype=np.uint8)).write_h5ad(tmp_path / "x.h5ad")
    rng = np.random.default_rng(0)
    with h5py.File(tmp_path / "x.h5ad", "a") as file:
        attributes = dict(file["X"].attrs)
        del file["X"], file["obs"]
        array = file.create_dataset("X", (n, d), dtype=np.uint8)
        array.attrs.update(attributes)
        for start in range(0, n, 50_000):
            array[start : start + 50_000] = rng.integers(0, 255, size=(50_000, d), dtype=np.uint8)
        obs = pd.DataFrame(index=pd.RangeIndex(n).astype(str))
        ad.io.write_elem(file, "obs", obs)
    result = subprocess.run(
        [sys.executable, "-c", MEMORY_SCRIPT, str(tmp_path / "x.h5ad")], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr[-2000:]
    assert int(result.stdout) < 450
