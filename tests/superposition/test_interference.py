from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse

from saescape.superposition import _interference
from saescape.superposition._geometry import (
    dictionary_geometry,
    merge_duplicates,
    random_abs_cosine,
    welch_bound,
)
from saescape.superposition._interference import cell_interference, interference, overlaps, scale_codes


def random_case(seed=0, n=60, m=15, d=6, density=0.3):
    rng = np.random.default_rng(seed)
    codes = rng.exponential(size=(n, m)) * (rng.random((n, m)) < density)
    return codes, rng.normal(size=(m, d)) * rng.uniform(0.5, 2, (m, 1))


def brute_force(codes, decoder):
    norms = np.linalg.norm(decoder, axis=1)
    y, unit = codes * norms, decoder / norms[:, None]
    total = energy = 0.0
    for cell in y:
        for i in range(len(cell)):
            energy += cell[i] ** 2
            for j in range(len(cell)):
                if i != j:
                    total += cell[i] * cell[j] * (unit[i] @ unit[j]) ** 2
    return total / energy


@pytest.mark.parametrize("density", [0.02, 0.3])
def test_score_equals_the_double_sum(density):
    codes, decoder = random_case(density=density)
    result = interference(*scale_codes(sparse.csr_matrix(codes), decoder))
    assert result.score == pytest.approx(brute_force(codes, decoder), rel=1e-5)
    assert result.score == pytest.approx(result.crowding * result.overlap, rel=1e-9)


def test_tiles_and_density_change_nothing(monkeypatch):
    codes, decoder = random_case()
    scaled, unit = scale_codes(sparse.csr_matrix(codes), decoder)
    whole, mean_overlap = interference(scaled, unit), overlaps([scaled, scaled[:20]], unit)
    monkeypatch.setattr(_interference, "TILE_ENTRIES", 4 * len(unit))
    monkeypatch.setattr(_interference, "_DENSE", 1.0)
    tiled = interference(scaled, unit)
    assert tiled.score == pytest.approx(whole.score, rel=1e-6)
    assert tiled.coactivation_squares == pytest.approx(whole.coactivation_squares, rel=1e-9)
    np.testing.assert_allclose(tiled.per_feature, whole.per_feature, rtol=1e-5)
    np.testing.assert_allclose(overlaps([scaled, scaled[:20]], unit, max_entries=1), mean_overlap, rtol=1e-6)
    assert mean_overlap[0] == pytest.approx(whole.overlap, rel=1e-6)


def test_the_score_is_the_energy_weighted_mean_of_features():
    codes, decoder = random_case()
    scaled, unit = scale_codes(sparse.csr_matrix(codes), decoder)
    result = interference(scaled, unit)
    energies = np.asarray(scaled.power(2).sum(0)).ravel()
    assert energies @ result.per_feature / energies.sum() == pytest.approx(result.score)


def test_two_features_at_an_angle_have_a_closed_form():
    # both always active with equal strength: sum_{i != j} y_i y_j cos^2 / sum y_i^2 = cos^2
    for angle in (0.0, 0.4, np.pi / 2):
        decoder = np.array([[1.0, 0.0], [np.cos(angle), np.sin(angle)]])
        scaled, unit = scale_codes(sparse.csr_matrix(np.ones((5, 2))), decoder)
        assert interference(scaled, unit).score == pytest.approx(np.cos(angle) ** 2, abs=1e-7)
        np.testing.assert_allclose(cell_interference(scaled, unit), np.cos(angle), atol=1e-7)


def test_features_that_never_meet_do_not_interfere():
    scaled, unit = scale_codes(sparse.csr_matrix(np.eye(2)), np.array([[1.0, 0.0], [1.0, 0.1]]))
    result = interference(scaled, unit)
    assert result.score == 0
    assert result.overlap == 0


def test_cells_equal_the_signed_double_sum_and_empty_cells_are_zero():
    codes, decoder = random_case()
    codes[3] = 0
    scaled, unit = scale_codes(sparse.csr_matrix(codes), decoder)
    gram = decoder @ decoder.T
    off, own = gram - np.diag(np.diag(gram)), np.diag(gram)
    energy = codes**2 @ own
    expected = np.einsum("ci,ij,cj->c", codes, off, codes) / np.where(energy > 0, energy, 1)
    np.testing.assert_allclose(cell_interference(scaled, unit), expected, atol=1e-6)
    assert cell_interference(scaled, unit)[3] == 0
    assert expected.min() < 0 < expected.max()


