from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from saescape.imaging._field_obs import add_field_obs, check_obs, rows_of_fields


def test_both_forms_give_the_same_rows():
    table = pd.DataFrame({"plate": ["p1", "p2"], "dose": [1, 2], "viability": [0.5, 0.25]}, index=["w/1", "w2"])
    rows = {"w/1": {"plate": "p1", "dose": 1, "viability": 0.5}, "w2": {"plate": "p2", "dose": 2, "viability": 0.25}}
    expected = [rows["w2"], rows["w/1"]]
    for given in (table, rows):
        assert rows_of_fields(check_obs(given), ["w2", "w_1"]) == expected
    obs = pd.DataFrame({"area": [1, 2, 3]}, index=list("abc"))
    found = add_field_obs(obs, expected, np.array([0, 0, 1]))
    assert found["plate"].tolist() == ["p2", "p2", "p1"]
    assert found["plate"].dtype == "category"
    assert found["dose"].dtype == np.int64
    assert found.index.tolist() == list("abc")
    assert add_field_obs(obs, [{}, {}], np.array([0, 0, 1])) is obs


@pytest.mark.parametrize(
    ("given", "error", "match"),
    [
        (["a"], TypeError, "must be a DataFrame indexed by field"),
        ({"a": 3}, TypeError, "mapping from field to a dict"),
        (pd.DataFrame({"x": [1, 2]}, index=["a", "a"]), ValueError, r"has fields twice: \['a'\]"),
        (pd.DataFrame({"area": [1], "qc_pass": [1]}, index=["a"]), ValueError, r"\['area', 'qc_pass'\] are columns"),
    ],
)
def test_bad_tables(given, error, match):
    with pytest.raises(error, match=match):
        check_obs(given)


def test_columns_of_compartments_are_taken():
    given = {"a": {"n_nucleus": 1, "n_cells": 2}}
    assert list(check_obs(given).columns) == ["n_nucleus", "n_cells"]
    with pytest.raises(ValueError, match=r"`obs`: \['n_nucleus'\] are columns of the result"):
        check_obs(given, ["nucleus"])


def test_fields_without_row():
    with pytest.raises(ValueError, match=r"no row for 1 of 2 fields: \['b'\].*begins with \['a', 'c'\]"):
        rows_of_fields(check_obs({"a": {"x": 1}, "c": {"x": 2}}), ["a", "b"])
