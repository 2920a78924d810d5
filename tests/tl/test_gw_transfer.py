from __future__ import annotations

import warnings

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

import saescape as sae
from saescape._warnings import SignificanceWarning

from .test_gw_map import assert_equal
from .test_gw_map import gw_map as map_quietly


@pytest.fixture
def coupled():
    """Thirty cells on twenty, with a significant coupling written by hand."""
    rng = np.random.default_rng(0)
    plan = rng.random((30, 20)) ** 6 * (rng.random((30, 20)) < 0.5) * rng.uniform(0.5, 2, (30, 1))
    adata = ad.AnnData(rng.normal(size=(30, 3)).astype(np.float32))
    adata.obsm["gw_coupling"] = sparse.csr_matrix(plan / plan.sum(), dtype=np.float32)
    adata_ref = ad.AnnData(sparse.random(20, 40, 0.4, format="csr", dtype=np.float32, random_state=1))
    adata_ref.obs_names = [f"rna_{i}" for i in range(20)]
    adata_ref.var_names = [f"Gene{i}" for i in range(40)]
    adata_ref.layers["counts"] = adata_ref.X.copy() * 3
    adata_ref.obs["type"] = pd.Categorical(rng.choice(["x", "y", "z"], 20), categories=["z", "y", "x", "none"])
    adata_ref.uns["type_colors"] = np.array(["#ff0000", "#00ff00", "#0000ff", "#000000"])
    adata_ref.obs["age"] = rng.normal(50, 10, 20)
    adata_ref.obs["sick"] = rng.random(20) < 0.4
    adata_ref.obsm["X_umap"] = rng.normal(size=(20, 2))
    adata.uns["gw_map"] = {"ref_names": np.asarray(adata_ref.obs_names, dtype=str), "gw_loss": 0.5, "pvalue": 0.01}
    adata.uns["gw_map"]["ambiguous"] = False
    return adata, adata_ref


def shares(adata):
    plan = adata.obsm["gw_coupling"].toarray().astype(np.float64)
    return plan / plan.sum(1, keepdims=True)


