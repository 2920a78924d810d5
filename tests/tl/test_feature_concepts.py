from __future__ import annotations

import warnings

import anndata as ad
import numpy as np
import pandas as pd
import pytest

import saescape as sae
from saescape._warnings import SignificanceWarning

from .planted_features import DEAD, GENOTYPE, N_FEATURES, PLATE, TYPES, nothing, planted, wrapped

COLUMNS = [
    "feature",
    "obs_key",
    "category",
    "nuisance",
    "auc",
    "spearman",
    "strength",
    "f1",
    "f1_baseline",
    "precision",
    "recall",
    "threshold",
    "n_groups",
    "pvalue",
    "qvalue",
    "pvalue_max",
]
SCORES = COLUMNS[4:12] + COLUMNS[13:]


@pytest.fixture(scope="module")
def _labelled():
    adata = planted()
    keys = ["cell_type", "genotype", "dose"]
    sae.tl.feature_concepts(adata, keys, batch_key="donor", nuisance_keys="plate", n_perms=60)
    return adata


@pytest.fixture
def labelled(_labelled):
    return _labelled.copy()


def test_planted_labels_are_found_and_no_others(labelled):
    table = labelled.uns["sae"]["features"]
    for feature in TYPES:
        row = table.loc[f"sae_{feature}"]
        assert (row["label"], row["label_key"]) == (f"type_{feature}", "cell_type")
        assert row["label_f1"] > 0.9
        assert row["label_auc"] > 0.9
    for feature, genotype in zip(GENOTYPE, ("wild type", "mutant"), strict=True):
        assert table.loc[f"sae_{feature}", "label"] == genotype
    others = [f"sae_{i}" for i in range(N_FEATURES) if i not in TYPES + GENOTYPE]
    assert (table.loc[others, "label"] == "").all()
    assert table.loc[others, "label_f1"].isna().all()


def test_features_of_a_plate_are_flagged_and_no_others(labelled):
    table = labelled.uns["sae"]["features"]
    assert set(table.index[table["nuisance"]]) == {f"sae_{i}" for i in PLATE}
    assert table.loc["sae_8", "nuisance_label"].startswith("plate: ")
    sae.tl.feature_concepts(labelled, "cell_type", batch_key="donor", n_perms=19)
    assert "nuisance" not in labelled.uns["sae"]["features"]


def test_numbers(labelled):
    results = labelled.uns["sae_concepts"]["results"]
    assert list(results.columns) == COLUMNS
    rows = results[results["obs_key"] == "dose"].set_index("feature")
    assert rows["category"].isna().all()
    assert rows["f1"].isna().all()
    assert rows["spearman"].idxmax() == "sae_10"
    assert rows.loc["sae_10", "qvalue"] < 0.01
    assert rows.loc["sae_10", "pvalue_max"] == pytest.approx(1 / 61)


def test_features_that_never_fire_have_missing_scores(labelled):
    rows = labelled.uns["sae_concepts"]["results"].query(f"feature == 'sae_{DEAD}'")
    assert len(rows) == 6 + 2 + 1 + 2
    assert rows[SCORES].isna().all(axis=None)


def test_plates_with_other_cell_types_do_not_make_these_technical():
    adata = planted(1500, 6, seed=1)
    # cells of types 0 to 2 are mostly on one plate
    rng = np.random.default_rng(0)
    first = adata.obs["cell_type"].isin(["type_0", "type_1", "type_2"]).to_numpy()
    chosen = rng.random(adata.n_obs) < np.where(first, 0.9, 0.1)
    adata.obs["plate"] = np.where(chosen, "a", "b")
    sae.tl.feature_concepts(adata, "cell_type", batch_key="donor", nuisance_keys="plate", n_perms=40)
    assert not adata.uns["sae"]["features"]["nuisance"].any()
    adata.obs["same"] = adata.obs["cell_type"].astype(str)
    with pytest.warns(SignificanceWarning, match="cannot be told"):
        sae.tl.feature_concepts(adata, "cell_type", batch_key="donor", nuisance_keys="same", n_perms=40)
    assert not adata.uns["sae"]["features"]["nuisance"].any()


@pytest.mark.parametrize("n_donors", [4, 8])
def test_nominal_rates_where_nothing_is_related(n_donors):
    rates, maxima, labels = [], [], []
    for seed in range(16):
        adata = nothing(80 * n_donors, n_donors, seed=seed)
        keys = ["cell_type", "depth"] + (["genotype", "age"] if n_donors == 8 else [])
        sae.tl.feature_concepts(adata, keys, batch_key="donor", n_perms=39, rng=seed)
        results = adata.uns["sae_concepts"]["results"]
        rates.append(np.mean(results["pvalue"].dropna() < 0.05))
        maxima += [part["pvalue_max"].min() <= 0.05 for _, part in results.groupby("obs_key", observed=True)]
        labels.append((adata.uns["sae"]["features"]["label"] != "").sum())
    assert 0.03 <= np.mean(rates) <= 0.08
    assert np.mean(maxima) <= 0.14
    assert np.sum(labels) <= 1


def test_cell_types_that_differ_between_donors_at_random_give_no_labels():
    rates, maxima = [], []
    for seed in range(8):
        rng = np.random.default_rng(seed)
        donor, cell_type = np.arange(800) % 8, rng.integers(3, size=800)
        rate = np.clip(0.3 * np.exp(0.6 * rng.standard_normal((8, 3, 20))), 0, 0.9)[donor, cell_type]
        adata = wrapped(rng.gamma(3, 1 / 3, rate.shape) * (rng.random(rate.shape) < rate), np.ones((800, 2)))
        adata.obs["donor"], adata.obs["cell_type"] = donor.astype(str), cell_type.astype(str)
        sae.tl.feature_concepts(adata, "cell_type", batch_key="donor", n_perms=39)
        results = adata.uns["sae_concepts"]["results"]
        rates.append(np.mean(results["pvalue"] < 0.05))
        maxima.append(np.mean(results["pvalue_max"] <= 0.05))
        assert (adata.uns["sae"]["features"]["label"] == "").all()
    assert 0.03 <= np.mean(rates) <= 0.08
    # cells are not the unit here: the test over groups is what holds
    assert np.mean(maxima) > 0.1


