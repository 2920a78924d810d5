"""Lists of annotations."""

from __future__ import annotations

import numpy as np
import pandas as pd

from saescape.report._annotation import annotation_tables


def test_untested_rows_by_effect():
    table = pd.DataFrame({"feature": "a", "gene": list("xyz"), "effect": [1.0, -3.0, 2.0], "qvalue": np.nan})
    (found,) = annotation_tables({"Genes": table}, ["a", "b"])["a"]
    assert found["rows"] == [["z", 2.0], ["x", 1.0], ["y", -3.0]]
    assert found["first"] == "z"
    assert found["note"] == "Not tested."


def test_concepts_have_their_column_and_category():
    table = pd.DataFrame(
        {
            "feature": ["a", "a"],
            "obs_key": ["type", "age"],
            "category": ["B", None],
            "auc": [0.9, np.nan],
            "qvalue": 0.01,
        }
    )
    (found,) = annotation_tables({"x": table}, ["a"])["a"]
    assert found["heads"] == ["concept", "auc", "qvalue"]
    assert found["rows"] == [["type: B", 0.9, 0.01], ["age", None, 0.01]]


def test_features_without_rows_have_no_list():
    table = pd.DataFrame({"feature": ["a"], "gene": ["x"], "qvalue": [0.5]})
    found = annotation_tables({"Genes": table}, ["a", "b"])
    assert found["b"] == []
    assert found["a"][0]["rows"] == []


def test_what_is_higher_comes_first():
    table = pd.DataFrame(
        {
            "feature": list("aaab"),
            "gene": ["x", "y", "z", None],
            "effect": [-1, 2, 3, np.nan],
            "qvalue": [0.001, 0.01, 0.5, np.nan],
        }
    )
    found = annotation_tables({"Genes": table}, ["a", "b"])
    assert [row[0] for row in found["a"][0]["rows"]] == ["y", "x"]
    assert found["a"][0]["first"] == "y"
    # a feature that could not be tested
    assert (found["b"][0]["rows"], found["b"][0]["first"]) == ([], "")
    lower = table[table["gene"] == "x"]
    assert annotation_tables({"Genes": lower}, ["a"])["a"][0]["first"] == ""
