from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy import sparse

from saescape.superposition._geometry import dictionary_geometry
from saescape.superposition._interference import interference
from saescape.superposition._measures import MeasureInput, measure_table
from saescape.superposition._recovery import (
    compressed_sensing_ratio,
    isometry_defect,
    random_rows,
    support_size,
)
from saescape.superposition._spectrum import covariance_spectrum, spectral_entropy_rank
from saescape.superposition._usage import code_spectrum, effective_features, zipf_features

TETRAHEDRON = np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]], dtype=np.float32) / np.float32(3**0.5)


def test_effective_features_closed_forms():
    assert effective_features(sparse.csr_matrix(np.ones((3, 7)))) == pytest.approx(7)
    assert effective_features(sparse.csr_matrix(np.eye(4)[[0, 0]])) == pytest.approx(1)
    zipf = 1 / np.arange(1, 1025)
    assert effective_features(sparse.csr_matrix(zipf[None])) == pytest.approx(182, abs=1)
    assert zipf_features(1024) == pytest.approx(effective_features(sparse.csr_matrix(zipf[None])))
    assert effective_features(sparse.csr_matrix(zipf[None] ** 0.5)) == pytest.approx(805, abs=1)


def test_compressed_sensing_ratio():
    assert compressed_sensing_ratio(100, int(np.ceil(2 * 5 * np.log(20))), 5) == pytest.approx(2, rel=0.02)
    assert compressed_sensing_ratio(100, 10, 0) == np.inf
    assert np.isnan(compressed_sensing_ratio(10, 10, 10))


def test_support_sizes():
    assert [support_size(50, l0) for l0 in (0.0, 1.0, 2.1, 70.0, 1e4)] == [1, 1, 3, 50, 50]
    assert support_size(10_000, 1e4) == 128


def test_babel_equals_brute_force_whatever_the_tile(monkeypatch):
    rows = random_rows(23, 6, np.random.default_rng(0))
    cosines = np.abs(rows @ rows.T).astype(float)
    np.fill_diagonal(cosines, 0)
    expected = [np.sort(cosines, 1)[:, ::-1][:, :size].sum(1).max() for size in (5, 4, 22)]
    assert dictionary_geometry(rows, (5, 4, 22)).babel == pytest.approx(expected, rel=1e-5)
    monkeypatch.setattr("saescape.superposition._geometry._TILE_ENTRIES", 50)
    tiled = dictionary_geometry(rows, (5, 4, 22))
    assert tiled.babel == pytest.approx(expected, rel=1e-5)
    # sums are taken after everything that needs the order of the row
    assert tiled.nearest.tolist() == cosines.argmax(1).tolist()


def test_babel_of_the_simplex_and_of_orthogonal_features():
    # each of the others adds 1/3
    assert dictionary_geometry(TETRAHEDRON, (1, 2, 3, 0)).babel == pytest.approx((1 / 3, 2 / 3, 1.0, 0.0), rel=1e-6)
    assert dictionary_geometry(np.eye(4, dtype=np.float32), (2,)).babel == (0.0,)
    assert dictionary_geometry(np.ones((1, 1), dtype=np.float32), (1, 0)).babel == (0.0, 0.0)


def test_isometry_of_pairs_is_the_coherence():
    # all pairs are drawn: the constant of order two is the largest absolute cosine
    rows = random_rows(9, 4, np.random.default_rng(0))
    coherence = dictionary_geometry(rows).max_cosine.max()
    assert isometry_defect(rows, 2, np.random.default_rng(1)) == pytest.approx(coherence, rel=1e-5)


