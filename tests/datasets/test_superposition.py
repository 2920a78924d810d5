from __future__ import annotations

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy.stats import multivariate_normal, norm

import saescape as sae
from saescape.simulation._firing import CHILD_PROBABILITY, firing, present


def test_tokens_are_concepts_times_dictionary():
    adata = sae.datasets.superposition(30, n_positions=5, n_dims=7, n_concepts=11, noise=0.0, density=0.2)
    assert adata.obsm["tokens"].shape == (30, 5, 7)
    truth = adata.uns["truth"]
    np.testing.assert_allclose(adata.X, adata.obsm["concepts"] @ truth["dictionary"], atol=1e-5)
    np.testing.assert_allclose(adata.X, adata.obsm["tokens"].mean(1), atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(truth["dictionary"], axis=1), 1, atol=1e-6)
    assert (adata.obsm["concepts"] >= 0).all()


def test_density_noise_and_strength_are_as_asked_for():
    adata = sae.datasets.superposition(800, n_positions=20, n_dims=4, n_concepts=50, density=0.02)
    # Gamma(1/2) rates are rarely cut off at 1
    assert adata.uns["truth"]["l0"] == pytest.approx(50 * 0.02, rel=0.05)
    assert adata.obsm["concepts"].mean() == pytest.approx(0.02, rel=0.07)
    quiet = sae.datasets.superposition(200, n_dims=6, density=1e-9, noise=0.3)
    assert quiet.obsm["tokens"].std() == pytest.approx(0.3, rel=0.02)


def test_orthonormal_when_possible_and_coherent_when_asked_for():
    gram = lambda a: a.uns["truth"]["dictionary"] @ a.uns["truth"]["dictionary"].T  # noqa: E731
    np.testing.assert_allclose(gram(sae.datasets.superposition(2, n_dims=9, n_concepts=9)), np.eye(9), atol=1e-6)
    adata = sae.datasets.superposition(2, n_dims=200, n_concepts=100, coherence=0.6)
    cluster = adata.uns["truth"]["cluster"]
    same = (cluster[:, None] == cluster) & ~np.eye(100, dtype=bool)
    assert gram(adata)[same].mean() == pytest.approx(0.6, abs=0.03)
    assert np.abs(gram(adata)[cluster[:, None] != cluster]).mean() < 0.1


def test_pooling_loses_neighbours_only_in_superposition():
    recall = {}
    for m in (16, 64):
        adata = sae.datasets.superposition(200, n_positions=32, n_dims=16, n_concepts=m)
        recall[m] = sae.metrics.knn_recall(adata.X, adata.obsm["concepts"], 10)
    assert recall[16] > 0.85
    assert recall[64] < 0.5


def test_deterministic_and_writes(tmp_path, global_state):
    first, second = sae.datasets.superposition(20), sae.datasets.superposition(20)
    np.testing.assert_array_equal(first.obsm["tokens"], second.obsm["tokens"])
    assert not np.array_equal(first.X, sae.datasets.superposition(20, rng=1).X)
    first.write_h5ad(tmp_path / "a.h5ad")
    back = ad.read_h5ad(tmp_path / "a.h5ad")
    np.testing.assert_array_equal(back.uns["truth"]["dictionary"], first.uns["truth"]["dictionary"])


GOLDEN_DEFAULT = [1023.6527513622168, 196703.39351502756, 970.1490712996165, 291.82305372970586]
GOLDEN_OTHER = [124.8067523814243, 24252.69103016815, 88.43906683451496, 513.6755777515336]


def _fire(n=20000, n_concepts=12, density=0.1, **kwargs):
    """Presence of concepts at `n` positions with the same rates."""
    settings = {"correlation": 0.0, "hierarchy": 0.0, "zipf": 0.0} | kwargs
    how = firing(n_concepts, density, **settings, rng=np.random.default_rng(1))
    return how, present(np.random.default_rng(2).random((n, n_concepts)), how.density[None], how)


def _digest(adata):
    parts = (adata.X, adata.obsm["tokens"], adata.obsm["concepts"], adata.uns["truth"]["dictionary"])
    return [float(np.abs(part.astype(np.float64)).sum()) for part in parts]


def test_results_of_earlier_versions_are_kept():
    # values of the version before designs, correlation, hierarchy and Zipf usage
    np.testing.assert_allclose(_digest(sae.datasets.superposition()), GOLDEN_DEFAULT, rtol=1e-5)
    other = sae.datasets.superposition(40, n_dims=64, n_concepts=80, coherence=0.4, rng=3)
    np.testing.assert_allclose(_digest(other), GOLDEN_OTHER, rtol=1e-5)