def test_slots_equal_dense_products(coupled):
    adata, adata_ref = coupled
    before_ref = adata_ref.copy()
    everything = {"obs": ["type", "age", "sick"], "var_names": ["Gene7", "Gene2"], "layer": "counts", "obsm": "X_umap"}
    assert sae.tl.gw_transfer(adata, adata_ref, **everything) is None
    assert_equal(adata_ref, before_ref)
    p = shares(adata)
    labels = p @ pd.get_dummies(adata_ref.obs["type"]).to_numpy(float)
    assert list(adata.obs["gw_type"].cat.categories) == ["z", "y", "x", "none"]
    np.testing.assert_array_equal(adata.obs["gw_type"].cat.codes, labels.argmax(1))
    np.testing.assert_allclose(adata.obs["gw_type_prob"], labels.max(1), rtol=1e-5)
    np.testing.assert_array_equal(adata.uns["gw_type_colors"], adata_ref.uns["type_colors"])
    age = adata_ref.obs["age"].to_numpy()
    np.testing.assert_allclose(adata.obs["gw_age"], p @ age, rtol=1e-5)
    np.testing.assert_allclose(adata.obs["gw_age_sd"], np.sqrt(p @ age**2 - (p @ age) ** 2), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(adata.obs["gw_sick"], p @ adata_ref.obs["sick"], rtol=1e-5)
    assert "gw_sick_sd" not in adata.obs
    table = adata.obsm["gw_expression"]
    assert list(table.columns) == ["Gene7", "Gene2"]
    assert (table.dtypes == np.float32).all()
    np.testing.assert_allclose(table, p @ adata_ref.layers["counts"][:, [7, 2]].toarray(), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(adata.obsm["gw_X_umap"], p @ adata_ref.obsm["X_umap"], rtol=1e-4, atol=1e-6)

    entry = adata.uns["gw_transfer"]
    assert entry["transferred"] is True
    assert entry["slots"].loc["obs['gw_age']", "source"] == "obs['age']"
    assert entry["slots"].loc["obsm['gw_expression']", "source"] == "layers['counts']"
    assert set(entry["slots"].index) == {
        *(f"obs['gw_{name}']" for name in ("type", "type_prob", "age", "age_sd", "sick")),
        *(f"obsm['gw_{name}']" for name in ("X_umap", "expression")),
    }
    assert (entry["slots"]["pvalue"] == 0.01).all()
    assert not entry["slots"]["ambiguous"].any()
    np.testing.assert_allclose(entry["slots"]["mass"], 1)
    assert entry["params"]["layer"] == "counts"
    assert list(entry["params"]["obs"]) == ["type", "age", "sick"]


def test_order_of_the_reference_and_further_cells_do_not_matter(coupled):
    adata, adata_ref = coupled
    what = {"obs": ["type", "age"], "var_names": ["Gene1", "Gene3"], "obsm": ["X_umap"]}
    expected = sae.tl.gw_transfer(adata, adata_ref, **what, copy=True)
    extra = adata_ref.copy()
    extra.obs_names = [f"new_{i}" for i in range(20)]
    larger = ad.concat([adata_ref, extra])[np.random.default_rng(0).permutation(40)].copy()
    # `concat` sorts the categories
    larger.obs["type"] = larger.obs["type"].cat.set_categories(adata_ref.obs["type"].cat.categories)
    result = sae.tl.gw_transfer(adata, larger, **what, copy=True)
    pd.testing.assert_frame_equal(result.obs, expected.obs)
    pd.testing.assert_frame_equal(result.obsm["gw_expression"], expected.obsm["gw_expression"])
    np.testing.assert_allclose(result.obsm["gw_X_umap"], expected.obsm["gw_X_umap"], rtol=1e-5, atol=1e-6)


def test_missing_values_are_left_out(coupled):
    adata, adata_ref = coupled
    known = np.arange(20) < 6
    adata_ref.obs["type"] = adata_ref.obs["type"].where(known)
    adata_ref.obs["age"] = adata_ref.obs["age"].where(known)
    adata_ref.obs["count"] = pd.array([3 * i if i < 6 else None for i in range(20)], dtype="Int64")
    adata_ref.obs["flag"] = pd.array([i % 2 == 0 if i < 6 else None for i in range(20)], dtype="boolean")
    sae.tl.gw_transfer(adata, adata_ref, obs=["type", "age", "count", "flag"])
    p = shares(adata)[:, :6]
    has = p.sum(1) > 0
    assert 0 < (~has).sum() < 15
    for name in ("type", "type_prob", "age", "age_sd", "count", "flag"):
        np.testing.assert_array_equal(adata.obs[f"gw_{name}"].isna(), ~has)
    p = p[has] / p[has].sum(1, keepdims=True)
    for name in ("age", "count", "flag"):
        values = adata_ref.obs[name].iloc[:6].to_numpy(dtype=float)
        np.testing.assert_allclose(adata.obs[f"gw_{name}"][has], p @ values, rtol=1e-5)
        assert adata.obs[f"gw_{name}"].min() >= values.min()
    labels = p @ pd.get_dummies(adata_ref.obs["type"]).to_numpy(float)[:6]
    np.testing.assert_allclose(adata.obs["gw_type_prob"][has], labels.max(1), rtol=1e-5)
    slots = adata.uns["gw_transfer"]["slots"]
    assert (slots["n_missing"] == (~has).sum()).all()
    plan = adata.obsm["gw_coupling"]
    np.testing.assert_allclose(slots["mass"], plan[:, :6].sum(), rtol=1e-5)


def test_cells_without_mass(coupled):
    adata, adata_ref = coupled
    plan = adata.obsm["gw_coupling"].tolil()
    plan[[4, 9]] = 0
    adata.obsm["gw_coupling"] = plan.tocsr()
    with pytest.warns(UserWarning, match="2 of 30 cells have no mass"):
        sae.tl.gw_transfer(adata, adata_ref, obs=["type", "age"], var_names="Gene0", obsm="X_umap")
    for values in (adata.obs["gw_type"], adata.obs["gw_age"], adata.obsm["gw_expression"]["Gene0"]):
        np.testing.assert_array_equal(np.flatnonzero(values.isna()), [4, 9])
    assert np.isnan(adata.obsm["gw_X_umap"][[4, 9]]).all()
    assert (adata.uns["gw_transfer"]["slots"]["n_missing"] == 2).all()


@pytest.mark.parametrize("kind", ["h5ad", "zarr"])
def test_round_trip(coupled, tmp_path, kind):
    adata, adata_ref = coupled
    sae.tl.gw_transfer(adata, adata_ref, obs=["type", "age"], var_names=["Gene1", "Gene3"], obsm="X_umap")
    path = tmp_path / f"a.{kind}"
    getattr(adata, f"write_{kind}")(path)
    back = getattr(ad, f"read_{kind}")(path)
    assert_equal(back, adata)
    # what was read goes on like what was written
    sae.tl.gw_transfer(back, adata_ref, obs="sick")
    sae.tl.gw_transfer(adata, adata_ref, obs="sick")
    pd.testing.assert_frame_equal(back.uns["gw_transfer"]["slots"], adata.uns["gw_transfer"]["slots"])
    assert len(back.uns["gw_transfer"]["slots"]) == 7


def test_record_of_earlier_calls(coupled):
    adata, adata_ref = coupled
    sae.tl.gw_transfer(adata, adata_ref, obs=["type", "age"])
    del adata.obs["gw_age_sd"]
    adata.uns["gw_map"]["gw_loss"] = 0.2
    sae.tl.gw_transfer(adata, adata_ref, obs="age")
    slots = adata.uns["gw_transfer"]["slots"]
    assert sorted(slots.index) == ["obs['gw_age']", "obs['gw_age_sd']", "obs['gw_type']", "obs['gw_type_prob']"]
    assert slots.loc["obs['gw_age']", "gw_loss"] == 0.2
    assert slots.loc["obs['gw_type']", "gw_loss"] == 0.5


def test_keys_copy_and_state(coupled, global_state):
    adata, adata_ref = coupled
    adata.uns["map"] = adata.uns.pop("gw_map")
    adata.obsm["map_coupling"] = adata.obsm.pop("gw_coupling")
    before = adata.copy()
    result = sae.tl.gw_transfer(adata, adata_ref, obs="type", var_names=["Gene1"], key="map", copy=True)
    assert_equal(adata, before)
    assert set(result.obs) == {"map_type", "map_type_prob"}
    assert set(result.uns) == {"map", "map_transfer", "map_type_colors"}
    result = sae.tl.gw_transfer(adata, adata_ref, obs="type", var_names=["Gene1"], key="map", key_added="b", copy=True)
    assert set(result.obsm) == {"map_coupling", "b_expression"}
    assert set(result.uns) == {"map", "b_transfer", "b_type_colors"}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"pvalue": 0.3}, "unrelated data align as well .p = 0.3."),
        ({"pvalue": np.nan}, "not tested"),
        ({"ambiguous": True}, "another optimum"),
        ({"pvalue": 0.3, "ambiguous": True}, "align as well .* and another optimum"),
    ],
)
def test_doubts_are_repeated_once(coupled, change, words):
    adata, adata_ref = coupled
    adata.uns["gw_map"].update(change)
    with pytest.warns(SignificanceWarning, match=words) as caught:
        sae.tl.gw_transfer(adata, adata_ref, obs=["type", "age"], var_names=["Gene1"])
    assert len(caught) == 1
    assert caught[0].filename == __file__


