from __future__ import annotations

import pandas as pd
import pytest

from saescape.genesets._read import in_universe, read_net

SETS = {"glycolysis": ["HK1", "PKM"], "hypoxia": ["VEGFA", "HK1", "EPO"]}


def test_all_forms_are_read_alike(tmp_path):
    path = tmp_path / "sets.gmt"
    path.write_text("".join(f"{name}\thttps://example.org\t" + "\t".join(g) + "\n" for name, g in SETS.items()) + "\n")
    table = pd.DataFrame([(name, gene) for name, g in SETS.items() for gene in g], columns=["source", "target"])
    table["weight"] = 1.0
    assert read_net(SETS) == read_net(str(path)) == read_net(path) == read_net(table) == SETS


def test_genes_count_once_and_empty_sets_are_left_out():
    assert read_net({"a": ["X", "Y", "X"], "b": []}) == {"a": ["X", "Y"]}
    table = pd.DataFrame({"source": pd.Categorical(["a", "a"], ["a", "unused"]), "target": ["X", None]})
    assert read_net(table) == {"a": ["X"]}


@pytest.mark.parametrize(
    ("net", "error", "message"),
    [
        (3, TypeError, "path of a GMT file, a dict"),
        ({"a": "HK1"}, TypeError, "several genes, found the text 'HK1'"),
        ({}, ValueError, "has no gene set"),
        ({"a": []}, ValueError, "has no gene set"),
        (pd.DataFrame({"set": ["a"], "gene": ["b"]}), ValueError, "columns 'source' .* found \\['set', 'gene'\\]"),
        ("missing.gmt", FileNotFoundError, "no file 'missing.gmt'"),
    ],
)
def test_bad_nets(net, error, message):
    with pytest.raises(error, match=message):
        read_net(net)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a\tHK1\n", "line 1 of .* is no GMT"),
        ("a\t\tHK1\na\t\tPKM\n", "has the set 'a' twice"),
        ("", "has no gene set"),
    ],
)
def test_bad_files(tmp_path, text, message):
    path = tmp_path / "bad.gmt"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        read_net(path)


def test_universe_restricts_sets():
    assert in_universe(SETS, ["HK1", "ACTB"]) == {"glycolysis": ["HK1"], "hypoxia": ["HK1"]}
    assert in_universe(SETS, ["EPO"]) == {"hypoxia": ["EPO"]}


def test_other_naming_is_an_error_that_shows_both():
    with pytest.raises(ValueError, match=r"none of its 4 genes .* \['HK1', 'PKM', 'VEGFA'\] and \['ENSG1'\]\.$"):
        in_universe(SETS, ["ENSG1"])
    with pytest.raises(ValueError, match="2 agree when upper and lower case are taken as equal"):
        in_universe(SETS, ["Hk1", "Pkm", "Actb"])