@pytest.mark.parametrize("correlation", [0.6, -0.3])
def test_correlated_firing_has_the_joint_probability_of_the_copula(correlation):
    how, on = _fire(40000, correlation=correlation)
    np.testing.assert_allclose(on.mean(0), 0.1, atol=0.007)
    joint = on.T.astype(float) @ on / len(on)
    same = (how.block[:, None] == how.block) & ~np.eye(12, dtype=bool)
    threshold = norm.ppf(0.1)
    expected = multivariate_normal([0, 0], [[1, correlation], [correlation, 1]]).cdf([threshold, threshold])
    assert joint[same].mean() == pytest.approx(expected, rel=0.1)
    # blocks are independent of each other
    assert joint[how.block[:, None] != how.block].mean() == pytest.approx(0.01, rel=0.05)


def test_concepts_of_a_cluster_are_in_different_blocks():
    truth = sae.datasets.superposition(4, n_concepts=32, correlation=0.5, coherence=0.5).uns["truth"]
    table = pd.DataFrame({"cluster": truth["cluster"], "block": truth["concepts"]["block"]})
    assert not table.duplicated().any()
    assert table["block"].value_counts().max() == 4


def test_vanishing_correlation_changes_nothing():
    none, little = (sae.datasets.superposition(20, correlation=c) for c in (0.0, 1e-12))
    np.testing.assert_array_equal(none.X, little.X)


def test_correlation_survives_pooling_and_keeps_the_density():
    adata = sae.datasets.superposition(300, n_positions=30, n_concepts=40, density=0.05, correlation=0.9)
    # the differences between cells are independent, those between positions are not (SE about .008)
    assert adata.uns["truth"]["l0"] == pytest.approx(40 * 0.05, rel=0.07)
    r = np.corrcoef(adata.obsm["concepts"].T)
    block = adata.uns["truth"]["concepts"]["block"].to_numpy()
    same = (block[:, None] == block) & ~np.eye(40, dtype=bool)
    assert r[same].mean() > 0.04
    assert abs(r[block[:, None] != block].mean()) < 0.02


@pytest.mark.parametrize("correlation", [0.0, 0.5])
def test_children_fire_inside_their_parents_only(correlation):
    how, on = _fire(hierarchy=0.5, correlation=correlation)
    children = np.flatnonzero(how.parent >= 0)
    assert len(children) == 6
    assert (how.parent[how.parent[children]] == -1).all()
    assert (how.block[children] == -1).all()
    inside = on[:, how.parent[children]]
    assert not (on[:, children] & ~inside).any()
    share = on[:, children].sum(0) / inside.sum(0)
    np.testing.assert_allclose(share, CHILD_PROBABILITY, atol=0.06)
    np.testing.assert_allclose(on.mean(0), how.density, atol=0.012)
    assert how.density.mean() == pytest.approx(0.1)


def test_hierarchy_holds_in_the_cells():
    adata = sae.datasets.superposition(400, n_positions=1, n_concepts=50, density=0.1, hierarchy=0.4)
    parent = adata.uns["truth"]["concepts"]["parent"].to_numpy()
    on = adata.obsm["concepts"] > 0
    child = np.flatnonzero(parent >= 0)
    assert on[:, child].sum() > 100
    assert not (on[:, child] & ~on[:, parent[child]]).any()


def test_usage_follows_zipf_with_the_mean_kept():
    how, on = _fire(60000, n_concepts=40, density=0.02, zipf=1.0)
    usage = np.sort(on.mean(0))[::-1]
    slope = np.polyfit(np.log(np.arange(1, 41)), np.log(usage), 1)[0]
    assert slope == pytest.approx(-1, abs=0.07)
    assert on.mean() == pytest.approx(0.02, rel=0.03)
    # which concepts are frequent has nothing to do with their clusters
    assert not (np.diff(how.density) < 0).all()


@pytest.mark.parametrize("density", [0.05, 0.2, 0.4])
@pytest.mark.parametrize("hierarchy", [0.0, 0.5])
def test_the_most_used_concepts_are_limited(density, hierarchy):
    how, _ = _fire(1, n_concepts=64, density=density, zipf=1.5, hierarchy=hierarchy)
    assert how.density.mean() == pytest.approx(density)
    assert how.density.max() <= max(0.25, density / (1 - hierarchy / 2)) + 1e-9
    roots = np.sort(how.density[how.parent < 0])[::-1]
    # those below the limit keep the slope
    free = roots < roots[0] * (1 - 1e-9)
    ranks = np.flatnonzero(free) + 1
    if free.sum() > 2:
        np.testing.assert_allclose(np.polyfit(np.log(ranks), np.log(roots[free]), 1)[0], -1.5, atol=1e-6)


