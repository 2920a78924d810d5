from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score

from saescape.links._modules import gene_modules


@pytest.fixture
def planted():
    rng = np.random.default_rng(0)
    truth = np.repeat([0, 1, 2], [20, 12, 8])
    centres = rng.normal(size=(3, 30))
    # genes of a module differ in how strongly they are linked
    profiles = centres[truth] * rng.uniform(0.5, 3, size=(40, 1)) + 0.3 * rng.normal(size=(40, 30))
    order = rng.permutation(40)
    return profiles[order], truth[order]


def test_planted_modules_are_found_and_ordered_by_size(planted):
    profiles, truth = planted
    label = gene_modules(profiles, None)
    assert adjusted_rand_score(truth, label) == 1
    np.testing.assert_array_equal(np.bincount(label), [20, 12, 8])


def test_number_of_modules_is_taken(planted):
    profiles, _ = planted
    assert len(np.unique(gene_modules(profiles, 5))) == 5
    assert len(np.unique(gene_modules(profiles, 1))) == 1
    assert len(np.unique(gene_modules(profiles[:4], 10))) == 4


@pytest.mark.parametrize("n", [1, 2])
def test_few_genes_are_one_module(n, planted):
    np.testing.assert_array_equal(gene_modules(planted[0][:n], None), np.zeros(n))


def test_missing_links_count_as_none(planted):
    profiles, _ = planted
    profiles = profiles.copy()
    profiles[0, 0] = np.nan
    assert len(gene_modules(profiles, None)) == 40