def test_labels_that_belong_to_few_groups_are_not_tested():
    adata = planted(300, 4)
    with pytest.warns(SignificanceWarning, match=r"too few groups .* to test \['genotype'\]"):
        sae.tl.feature_concepts(adata, ["cell_type", "genotype"], batch_key="donor", n_perms=19)
    rows = adata.uns["sae_concepts"]["results"].query("obs_key == 'genotype'")
    assert rows["pvalue"].isna().all()
    assert rows["auc"].notna().any()
    assert not (adata.uns["sae"]["features"]["label_key"] == "genotype").any()


def test_cells_as_replicates_are_warned_about():
    adata = planted(400, 4)
    with pytest.warns(SignificanceWarning, match="P-values rest on cells"):
        sae.tl.feature_concepts(adata, "cell_type", n_perms=19)
    assert adata.uns["sae"]["features"].loc["sae_0", "label"] == "type_0"


def test_a_label_that_holds_in_half_of_the_groups_only_is_dropped():
    adata = planted(1200, 8)
    # the feature follows the type in one donor only
    odd = (adata.obs["donor"] != "d0").to_numpy()
    codes = adata.obsm["X_sae"].tolil()
    rng = np.random.default_rng(0)
    codes[np.flatnonzero(odd), 0] = ((rng.random(odd.sum()) < 0.16) * 1.0)[:, None]
    adata.obsm["X_sae"] = codes.tocsr()
    sae.tl.feature_concepts(adata, "cell_type", batch_key="donor", n_perms=39)
    table = adata.uns["sae"]["features"]
    assert table.loc["sae_0", "label"] == ""
    assert table.loc["sae_1", "label"] == "type_1"


def test_missing_values_variables_and_odd_names():
    adata = planted(400, 5)
    adata.obs["<script>/type"] = adata.obs["cell_type"].astype(str).replace("type_0", "<b>α/β</b>")
    adata.obs.loc[adata.obs_names[:40], "<script>/type"] = np.nan
    sae.tl.feature_concepts(adata, ["<script>/type", "gene_3"], batch_key="donor", n_perms=19)
    assert adata.uns["sae"]["features"].loc["sae_0", "label"] == "<b>α/β</b>"
    results = adata.uns["sae_concepts"]["results"]
    assert results.query("obs_key == 'gene_3'").set_index("feature")["spearman"].idxmax() == "sae_0"


@pytest.mark.parametrize("suffix", ["h5ad", "zarr"])
def test_round_trip_and_determinism(labelled, tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    (labelled.write_h5ad if suffix == "h5ad" else labelled.write_zarr)(path)
    read = (ad.read_h5ad if suffix == "h5ad" else ad.read_zarr)(path)
    first, again = labelled.uns["sae_concepts"]["results"], read.uns["sae_concepts"]["results"]
    np.testing.assert_array_equal(first["pvalue_max"], again["pvalue_max"])
    assert again["category"].isna().sum() == N_FEATURES
    assert (read.uns["sae"]["features"]["label"].astype(str) == labelled.uns["sae"]["features"]["label"]).all()
    keys = ["cell_type", "genotype", "dose"]
    copy = sae.tl.feature_concepts(read, keys, batch_key="donor", nuisance_keys="plate", n_perms=60, copy=True)
    repeated = copy.uns["sae_concepts"]["results"]
    for column in SCORES:
        np.testing.assert_array_equal(repeated[column], first[column])
    order = np.random.default_rng(0).permutation(read.n_obs)
    shuffled = read[order].copy()
    sae.tl.feature_concepts(shuffled, "cell_type", batch_key="donor", n_perms=19)
    rows = shuffled.uns["sae_concepts"]["results"]
    expected = first[first["obs_key"] == "cell_type"]
    pd.testing.assert_series_equal(rows["auc"], expected["auc"].reset_index(drop=True))


@pytest.mark.parametrize(
    ("kwargs", "error", "match"),
    [
        ({"obs_keys": "phase"}, KeyError, "`obs_keys='phase'`"),
        ({"obs_keys": []}, ValueError, "names no column"),
        ({"obs_keys": "donor", "nuisance_keys": "donor"}, ValueError, "in both"),
        ({"obs_keys": "one"}, ValueError, "is constant"),
        ({"obs_keys": "cell_type", "nuisance_keys": "one"}, ValueError, "`nuisance_keys`.*is constant"),
        ({"obs_keys": "id"}, ValueError, "different label in each"),
        ({"obs_keys": "cell_type", "batch_key": "gap"}, ValueError, "missing for 5"),
        ({"obs_keys": "cell_type", "n_perms": 5}, ValueError, "`n_perms`"),
        ({"obs_keys": "cell_type", "min_strength": 2}, ValueError, "`min_strength`"),
    ],
)
def test_bad_input_leaves_the_data_alone(kwargs, error, match):
    adata = planted(100, 4)
    adata.obs["one"], adata.obs["id"] = "a", adata.obs_names
    adata.obs["gap"] = adata.obs["donor"].astype(str).where(np.arange(100) >= 5)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(error, match=match):
            sae.tl.feature_concepts(adata, **kwargs)
    assert "sae_concepts" not in adata.uns
    assert "label" not in adata.uns["sae"]["features"]