def test_design_has_nested_lines_roles_and_a_phenotype():
    adata = sae.datasets.superposition(600, n_positions=64, density=0.1, phenotype_zeros=0.5)
    obs, table = adata.obs, adata.uns["truth"]["concepts"]
    assert list(obs.columns) == ["condition", "line", "plate", "well", "time", "phenotype"]
    assert (obs["phenotype"] == 0).mean() == 0.5
    assert (obs.groupby("line", observed=True)["condition"].nunique() == 1).all()
    assert (pd.crosstab(obs["condition"], obs["plate"]) > 0).all(axis=None)
    r = pd.Series(np.corrcoef(adata.obsm["concepts"].T, obs["time"])[-1, :-1], index=table.index)
    assert r[table["role"] == "time_up"].mean() > 0.2
    assert r[table["role"] == "time_down"].mean() < -0.2
    assert abs(r[table["role"] == "plate"].mean()) < 0.1
    # plate concepts differ between plates by their effect
    means = pd.DataFrame(adata.obsm["concepts"]).groupby(obs["plate"].to_numpy()).mean().to_numpy()
    contrast = np.abs(means[0] - means[1]) / means.sum(0)
    plate = (table["role"] == "plate").to_numpy()
    np.testing.assert_allclose(contrast[plate], table["effect"][plate], atol=0.25)
    assert contrast[~plate].mean() < 0.15
    # the phenotype of the others follows time
    shown = obs["phenotype"] > 0
    assert np.corrcoef(obs["phenotype"][shown], obs["time"][shown])[0, 1] > 0.3


def test_children_have_the_role_of_their_parent():
    table = sae.datasets.superposition(20, hierarchy=0.6, n_lines=1).uns["truth"]["concepts"]
    child = table[table["parent"] >= 0]
    parent = table.iloc[child["parent"]]
    assert list(child["role"]) == list(parent["role"])
    np.testing.assert_array_equal(child["effect"], parent["effect"])


def test_plate_offset_is_recovered():
    adata = sae.datasets.superposition(300, density=1e-6, n_plates=3, plate_offset=0.5)
    offset = adata.uns["truth"]["plate_offset"]
    assert offset.shape == (3, 32)
    assert offset.std() == pytest.approx(0.5, rel=0.2)
    for i in range(3):
        mine = (adata.obs["plate"] == f"plate_{i}").to_numpy()
        np.testing.assert_allclose(adata.obsm["tokens"][mine].mean((0, 1)), offset[i], atol=0.002)


def test_a_design_keeps_the_dictionary_and_the_density():
    plain, designed = sae.datasets.superposition(400), sae.datasets.superposition(400, n_plates=2)
    for name in ("dictionary", "cluster"):
        np.testing.assert_array_equal(plain.uns["truth"][name], designed.uns["truth"][name])
    assert designed.uns["truth"]["l0"] == pytest.approx(64 * 0.03, rel=0.1)
    assert plain.obs.empty
    assert (designed.uns["truth"]["plate_offset"] == 0).all()


def test_design_is_deterministic_and_writes(tmp_path, global_state):
    settings = {"correlation": 0.4, "hierarchy": 0.2, "zipf": 0.8, "n_plates": 3, "plate_offset": 0.1}
    first, second = (sae.datasets.superposition(30, **settings) for _ in range(2))
    np.testing.assert_array_equal(first.X, second.X)
    pd.testing.assert_frame_equal(first.obs, second.obs)
    first.write_h5ad(tmp_path / "a.h5ad")
    back = ad.read_h5ad(tmp_path / "a.h5ad").uns["truth"]
    np.testing.assert_array_equal(back["concepts"]["parent"], first.uns["truth"]["concepts"]["parent"])
    assert list(back["concepts"]["role"]) == list(first.uns["truth"]["concepts"]["role"])
    assert back["params"]["n_wells"] == 4


@pytest.mark.parametrize(
    ("kwargs", "match"),
    [
        ({"correlation": 1.0}, "`correlation` must be greater than -1/3 and less than 1"),
        ({"correlation": -0.4}, "`correlation` must be greater than -0.333"),
        ({"hierarchy": 1.0}, "`hierarchy` must be at least 0 and less than 1"),
        ({"hierarchy": 0.5, "density": 0.9}, "`density` must be at most 0.75 with `hierarchy` 0.5"),
        ({"zipf": -1.0}, "`zipf` must be at least 0"),
        ({"phenotype_zeros": 1.1}, "`phenotype_zeros` must be at least 0 and at most 1"),
        ({"plate_offset": -1.0}, "`plate_offset` must be at least 0"),
        ({"n_conditions": 5}, "`n_wells` must be at least 5"),
        ({"n_plates": 0}, "`n_plates` must be at least 1"),
        ({"n_obs": 0}, "`n_obs` must be at least 1"),
        ({"n_concepts": 0}, "`n_concepts` must be at least 1"),
        ({"density": 0.0}, "`density` must be greater than 0"),
        ({"density": 1.5}, "`density` .* at most 1"),
        ({"noise": -1.0}, "`noise` must be at least 0"),
        ({"coherence": 1.0}, "`coherence` must be at least 0 and less than 1"),
        ({"coherence": -0.1}, "`coherence` must be at least 0"),
    ],
)
def test_bad_input(kwargs, match):
    with pytest.raises(ValueError, match=match):
        sae.datasets.superposition(**kwargs)
