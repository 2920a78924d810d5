from __future__ import annotations

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy.spatial.distance import pdist
from scipy.stats import spearmanr

import saescape as sae
from saescape.simulation._paired_rna import _warped
from saescape.simulation._paired_tree import Tree

GOLDEN = [583.7174682617188, 648.2647945974022, 28.102638639184885, 201253.0, 872.9847905398346, 38.728326624379896]
GOLDEN_MIRROR = [
    1615.175537109375,
    957.8210751088336,
    30.71260497357742,
    100252.0,
    633.2721151020378,
    19.054613208245836,
]


def test_partners_share_their_truth():
    adata, adata_ref = sae.datasets.paired(60, 80)
    assert adata.shape == (60, 16)
    assert adata_ref.shape == (80, 600)
    partners = adata_ref[adata.obs["partner"].astype(str)]
    np.testing.assert_array_equal(partners.obsm["programs"], adata.obsm["programs"])
    assert list(partners.obs["cell_type"]) == list(adata.obs["cell_type"])
    assert (adata_ref.obs["partner"] == "none").sum() == 20
    assert set(adata.var_names).isdisjoint(adata_ref.var_names)


def test_modules_follow_their_programs():
    _, rna = sae.datasets.paired(10, 400)
    # the mean of a module's genes follows its program better than that of any other module does
    r = []
    for k in range(24):
        module = np.asarray(rna[:, rna.var["program"] == f"program_{k}"].X.mean(1)).ravel()
        program = rna.obsm["programs"][:, k]
        if program.std() > 0.2:
            r.append(np.corrcoef(module, program)[0, 1])
    assert len(r) > 5
    assert np.median(r) > 0.7


def test_rho_sets_what_the_distances_have_in_common():
    shared = []
    for rho in (1.0, 0.5, 0.0):
        adata, adata_ref = sae.datasets.paired(150, 150, rho=rho, rng=3)
        partners = adata_ref[adata.obs["partner"].astype(str)]
        shared.append(np.corrcoef(pdist(adata.obsm["programs"]), pdist(partners.obsm["X_pca"]))[0, 1])
    assert shared[0] > 0.6
    assert shared[0] > shared[1] > shared[2]
    assert abs(shared[2]) < 0.25


def test_tokens_average_to_the_embedding():
    adata, _ = sae.datasets.paired(30, 30, n_positions=6)
    assert adata.obsm["tokens"].shape == (30, 6, 16)
    np.testing.assert_allclose(adata.obsm["tokens"].mean(1), adata.X, atol=1e-4)


def test_mirror_images_cannot_be_told_apart():
    adata, _ = sae.datasets.paired(400, 50, mirror=True, noise=0.0, n_types=4)
    x, programs = adata.X, adata.obsm["programs"]
    half = programs.shape[1] // 2
    # exchanging the halves of the programs is the reflection of half of the dimensions
    weights = np.linalg.lstsq(programs, x, rcond=None)[0]
    exchanged = np.concatenate([programs[:, half:], programs[:, :half]], 1) @ weights
    np.testing.assert_allclose(pdist(exchanged[:40]), pdist(x[:40]), rtol=1e-3)


def test_seeds_and_round_trips(tmp_path, global_state):
    first, second, third = (sae.datasets.paired(20, 25, rng=seed) for seed in (0, 0, 1))
    for a, b, c in zip(first, second, third, strict=True):
        np.testing.assert_array_equal(a.obsm["programs"], b.obsm["programs"])
        assert not np.array_equal(a.obsm["programs"], c.obsm["programs"])
        a.write_h5ad(tmp_path / "a.h5ad")
        assert ad.read_h5ad(tmp_path / "a.h5ad").uns["paired"]["rho"] == 1.0


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({}, GOLDEN),
        ({"n_ref": 40, "rho": 0.5, "mirror": True, "n_types": 4, "n_positions": 5, "rng": 2}, GOLDEN_MIRROR),
    ],
)
def test_results_of_earlier_versions_are_kept(arguments, expected):
    # values of the version before imbalance, unmatched cells, batches, dropout and warp
    found = []
    for side in sae.datasets.paired(60, **({"n_ref": 80} | arguments)):
        x = side.layers.get("counts", side.X)
        found += [float(abs(x).sum()), side.obsm["programs"].astype(float).sum(), side.obs["gradient"].sum()]
        assert side.obs["matched"].all()
        assert "batch" not in side.obs
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def _frequency(side):
    return side.obs["cell_type"].value_counts(normalize=True).reindex([f"type_{c}" for c in range(5)]).to_numpy()