@pytest.mark.parametrize("kind", ["view", "backed", "csc", "dense", "text"])
def test_kinds_of_reference(coupled, kind, tmp_path):
    adata, adata_ref = coupled
    what = {"obs": ["type", "age"], "var_names": ["Gene5", "Gene3", "Gene39"]}
    expected = sae.tl.gw_transfer(adata, adata_ref, **what, copy=True)
    match kind:
        case "view":
            other = adata_ref.copy()
            other.obs_names = [f"other_{i}" for i in range(20)]
            both = ad.concat([adata_ref, other])
            both.obs["type"] = both.obs["type"].cat.set_categories(["z", "y", "x", "none"])
            adata_ref = both[:20, ::-1]
            assert adata_ref.is_view
        case "backed":
            adata_ref.write_h5ad(tmp_path / "ref.h5ad")
            adata_ref = ad.read_h5ad(tmp_path / "ref.h5ad", backed="r")
        case "csc":
            adata_ref.X = adata_ref.X.tocsc()
        case "dense":
            adata_ref.X = adata_ref.X.toarray()
        case "text":
            adata_ref.obs["type"] = adata_ref.obs["type"].astype(str).astype(object)
    result = sae.tl.gw_transfer(adata, adata_ref, **what, copy=True)
    pd.testing.assert_frame_equal(result.obs, expected.obs, check_categorical=False)
    assert (result.obs["gw_type"].astype(str) == expected.obs["gw_type"].astype(str)).all()
    pd.testing.assert_frame_equal(result.obsm["gw_expression"], expected.obsm["gw_expression"])
    if kind == "backed":
        adata_ref.file.close()


