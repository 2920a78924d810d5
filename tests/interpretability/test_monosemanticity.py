from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse

import saescape as sae
from saescape.interpretability._monosemanticity import unit_interval, within_label_similarity
from saescape.interpretability._scores import dimension_codes


def test_closed_form_is_the_sum_over_pairs():
    rng = np.random.default_rng(0)
    codes = rng.exponential(size=(40, 5)) * (rng.random((40, 5)) < [0.1, 0.3, 0.6, 1, 1])
    codes[:, 4] += 2
    embedding = rng.normal(size=(40, 7))
    unit = embedding / np.linalg.norm(embedding, axis=1, keepdims=True)
    weight = (codes - codes.min(0)) / (codes.max(0) - codes.min(0))
    upper = np.triu_indices(40, 1)
    cosine = (unit @ unit.T)[upper]
    expected = []
    for a in weight.T:
        pair = np.outer(a, a)[upper]
        expected.append(pair @ cosine / pair.sum())
    for given in (codes, sparse.csr_matrix(codes), sparse.csc_matrix(codes)):
        np.testing.assert_allclose(sae.metrics.monosemanticity(given, embedding), expected, atol=1e-12)


def test_few_types_score_higher_than_many(twenty_classes):
    label, embedding = twenty_classes
    rng = np.random.default_rng(1)
    size = rng.exponential(size=len(label)) + 0.1
    codes = np.column_stack(
        [
            size * (label == 0),
            size * (label < 5),
            size * (label < 10),
            size * (rng.random(len(label)) < 0.05),
            rng.random(len(label)) + 1,
        ]
    )
    one, five, ten, sparse_noise, dense = sae.metrics.monosemanticity(codes, embedding)
    chance = sae.metrics.monosemanticity(np.ones((len(label), 2)) * [[1], *[[2]] * (len(label) - 1)], embedding)[0]
    assert one > 3 * five > 3 * 1.5 * ten
    assert ten > dense
    np.testing.assert_allclose([sparse_noise, dense], chance, atol=0.02)
    afc = sae.metrics.two_afc(codes, embedding, n_trials=200)
    assert afc[0] == 1
    assert ((afc[1:3] > 0.7) & (afc[1:3] < 0.97)).all()
    assert abs(afc[3] - 0.5) < 0.12
    assert np.isnan(afc[4])


@pytest.fixture
def twenty_classes():
    """Twenty classes whose cells have cosines of about .6 with each other."""
    rng = np.random.default_rng(0)
    label = rng.integers(0, 20, 3_000)
    return label, rng.normal(size=(20, 32))[label] + 0.8 * rng.normal(size=(3_000, 32))


def test_constant_and_single_cells_have_no_score():
    codes = np.zeros((5, 4))
    codes[0, 1], codes[:, 2], codes[:2, 3] = 1, 3, 1
    score = sae.metrics.monosemanticity(codes, np.eye(5) + 0.1)
    np.testing.assert_array_equal(np.isnan(score), [True, True, True, False])


def test_scaling_features_changes_nothing():
    rng = np.random.default_rng(0)
    codes, embedding = rng.exponential(size=(30, 3)) * (rng.random((30, 3)) < 0.5), rng.normal(size=(30, 4))
    scaled = unit_interval(sparse.csr_matrix(codes * [1, 10, 0.1]))
    assert scaled.max() == pytest.approx(1)
    for metric in (sae.metrics.monosemanticity, lambda c, e: sae.metrics.label_entropy(c, e[:, 0] > 0)):
        np.testing.assert_allclose(metric(codes * [1, 10, 0.1], embedding), metric(codes, embedding))


def test_entropy_and_purity_in_closed_form():
    label = np.repeat(["a", "b", "c", "d"], 10)
    codes = np.column_stack([label == "a", np.ones(40), 3.0 * (label == "a") + (label == "b"), np.zeros(40)])
    np.testing.assert_allclose(
        sae.metrics.label_entropy(codes, label),
        [0, np.log(4), -0.75 * np.log(0.75) - 0.25 * np.log(0.25), np.nan],
        atol=1e-12,
    )
    np.testing.assert_allclose(sae.metrics.label_purity(codes, label), [1, 0.25, 0.75, np.nan])


def test_ceiling_is_the_mean_cosine_within_labels(twenty_classes):
    label, embedding = twenty_classes
    unit = embedding / np.linalg.norm(embedding, axis=1, keepdims=True)
    inside = unit[label == 3]
    expected = (inside @ inside.T)[np.triu_indices(len(inside), 1)].mean()
    assert within_label_similarity(label, unit, 20)[3] == pytest.approx(expected)


def test_dimensions_are_as_active_as_asked():
    rows = np.random.default_rng(0).normal(size=(1_000, 3)) + 100
    codes = dimension_codes(rows, 0.1)
    np.testing.assert_allclose(codes.getnnz(0), 100, atol=1)
    top = codes[:, 0].toarray().ravel() > 0
    assert rows[top, 0].min() > rows[~top, 0].max()
    assert (rows[codes[:, 4].toarray().ravel() > 0, 1] < 99).all()


@pytest.mark.parametrize(
    ("codes", "message"),
    [
        (-np.ones((4, 2)), "must not be negative, found 8"),
        (np.ones((3, 2)), "same rows, found 3 and 4"),
        (np.full((4, 2), np.nan), "non-finite"),
        (np.ones(4), "2-D and not empty"),
    ],
)
def test_bad_codes(codes, message):
    with pytest.raises(ValueError, match=message):
        sae.metrics.monosemanticity(codes, np.eye(4))
    with pytest.raises(ValueError, match=message):
        sae.metrics.two_afc(codes, np.eye(4))


def test_bad_labels():
    with pytest.raises(ValueError, match="one entry per row of `codes`"):
        sae.metrics.label_entropy(np.ones((3, 1)), ["a"])
    with pytest.raises(ValueError, match="missing for 1 rows"):
        sae.metrics.label_purity(np.ones((2, 1)), ["a", None])