def test_imbalance_reverses_the_frequencies_of_the_rna_side():
    expected = 0.75 ** np.arange(5)
    expected /= expected.sum()
    for imbalance in (0.5, 1.0):
        adata, rna = sae.datasets.paired(20, 4000, n_programs=4, n_genes=60, imbalance=imbalance)
        target = (1 - imbalance) * expected + imbalance * expected[::-1]
        np.testing.assert_allclose(_frequency(rna), target, atol=0.03)
    adata, rna = sae.datasets.paired(2000, 2000, n_programs=4, n_genes=60, imbalance=1.0)
    np.testing.assert_allclose(_frequency(adata), expected, atol=0.03)
    # no more partners are lost than the frequencies require
    lost = np.maximum(expected - expected[::-1], 0).sum()
    assert (adata.obs["partner"] == "none").mean() == pytest.approx(lost, abs=0.03)
    _assert_partners(adata, rna)


def _assert_partners(adata, rna):
    """Partners name each other and are the same cell."""
    mine = adata[adata.obs["partner"] != "none"]
    partners = rna[mine.obs["partner"].astype(str)]
    assert list(partners.obs["partner"].astype(str)) == list(mine.obs_names)
    assert (rna.obs["partner"] != "none").sum() == mine.n_obs
    np.testing.assert_array_equal(partners.obsm["programs"], mine.obsm["programs"])


def test_exchanged_cells_keep_the_frequencies_exact_in_expectation():
    rng = np.random.default_rng(0)
    tree = Tree(4, 6, mirror=False, rng=rng)
    cells = tree.cells(40000, rng)
    same, new = tree.rebalanced(cells, 0.0, rng)
    assert not new.any()
    assert same is cells
    other, new = tree.rebalanced(cells, 1.0, rng)
    np.testing.assert_allclose(np.bincount(other.cell_type) / 40000, tree.frequency[::-1], atol=0.01)
    np.testing.assert_array_equal(other.programs[~new], cells.programs[~new])
    # the cells that were given are left as they were
    assert np.bincount(cells.cell_type).argmax() == 0


def test_unmatched_cells_are_a_type_that_the_rna_side_lacks():
    adata, rna = sae.datasets.paired(200, 150, unmatched=0.2)
    unmatched = ~adata.obs["matched"].to_numpy()
    assert unmatched.mean() == 0.2
    assert set(adata.obs["cell_type"][unmatched]) == {"type_5"}
    assert "type_5" not in set(rna.obs["cell_type"])
    assert (adata.obs["partner"][unmatched] == "none").all()
    assert rna.obs["matched"].all()
    _assert_partners(adata, rna)
    plain, plain_rna = sae.datasets.paired(200, 150)
    np.testing.assert_array_equal(rna.layers["counts"].toarray(), plain_rna.layers["counts"].toarray())
    np.testing.assert_array_equal(adata.obsm["programs"][~unmatched], plain.obsm["programs"][~unmatched])
    # they are another population: farther from all others than these are from each other
    mean = pd.DataFrame(adata.obsm["programs"]).groupby(unmatched).mean().to_numpy()
    spread = np.sqrt(adata.obsm["programs"][~unmatched].var(0).sum())
    assert np.linalg.norm(mean[0] - mean[1]) > spread


def test_unmatched_cells_keep_the_mirror():
    adata, _ = sae.datasets.paired(400, 50, mirror=True, noise=0.0, n_types=4, unmatched=0.3)
    cells = ~adata.obs["matched"].to_numpy()
    mean = np.median(adata.obsm["programs"][cells], axis=0)
    np.testing.assert_allclose(mean[:12], mean[12:], rtol=0.15)


def test_batch_offsets_are_recovered():
    _, rna = sae.datasets.paired(4, 1200, n_programs=6, n_genes=150, n_batches=3, batch_effect=0.5)
    assert rna.obs["batch"].value_counts().to_dict() == {f"batch_{i}": 400 for i in range(3)}
    offset = rna.varm["batch_offset"]
    assert offset.std() == pytest.approx(0.5, rel=0.15)
    share = rna.layers["counts"].toarray() / np.asarray(rna.layers["counts"].sum(1))
    log_mean = np.log(pd.DataFrame(share).groupby(rna.obs["batch"].to_numpy()).mean().to_numpy())
    found, truth = log_mean - log_mean.mean(0), (offset - offset.mean(1, keepdims=True)).T
    assert np.corrcoef(found.ravel(), truth.ravel())[0, 1] > 0.9
    assert np.polyfit(truth.ravel(), found.ravel(), 1)[0] == pytest.approx(1, abs=0.1)
    # batches are unrelated to types
    share = pd.crosstab(rna.obs["batch"], rna.obs["cell_type"], normalize="index")
    assert (share.max() - share.min()).max() < 0.1