def test_sparse_array_and_table_of_the_reference(coupled):
    adata, adata_ref = coupled
    adata_ref.obsm["X_sae"] = sparse.random(20, 8, 0.3, format="csr", dtype=np.float32, random_state=0)
    adata_ref.obsm["scores"] = pd.DataFrame({"a": np.arange(20), "b": 1.0}, index=adata_ref.obs_names)
    sae.tl.gw_transfer(adata, adata_ref, obsm=["X_sae", "scores"])
    p = shares(adata)
    np.testing.assert_allclose(adata.obsm["gw_X_sae"], p @ adata_ref.obsm["X_sae"].toarray(), rtol=1e-4, atol=1e-6)
    assert list(adata.obsm["gw_scores"].columns) == ["a", "b"]
    np.testing.assert_allclose(adata.obsm["gw_scores"]["a"], p @ np.arange(20), rtol=1e-5)


@pytest.mark.parametrize(
    ("kwargs", "error", "match"),
    [
        ({}, ValueError, "give `obs`, `var_names` or `obsm`"),
        ({"layer": "counts"}, ValueError, "`layer='counts'` needs `var_names`.*sae.get.gw_expression"),
        ({"obs": "tipe"}, KeyError, r"`obs='tipe'`.*adata_ref.obs.*'type'"),
        ({"obs": ["type", "type"]}, ValueError, "`obs` names 'type' twice"),
        ({"obs": 3}, TypeError, "`obs` must be a string or several, found 3"),
        ({"obs": [3]}, TypeError, "`obs` must be a string or several, found 3 of type int"),
        ({"obs": "date"}, TypeError, "datetime64.*must hold categories, text, numbers or booleans"),
        ({"obs": "empty"}, ValueError, "missing values only"),
        ({"obs": "infinite"}, ValueError, "has 1 infinite values"),
        ({"obs": "confidence"}, ValueError, r"adata.obs\['gw_confidence'\].*the confidence.*`key_added`"),
        ({"obs": "distortion"}, ValueError, r"adata.obs\['gw_distortion'\].*the distortion.*`key_added`"),
        ({"obs": ["age", "age_sd"]}, ValueError, r"adata.obs\['gw_age_sd'\].*the place of `obs='age'`"),
        ({"obsm": "coupling"}, ValueError, r"adata.obsm\['gw_coupling'\].*the place of the coupling"),
        ({"obsm": "expression", "var_names": "Gene1"}, ValueError, r"the place of `obsm='expression'`"),
        ({"var_names": ["GENE7", "Gene1"]}, KeyError, r"1 of 2 not found.*'GENE7' \(near: Gene7"),
        ({"var_names": ["Gene1", "Gene1"]}, ValueError, "`var_names` names 'Gene1' twice"),
        ({"var_names": ["HLA/1", "Gene1"]}, ValueError, "'HLA/1' has a slash.*sae.get.gw_expression"),
        ({"var_names": ["Gene1"], "layer": "cuonts"}, KeyError, r"`layer='cuonts'`.*\['counts'"),
        ({"var_names": ["Gene2"], "layer": "nan"}, ValueError, "layers.'nan'.* has 1 non-finite values"),
        ({"obsm": "nan"}, ValueError, r"`adata_ref.obsm\['nan'\]` has 1 non-finite values"),
        ({"obsm": "X_tsne"}, KeyError, r"`obsm='X_tsne'`.*X_umap"),
        ({"obsm": "tokens"}, ValueError, "must have 2 dimensions"),
        ({"use_raw": True}, ValueError, "`use_raw=True` needs `var_names`.*sae.get.gw_expression"),
        ({"var_names": ["Gene1"], "use_raw": True}, ValueError, "`use_raw=True`, but `adata_ref.raw` is empty"),
        ({"var_names": ["Gene1"], "use_raw": True, "layer": "counts"}, ValueError, "exclude each other"),
        ({"gene_symbols": "symbol"}, ValueError, "`gene_symbols='symbol'` needs `var_names`"),
        ({"var_names": ["S1"], "gene_symbols": "name"}, KeyError, "`gene_symbols='name'`.*adata_ref.var.*'symbol'"),
        (
            {"var_names": ["s1", "Gene1"], "gene_symbols": "symbol"},
            KeyError,
            r"2 of 2 not found in `adata_ref.var\['symbol'\]`: 's1' \(near: S1",
        ),
        ({"var_names": ["S1"], "gene_symbols": "twice"}, ValueError, r"var\['twice'\]` has 'S1' several.*`.var_names`"),
        ({"obs": "type", "key": "other"}, KeyError, r"`key='other'`.*\['gw_map'\].*key_added='other'"),
    ],
)
def test_bad_input_changes_nothing(coupled, kwargs, error, match):
    adata, adata_ref = coupled
    adata_ref.var["symbol"] = [f"S{i}" if i else None for i in range(40)]
    adata_ref.var["twice"] = [f"S{i // 2}" for i in range(40)]
    adata_ref.obs["date"] = pd.date_range("2020-01-01", periods=20)
    adata_ref.obs["empty"] = np.full(20, np.nan)
    adata_ref.obs["infinite"] = np.where(np.arange(20) == 4, np.inf, 0)
    adata_ref.obs["distortion"] = 1.0
    adata_ref.obs["confidence"], adata_ref.obs["age_sd"] = 1.0, 1.0
    adata_ref.layers["nan"] = adata_ref.X.toarray()
    adata_ref.layers["nan"][1, 2] = np.nan
    adata_ref.obsm["nan"] = np.where(np.arange(40).reshape(20, 2) == 4, np.nan, 0)
    adata_ref.obsm["coupling"], adata_ref.obsm["expression"] = np.ones((20, 2)), np.ones((20, 2))
    adata_ref.obsm["tokens"] = np.ones((20, 2, 2))
    adata_ref.var_names = [*adata_ref.var_names[:-1], "HLA/1"]
    before = adata.copy()
    with pytest.raises(error, match=match):
        sae.tl.gw_transfer(adata, adata_ref, **kwargs)
    assert_equal(adata, before)


