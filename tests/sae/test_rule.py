from __future__ import annotations

from dataclasses import replace

import anndata as ad
import numpy as np
import pytest
import torch

import saescape as sae
from saescape._store import StoredSae, from_uns
from saescape.sae._infer import Dictionary, FistaInference, OmpInference
from saescape.sae._rule import CodingRule
from saescape.sae._weights import SaeWeights

CPU = torch.device("cpu")
N, D, M = 60, 8, 20


@pytest.fixture
def weights():
    rng = np.random.default_rng(0)
    shapes = {"W_enc": (D, M), "W_dec": (M, D), "b_enc": (M,), "b_dec": (D,)}
    drawn = {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    return SaeWeights(**drawn, architecture="topk", k=3, scale=np.linspace(0.5, 2, D, dtype=np.float32))


@pytest.fixture
def x():
    return np.random.default_rng(1).normal(size=(N, D)).astype(np.float32)


RULES = {
    "encoder": CodingRule(),
    "fista": CodingRule("fista", 0.3),
    "omp": CodingRule("omp", 0.25, 5),
    "omp on some": CodingRule("omp", 0.25, 5, np.arange(M) % 3 != 0),
}


def same(a, b):
    assert (a.inference, a.penalty, a.n_atoms) == (b.inference, b.penalty, b.n_atoms)
    assert (a.used is None) == (b.used is None)
    if a.used is not None and b.used is not None:
        assert a.used.dtype == b.used.dtype == bool
        np.testing.assert_array_equal(a.used, b.used)


@pytest.mark.parametrize("params", [{}, {"inference": None}, {"inference": "omp", "penalty": None}, {"k": 3}])
def test_encoder_when_no_rule_is_stored(params, weights):
    rule = CodingRule.from_params(params)
    same(rule, CodingRule())
    assert rule.for_weights(weights, CPU) is None
    with pytest.raises(ValueError, match="encoder is no sparse inference"):
        rule.apply(Dictionary(weights, CPU))


@pytest.mark.parametrize("name", RULES)
def test_params_and_back(name):
    same(CodingRule.from_params(RULES[name].params()), RULES[name])


def test_kinds_of_inference(weights):
    fista, omp = (RULES[name].for_weights(weights, CPU) for name in ("fista", "omp"))
    assert isinstance(fista, FistaInference)
    assert isinstance(omp, OmpInference)
    assert (fista.penalty, omp.penalty, omp.n_atoms) == (0.3, 0.25, 5)
    # more atoms than dimensions never help
    assert CodingRule("omp", 0.25).for_weights(weights, CPU).n_atoms == D


@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize("suffix", [".h5ad", ".zarr", ".safetensors", "-folder"])
def test_files_keep_the_rule_and_the_codes(suffix, name, weights, x, tmp_path):
    rule, path = RULES[name], tmp_path / f"model{suffix}"
    params = {"architecture": "topk", "k": 3, "standardize": "zscore", "rng": 0, "mask_var": None} | rule.params()
    stored = StoredSae(weights, params, np.array([f"dim_{i}" for i in range(D)]), {})
    model = sae.models.SparseAutoencoder._from_stored(stored)
    expected = model.transform(x)
    if suffix in {".h5ad", ".zarr"}:
        adata = ad.AnnData(x, uns={"sae": stored.to_uns()})
        (adata.write_h5ad if suffix == ".h5ad" else adata.write_zarr)(path)
        back = (ad.read_h5ad if suffix == ".h5ad" else ad.read_zarr)(path)
        same(CodingRule.from_params(from_uns(back).params), rule)
        loaded = sae.get.sae(back)
    else:
        model.save(path)
        loaded = sae.models.SparseAutoencoder.load(path)
        same(CodingRule.from_params(loaded._stored_params), rule)
    assert abs(loaded.transform(x) - expected).nnz == 0
    if rule.used is not None:
        assert rule.used[expected.indices].all()
        assert expected.nnz > 0


@pytest.mark.parametrize("method", ["fista", "omp"])
def test_leaving_features_out_equals_a_smaller_dictionary(method, weights, x):
    used = np.arange(M) % 3 != 0
    parts = {"W_enc": weights.W_enc[:, used], "W_dec": weights.W_dec[used], "b_enc": weights.b_enc[used]}
    smaller = replace(weights, **parts)
    centred = torch.from_numpy(x - weights.b_dec)
    results = []
    for dictionary in (Dictionary(weights, CPU, used), Dictionary(smaller, CPU)):
        n_atoms = 5 if method == "omp" else None
        active = CodingRule(method, 0.2, n_atoms).apply(dictionary).active(centred)
        codes = np.zeros((N, len(dictionary.atoms)))
        codes[active.rows, active.cols] = active.values
        results.append(codes)
    masked, alone = results
    assert (masked[:, ~used] == 0).all()
    np.testing.assert_allclose(masked[:, used], alone, atol=2e-3)
    everything = CodingRule(method, 0.2, 5).apply(Dictionary(weights, CPU)).active(centred)
    assert (~used[everything.cols.numpy()]).any()


def test_decoder_rows_of_no_length_are_never_used(weights, x):
    decoder = weights.W_dec.copy()
    decoder[4] = 0
    broken = replace(weights, W_dec=decoder)
    for used in (None, np.ones(M, dtype=bool)):
        dictionary = Dictionary(broken, CPU, used)
        assert torch.isfinite(dictionary.atoms).all()
        active = OmpInference(dictionary, 1e-3, D).active(torch.from_numpy(x))
        assert torch.isfinite(active.values).all()
        assert 4 not in active.cols