def test_sampled_isometry_is_a_lower_bound_of_the_exhaustive_one():
    rows = random_rows(12, 6, np.random.default_rng(0)).astype(float)
    values = [np.linalg.svd(rows[list(s)])[1] for s in itertools.combinations(range(12), 3)]
    worst = max(max(v[0] ** 2 - 1, 1 - v[-1] ** 2) for v in values)
    few = isometry_defect(rows, 3, np.random.default_rng(0), n_supports=5)
    assert few < worst
    assert isometry_defect(rows, 3, np.random.default_rng(0), n_supports=4_000) == pytest.approx(worst, rel=1e-6)
    assert isometry_defect(np.eye(5), 3, np.random.default_rng(0)) == pytest.approx(0, abs=1e-9)
    # more features than dimensions cannot be independent
    assert isometry_defect(rows, 7, np.random.default_rng(0)) >= 1 - 1e-9


def test_spectrum_of_codes_is_that_of_the_centred_matrix():
    rng = np.random.default_rng(0)
    codes = rng.random((30, 80)) * (rng.random((30, 80)) < 0.2)
    np.testing.assert_allclose(code_spectrum(sparse.csr_matrix(codes)), covariance_spectrum(codes), rtol=1e-8)
    assert len(code_spectrum(sparse.csr_matrix(np.ones((4, 3))))) == 0


def table(codes, unit, rep, l0=2.0):
    scaled, unit = sparse.csr_matrix(codes), np.asarray(unit, dtype=np.float32)
    size = support_size(len(unit), l0)
    given = MeasureInput(
        scaled=scaled,
        unit=unit,
        geometry=dictionary_geometry(unit, (size, size - 1)),
        observed=interference(scaled, unit),
        n_features=len(unit) + 1,
        l0=l0,
        size=size,
        usage_crowding=1.0,
        here=scaled,
        rep=rep,
    )
    return measure_table(given, np.random.default_rng(0))


def test_a_random_dictionary_has_the_random_references():
    rng = np.random.default_rng(1)
    codes = rng.random((400, 200)) * (rng.random((400, 200)) < 0.05)
    measures = table(codes, random_rows(200, 24, rng), rng.standard_normal((400, 10)), l0=4.0)
    for name in ("mean_abs_cosine", "rms_cosine", "mean_dimensionality", "mean_max_cosine", "babel", "isometry_defect"):
        assert measures.loc[name, "value"] == pytest.approx(measures.loc[name, "reference"], rel=0.15), name
    for name in ("effective_rank", "participation_ratio", "code_effective_rank", "code_participation_ratio"):
        assert measures.loc[name, "value"] == pytest.approx(measures.loc[name, "reference"], rel=0.03), name
    assert measures.loc["stable_rank", "value"] == pytest.approx(measures.loc["stable_rank", "reference"], rel=0.1)
    assert measures.loc["total_dimensionality", "value"] < 24
    assert measures.loc["babel_recovery", "value"] > 1


def test_tight_frames_reach_their_bounds():
    rng = np.random.default_rng(0)
    measures = table(rng.random((20, 4)), TETRAHEDRON, rng.random((20, 3)))
    for name in ("total_dimensionality", "max_cosine", "frame_potential_excess"):
        assert measures.loc[name, "value"] == pytest.approx(measures.loc[name, "reference"], rel=1e-5), name
    # two features and one: 2/3 + 1/3
    assert measures.loc["babel_recovery", "value"] == pytest.approx(1, rel=1e-5)
    assert measures.loc["isometry_defect", "value"] == pytest.approx(1 / 3, rel=1e-5)
    assert measures.loc["linear_ceiling", "value"] == pytest.approx(3 / 4)


def test_few_directions_are_seen():
    rng = np.random.default_rng(0)
    low = rng.standard_normal((300, 3)) @ rng.standard_normal((3, 12))
    modules = np.repeat(rng.random((300, 4)) * (rng.random((300, 4)) < 0.3), 5, axis=1)
    measures = table(modules, random_rows(20, 12, rng), low)
    assert measures.loc["effective_rank", "value"] == pytest.approx(spectral_entropy_rank(covariance_spectrum(low)))
    assert measures.loc["stable_rank", "value"] < measures.loc["effective_rank", "value"] < 3
    # 20 features that are 4
    assert measures.loc["code_effective_rank", "value"] == pytest.approx(4, abs=0.2)
    assert measures.loc["code_effective_rank", "reference"] > 15