def test_bad_objects(coupled):
    adata, adata_ref = coupled
    with pytest.raises(TypeError, match="`adata_ref` must be an AnnData"):
        sae.tl.gw_transfer(adata, adata_ref.obs, obs="type")
    with pytest.raises(ValueError, match="must hold the 20 cells.*12 are missing, such as 'rna_8'"):
        sae.tl.gw_transfer(adata, adata_ref[:8], obs="type")
    repeated = adata_ref.copy()
    repeated.obs_names = ["rna_0", *repeated.obs_names[:-1]]
    with pytest.raises(ValueError, match=r"not unique \(1 repeated\)"):
        sae.tl.gw_transfer(adata, repeated, obs="type")
    repeated = adata_ref.copy()
    repeated.var_names = ["Gene1", *repeated.var_names[1:]]
    with pytest.raises(ValueError, match="'Gene1' several times.*var_names_make_unique"):
        sae.tl.gw_transfer(adata, repeated, var_names=["Gene1"])
    # genes that are there once can still be had
    sae.tl.gw_transfer(adata, repeated, var_names=["Gene4", "Gene2"])
    expected = shares(adata) @ adata_ref.X[:, [4, 2]].toarray()
    np.testing.assert_allclose(adata.obsm["gw_expression"], expected, rtol=1e-5, atol=1e-6)
    empty = ad.AnnData(obs=adata_ref.obs)
    with pytest.raises(ValueError, match="`adata_ref.X` is empty"):
        sae.tl.gw_transfer(adata, empty, var_names=["Gene1"])