def test_zero_rows_of_the_decoder_are_silent():
    codes, decoder = random_case()
    decoder[2] = 0
    scaled, unit = scale_codes(sparse.csr_matrix(codes), decoder)
    keep = np.arange(len(decoder)) != 2
    assert interference(scaled, unit).score == pytest.approx(brute_force(codes[:, keep], decoder[keep]), rel=1e-5)


def polygon(n):
    angles = 2 * np.pi * np.arange(n) / n
    return np.stack([np.cos(angles), np.sin(angles)], 1)


def antiprism():
    """Square antiprism of the height at which its corners are a tight frame."""
    turn = np.array([[1.0, -1.0], [1.0, 1.0]]) / np.sqrt(2)
    squares = np.concatenate([polygon(4), polygon(4) @ turn]) * np.sqrt(2 / 3)
    return np.concatenate([squares, np.sqrt(1 / 3) * np.repeat([[1.0], [-1.0]], 4, axis=0)], 1)


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        (np.eye(4), 1.0),
        (np.array([[1.0], [-1.0]]), 1 / 2),
        (polygon(3), 2 / 3),
        (np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]]) / np.sqrt(3), 3 / 4),
        (polygon(5), 2 / 5),
        (antiprism(), 3 / 8),
    ],
)
def test_dimensionality_of_the_toy_geometries(rows, expected):
    result = dictionary_geometry(rows.astype(np.float32))
    np.testing.assert_allclose(result.dimensionality, expected, atol=1e-6)
    # all of these are tight frames: FP = n^2 / d
    assert result.frame_potential == pytest.approx(len(rows) ** 2 / rows.shape[1], rel=1e-6)


def test_welch_bound_is_met_by_the_simplex_and_not_by_the_pentagon():
    assert welch_bound(4, 3) == pytest.approx(1 / 3)
    tetrahedron = np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]], dtype=np.float32) / np.float32(3**0.5)
    assert dictionary_geometry(tetrahedron).max_cosine.max() == pytest.approx(1 / 3, rel=1e-6)
    assert dictionary_geometry(polygon(5).astype(np.float32)).max_cosine.max() == pytest.approx(0.809, abs=1e-3)
    assert welch_bound(5, 2) == pytest.approx(0.612, abs=1e-3)
    assert welch_bound(3, 3) == 0


def test_random_references_match_random_dictionaries():
    rows = np.random.default_rng(0).normal(size=(1500, 32))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    geometry = dictionary_geometry(rows.astype(np.float32))
    assert geometry.mean_abs_cosine == pytest.approx(random_abs_cosine(32), rel=0.01)
    assert random_abs_cosine(32) == pytest.approx(np.sqrt(2 / (np.pi * 32)), rel=0.01)
    assert geometry.rms_cosine == pytest.approx(32**-0.5, rel=0.01)


def test_splitting_a_feature_is_undone_by_merging_duplicates():
    codes, decoder = random_case()
    scaled, unit = scale_codes(sparse.csr_matrix(codes), decoder)
    whole = interference(scaled, unit).score
    split = np.concatenate([codes, 0.3 * codes[:, [4]]], 1)
    split[:, 4] *= 0.7
    scaled, unit = scale_codes(sparse.csr_matrix(split), np.concatenate([decoder, decoder[[4]]]))
    geometry = dictionary_geometry(unit)
    assert list(np.flatnonzero(geometry.duplicate)) == [4, 15]
    assert interference(scaled, unit).score > whole
    assert interference(*merge_duplicates(scaled, unit, geometry.duplicate_group)).score == pytest.approx(
        whole, rel=1e-5
    )


def test_opposite_directions_are_no_duplicates():
    geometry = dictionary_geometry(np.array([[1.0, 0.0], [-1.0, 0.0]], dtype=np.float32))
    assert not geometry.duplicate.any()
    np.testing.assert_allclose(geometry.max_cosine, 1)