def test_batches_of_equal_genes_keep_the_mirror():
    _, rna = sae.datasets.paired(4, 20, mirror=True, n_types=4, n_batches=2)
    size = rna.var["program"].value_counts()
    first = sum(size[f"program_{k}"] for k in range(12))
    offset = rna.varm["batch_offset"]
    np.testing.assert_array_equal(offset[:first], offset[first : 2 * first])


def test_dropout_loses_the_share_of_entries_asked_for():
    counts = [sae.datasets.paired(4, 100, dropout=d)[1].layers["counts"].toarray() for d in (0.0, 0.3)]
    full = counts[0] > 0
    assert (counts[1][full] == 0).mean() == pytest.approx(0.3, abs=0.01)
    kept = counts[1] > 0
    np.testing.assert_array_equal(counts[1][kept], counts[0][kept])


def test_warp_is_monotone_and_keeps_zero_and_sd():
    programs = np.random.default_rng(0).gamma(2.0, 0.5, (200, 6)) * (np.arange(200)[:, None] > 20)
    programs[:, 5] = 0.0
    warped = _warped(programs, 0.8, mirror=True, rng=np.random.default_rng(1))
    np.testing.assert_allclose(warped.std(0), programs.std(0))
    assert (warped[:21] == 0).all()
    for before, after in zip(programs.T[:5], warped.T[:5], strict=True):
        assert spearmanr(before, after).statistic == pytest.approx(1)
        assert np.corrcoef(before, after)[0, 1] < 1 - 1e-4
    # a power is a line in logarithms, with the same slope for mirror images
    slope = [
        np.polyfit(np.log(a[21:]), np.log(b[21:]), 1)[0] for a, b in zip(programs.T[:5], warped.T[:5], strict=True)
    ]
    np.testing.assert_allclose(slope[:2], slope[3:])


def test_warp_changes_the_rna_only():
    straight, warped = (sae.datasets.paired(30, 30, warp=w) for w in (0.0, 1.0))
    np.testing.assert_array_equal(straight[0].X, warped[0].X)
    np.testing.assert_array_equal(straight[1].obsm["programs"], warped[1].obsm["programs"])
    assert not np.array_equal(straight[1].layers["counts"].toarray(), warped[1].layers["counts"].toarray())


def test_all_at_once_writes(tmp_path, global_state):
    settings = {"imbalance": 0.6, "unmatched": 0.1, "n_batches": 2, "dropout": 0.2, "warp": 0.4, "rho": 0.7}
    first, second = (sae.datasets.paired(40, 30, n_positions=3, **settings) for _ in range(2))
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a.obsm["programs"], b.obsm["programs"])
        pd.testing.assert_frame_equal(a.obs, b.obs)
        a.write_h5ad(tmp_path / "a.h5ad")
        assert ad.read_h5ad(tmp_path / "a.h5ad").uns["paired"]["unmatched"] == 0.1
    np.testing.assert_array_equal(first[1].layers["counts"].toarray(), second[1].layers["counts"].toarray())
    _assert_partners(*first)


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"imbalance": 1.2}, "`imbalance` must be at least 0 and at most 1"),
        ({"unmatched": 1.0}, "`unmatched` must be at least 0 and less than 1"),
        ({"n_batches": 501}, "`n_batches` must be between 1 and `n_ref`"),
        ({"batch_effect": -1.0}, "`batch_effect` must be at least 0"),
        ({"dropout": 1.0}, "`dropout` must be at least 0 and less than 1"),
        ({"warp": -0.1}, "`warp` must be at least 0"),
        ({"rho": 1.5}, "`rho`"),
        ({"n_obs": 2}, "`n_obs` must be at least 4"),
        ({"mirror": True, "n_types": 3}, "`mirror` needs even numbers"),
        ({"n_genes": 100}, "`n_genes`"),
    ],
)
def test_bad_input(arguments, match):
    with pytest.raises(ValueError, match=match):
        sae.datasets.paired(**arguments)