def test_damaged_coupling(coupled):
    adata, adata_ref = coupled
    short = adata.copy()
    short.uns["gw_map"]["ref_names"] = short.uns["gw_map"]["ref_names"][:5]
    with pytest.raises(ValueError, match="20 columns, but .* 5 names"):
        sae.tl.gw_transfer(short, adata_ref, obs="type")
    negative = adata.copy()
    negative.obsm["gw_coupling"] = -negative.obsm["gw_coupling"]
    with pytest.raises(ValueError, match="negative or non-finite entries"):
        sae.tl.gw_transfer(negative, adata_ref, obs="type")
    empty = adata.copy()
    empty.obsm["gw_coupling"] = sparse.csr_matrix((30, 20))
    with pytest.raises(ValueError, match="no cell has mass"):
        sae.tl.gw_transfer(empty, adata_ref, obs="type")
    del adata.obsm["gw_coupling"]
    with pytest.raises(KeyError, match="sae.tl.gw_map"):
        sae.tl.gw_transfer(adata, adata_ref, obs="type")
    del adata.uns["gw_map"]
    with pytest.raises(KeyError, match="sae.tl.gw_map"):
        sae.tl.gw_transfer(adata, adata_ref, obs="type")


def test_memory_is_estimated(coupled, monkeypatch):
    from saescape import _memory

    monkeypatch.setattr(_memory, "_CHECKED_BYTES", 0)
    monkeypatch.setattr(_memory, "available_memory", lambda: 4 * 30 * 40 - 1)
    with pytest.raises(MemoryError, match="for 30 cells x 40 float32 values.*fewer at a time"):
        sae.tl.gw_transfer(*coupled, var_names=coupled[1].var_names)
    with pytest.raises(MemoryError, match="GiB are available"):
        sae.get.gw_expression(*coupled)
    sae.tl.gw_transfer(*coupled, var_names=coupled[1].var_names[:39])


@pytest.fixture(scope="module")
def mapped():
    adata, adata_ref = sae.datasets.paired(200, 200, n_dims=24, rng=1)
    map_quietly(adata, adata_ref, obs="cell_type", n_starts=4)
    return adata, adata_ref


def test_simulated_pair(mapped):
    adata, adata_ref = mapped[0].copy(), mapped[1]
    from_map = adata.obs["gw_cell_type"].astype(str), adata.obs["gw_cell_type_prob"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SignificanceWarning)
        sae.tl.gw_transfer(adata, adata_ref, obs=["cell_type", "gradient"], var_names=adata_ref.var_names)
    # the plan that is stored against the plan before its smallest entries were left out
    assert (adata.obs["gw_cell_type"].astype(str) == from_map[0]).mean() > 0.97
    np.testing.assert_allclose(adata.obs["gw_cell_type_prob"], from_map[1], atol=5e-3)
    accuracy = sae.metrics.label_transfer_accuracy(adata.obs["cell_type"], adata.obs["gw_cell_type"])
    assert accuracy > 0.7

    truth = adata_ref[adata.obs["partner"].astype(str)].X.toarray()
    transferred = adata.obsm["gw_expression"].to_numpy()
    correlation = np.array([np.corrcoef(transferred[:, g], truth[:, g])[0, 1] for g in range(adata_ref.n_vars)])
    shuffled = transferred[np.random.default_rng(0).permutation(200)]
    chance = np.array([np.corrcoef(shuffled[:, g], truth[:, g])[0, 1] for g in range(adata_ref.n_vars)])
    in_module = (adata_ref.var["program"] != "none").to_numpy()
    assert correlation[in_module].mean() > 0.35
    assert abs(np.nanmean(chance[in_module])) < 0.05
    assert correlation[in_module].mean() > correlation[~in_module].mean() + 0.1


def test_view_and_backed_target(coupled, tmp_path):
    adata, adata_ref = coupled
    what = {"obs": ["type", "age"], "var_names": ["Gene1"]}
    expected = sae.tl.gw_transfer(adata, adata_ref, **what, copy=True)
    view = adata[5:15]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ad.ImplicitModificationWarning)
        sae.tl.gw_transfer(view, adata_ref, **what)
    pd.testing.assert_frame_equal(view.obs, expected.obs[5:15])
    pd.testing.assert_frame_equal(view.obsm["gw_expression"], expected.obsm["gw_expression"][5:15])
    assert "gw_type" not in adata.obs
    adata.write_h5ad(tmp_path / "a.h5ad")
    backed = ad.read_h5ad(tmp_path / "a.h5ad", backed="r")
    sae.tl.gw_transfer(backed, adata_ref, **what)
    pd.testing.assert_frame_equal(backed.obs, expected.obs)
    with pytest.raises(ValueError, match="`copy=True` is not possible in backed mode"):
        sae.tl.gw_transfer(backed, adata_ref, **what, copy=True)
    backed.file.close()


