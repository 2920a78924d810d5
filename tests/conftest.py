from __future__ import annotations

import matplotlib as mpl

mpl.use("Agg")

import anndata as ad
import matplotlib.pyplot as plt
import numpy as np
import pytest
import scanpy as sc
from scipy import ndimage, sparse


@pytest.fixture(autouse=True)
def _clean_session():
    """Close figures and keep logs quiet."""
    sc.settings.verbosity = 0
    ad.settings.zarr_write_format = 3
    yield
    plt.close("all")


@pytest.fixture
def logged(monkeypatch):
    """What is logged as information or a warning, whatever the verbosity."""
    messages = []
    for level in ("info", "warning"):
        monkeypatch.setattr(sc.logging, level, lambda msg, **_: messages.append(msg))
    return messages


@pytest.fixture
def global_state():
    """Ask for the check below: the test must leave the global random states (numpy, torch) as they were."""


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem):
    """Compare the states right around the test function (pytest-randomly reseeds between the phases of a test)."""
    if "global_state" not in pyfuncitem.fixturenames:
        return (yield)
    import torch

    numpy_before = np.random.get_state()[1].copy()  # noqa: NPY002
    torch_before = torch.random.get_rng_state().clone()
    result = yield
    np.testing.assert_array_equal(np.random.get_state()[1], numpy_before)  # noqa: NPY002
    if not torch.equal(torch.random.get_rng_state(), torch_before):
        pytest.fail("the global state of torch's random numbers was changed")
    return result


@pytest.fixture(scope="session")
def _pbmc():
    return sc.datasets.pbmc68k_reduced()


@pytest.fixture
def pbmc(_pbmc):
    """700 real cells x 765 genes with `X_pca`, `varm["PCs"]` and `obs["bulk_labels"]` (ships with scanpy)."""
    return _pbmc.copy()


@pytest.fixture
def small():
    """300 cells x 20 variables with planted sparse structure, a 2-D and a 3-D representation and a label."""
    rng = np.random.default_rng(0)
    codes = rng.exponential(size=(300, 40)) * (rng.random((300, 40)) < 0.08)
    dictionary = rng.normal(size=(40, 20))
    x = (codes @ dictionary + 3.0 + 0.05 * rng.normal(size=(300, 20))).astype(np.float32)
    x[x < 0.5] = 0  # some exact zeros, so that sparse storage means something
    adata = ad.AnnData(x)
    adata.obs_names = [f"cell{i}" for i in range(300)]
    adata.var_names = [f"gene{i}" for i in range(20)]
    adata.obs["group"] = np.where(codes[:, 0] + codes[:, 1] > 0, "a", "b")
    adata.obs["group"] = adata.obs["group"].astype("category")
    adata.obs["plate"] = [f"p{i % 3}" for i in range(300)]
    adata.obsm["X_rep"] = x[:, :12].copy()
    adata.obsm["tokens"] = (x[:, None, :] + 0.1 * rng.normal(size=(300, 4, 20))).astype(np.float32)
    adata.layers["csr"] = sparse.csr_matrix(x)
    return adata


@pytest.fixture(scope="session")
def field():
    """A (3, 200, 260) uint16 field with 40 blobs of which some touch each other or the border; ids 1..40."""
    rng = np.random.default_rng(1)
    labels = np.zeros((200, 260), dtype=np.int32)
    y, x = np.mgrid[:200, :260]
    for i in range(40):
        row, col = 18 + 38 * (i // 8) + rng.integers(-8, 8), 12 + 33 * (i % 8) + rng.integers(-8, 8)
        inside = ((y - row) / rng.uniform(6, 16)) ** 2 + ((x - col) / rng.uniform(6, 16)) ** 2 < 1
        labels[inside & (labels == 0)] = i + 1
    image = rng.poisson(200, (3, 200, 260)).astype(np.float64)
    image += rng.gamma(2, 500, (3, 41))[:, labels] * (labels > 0)
    image = ndimage.gaussian_filter(image, (0, 1, 1)) + rng.normal(0, 20, image.shape)
    return np.clip(image, 0, 65535).astype(np.uint16), labels
