from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from saescape.models._contrastive_input import Design

PLATES = ["p0", "p0", "p1", "p0", None, "p2"]
CONDITIONS = ["a", "a", "a", "b", "b", "b"]


@pytest.mark.parametrize(
    "groups",
    [
        pd.DataFrame({"condition": CONDITIONS, "plate": PLATES}, index=list("uvwxyz")),
        {"condition": CONDITIONS, "plate": PLATES},
        np.array([CONDITIONS, PLATES], dtype=object).T,
        [CONDITIONS, PLATES],
    ],
)
def test_every_form_of_groups_is_the_same(groups):
    design = Design.of(None, groups, 6)
    assert design.groups[0].tolist() == [0, 0, 0, 1, 1, 1]
    assert design.groups[1].tolist() == [0, 0, 1, 0, -1, 2]
    assert design.digest() == Design.of(None, {"c": CONDITIONS, "p": PLATES}, 6).digest()


def test_table_has_names_shares_and_what_was_drawn():
    table = Design.of(None, {"condition": CONDITIONS, "plate": PLATES}, 6).table(np.array([1, 0, 1, 1, 1, 0], bool))
    rows = {(r.condition, r.plate): (r.n_crops, r.share_of_draws, r.n_drawn) for r in table.itertuples()}
    # two plates under a, three under b (one without a name): a plate is one of its condition only
    assert rows.pop(("a", "p0")) == (2, 0.25, 1)
    assert rows.pop(("a", "p1")) == (1, 0.25, 1)
    assert rows.pop(("b", "p0")) == (1, pytest.approx(1 / 6), 1)
    assert sorted(value[2] for value in rows.values()) == [0, 1]
    assert table["share_of_draws"].sum() == pytest.approx(1)


def test_missing_labels_are_negative_and_names_do_not_collide():
    design = Design.of(["x", None, "y"], {"label": ["q", "q", "r"]}, 3)
    assert design.labels.tolist() == [0, -1, 1]
    assert list(design.values) == ["label", "groups_label"]
    assert Design.of(None, None, 3).table(np.ones(3, bool)) is None


def test_digest_tells_labels_from_groups():
    assert Design.of(["x", "y"], None, 2).digest() != Design.of(None, [["x", "y"]], 2).digest()