def test_categories_that_are_numbers_stay_labels(coupled):
    adata, adata_ref = coupled
    adata_ref.obs["cluster"] = pd.Categorical(np.arange(20) % 3, categories=[2, 0, 1], ordered=True)
    sae.tl.gw_transfer(adata, adata_ref, obs="cluster")
    assert adata.obs["gw_cluster"].dtype == adata_ref.obs["cluster"].dtype
    mass = np.stack([shares(adata)[:, np.arange(20) % 3 == c].sum(1) for c in (2, 0, 1)], 1)
    np.testing.assert_array_equal(adata.obs["gw_cluster"].cat.codes, mass.argmax(1))


@pytest.mark.parametrize("kind", ["memory", "view", "backed"])
def test_raw_and_symbols(coupled, tmp_path, kind):
    adata, adata_ref = coupled
    raw = ad.AnnData(sparse.random(20, 60, 0.5, format="csr", dtype=np.float32, random_state=5), obs=adata_ref.obs)
    raw.var_names = [f"ENSG{i}" for i in range(60)]
    raw.var["symbol"] = [f"Gene{i}" if i < 50 else None for i in range(60)]
    adata_ref.raw = raw
    expected = shares(adata) @ raw.X.toarray()
    if kind == "view":
        adata_ref = adata_ref[::-1]
    elif kind == "backed":
        adata_ref.write_h5ad(tmp_path / "ref.h5ad")
        adata_ref = ad.read_h5ad(tmp_path / "ref.h5ad", backed="r")
    sae.tl.gw_transfer(adata, adata_ref, var_names=["ENSG55", "ENSG2"], use_raw=True)
    np.testing.assert_allclose(adata.obsm["gw_expression"], expected[:, [55, 2]], rtol=1e-5, atol=1e-6)
    assert adata.uns["gw_transfer"]["slots"].loc["obsm['gw_expression']", "source"] == "raw.X"
    assert adata.uns["gw_transfer"]["params"]["use_raw"] is True
    # a gene that `.X` has too is taken from where it was asked for, and keeps the name it was asked by
    sae.tl.gw_transfer(adata, adata_ref, var_names=["Gene49", "Gene3"], use_raw=True, gene_symbols="symbol")
    assert list(adata.obsm["gw_expression"]) == ["Gene49", "Gene3"]
    np.testing.assert_allclose(adata.obsm["gw_expression"], expected[:, [49, 3]], rtol=1e-5, atol=1e-6)
    assert adata.uns["gw_transfer"]["params"]["gene_symbols"] == "symbol"
    if kind == "backed":
        adata_ref.file.close()


def test_symbols_of_a_layer(coupled):
    adata, adata_ref = coupled
    adata_ref.var["symbol"] = pd.Categorical([f"S{i}" for i in range(40)])
    sae.tl.gw_transfer(adata, adata_ref, var_names=["S7", "S2"], gene_symbols="symbol", layer="counts")
    expected = shares(adata) @ adata_ref.layers["counts"][:, [7, 2]].toarray()
    np.testing.assert_allclose(adata.obsm["gw_expression"], expected, rtol=1e-5, atol=1e-6)


def test_what_labels_say_of_the_coupling_goes_along(coupled):
    adata, adata_ref = coupled
    table = pd.DataFrame({"accuracy": [0.8, 0.4], "pvalue": [0.01, 0.3]}, index=["type", "sick"])
    adata.uns["gw_map"]["label_accuracy"] = table
    sae.tl.gw_transfer(adata, adata_ref, obs="type")
    pd.testing.assert_frame_equal(adata.uns["gw_transfer"]["label_accuracy"], table)
    assert adata.uns["gw_transfer"]["label_accuracy"] is not table
    adata.uns["gw_map"]["ambiguous"] = True
    with pytest.warns(SignificanceWarning, match=r"`adata.obs\['type'\]` agree with it more than by chance") as caught:
        sae.tl.gw_transfer(adata, adata_ref, obs="type")
    assert "sick" not in str(caught[0].message)
    del adata.uns["gw_map"]["label_accuracy"]
    with pytest.warns(SignificanceWarning, match="disagrees with it \\(`ambiguous`\\).$"):
        sae.tl.gw_transfer(adata, adata_ref, obs="type")
    assert "label_accuracy" not in adata.uns["gw_transfer"]
