from __future__ import annotations

import pytest

from saescape.imaging.reading._folder import find_fields

PHENIX = [
    f"r01c{c:02}f{f:02}p{p:02}-ch{ch}sk1fk1fl1.tiff" for c in (2, 10) for f in (1,) for p in (1, 2) for ch in (1, 3)
]
CYTATION = ["B7_01_1_3_DAPI_001.tif", "B7_01_2_3_GFP_001.tif", "D10_01_1_1_DAPI_001.tif", "D10_01_2_1_GFP_001.tif"]
IXM = ["plate_7_A01_s1_w1DE78B1F0-54E2-4.tif", "plate_7_A01_s1_w2D0.tif", "plate_8_A01_s1_w1A.tif"]
CELLVOYAGER = ["AA00_C03_T0001F001L01A01Z01C01.tif", "AA00_C03_T0001F001L01A01Z02C01.tif"]


@pytest.fixture
def folder(tmp_path):
    def make(names):
        for name in names:
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).touch()
        return tmp_path

    return make


def files(fields):
    return {one.name: {c: [p.name for p in planes] for c, planes in one.channels.items()} for one in fields}


def test_phenix(folder):
    fields = find_fields(folder([*PHENIX, "Index.idx.xml", "notes.txt"]), "phenix", "pattern")
    assert [one.name for one in fields] == ["r01c02_f01", "r01c10_f01"]
    assert fields[0].groups == {"well": "r01c02", "site": "f01"}
    assert files(fields)["r01c10_f01"] == {
        "ch1": ["r01c10f01p01-ch1sk1fk1fl1.tiff", "r01c10f01p02-ch1sk1fk1fl1.tiff"],
        "ch3": ["r01c10f01p01-ch3sk1fk1fl1.tiff", "r01c10f01p02-ch3sk1fk1fl1.tiff"],
    }


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (CYTATION, {"B7_3": ["DAPI", "GFP"], "D10_1": ["DAPI", "GFP"]}),
        (IXM, {"plate_7_A01_1": ["w1", "w2"], "plate_8_A01_1": ["w1"]}),
        (CELLVOYAGER, {"AA00_C03_001": ["01"]}),
        (PHENIX[:4], {"r01c02_f01": ["ch1", "ch3"]}),
    ],
)
def test_cell_painting(folder, names, expected):
    fields = find_fields(folder(names), "cell_painting", "pattern")
    assert {one.name: list(one.channels) for one in fields} == expected


def test_own_patterns(folder):
    at = folder(["a/A1-c10.png", "a/A1-c2.png", "b/A1-c2.png", "b/A1-c10.png", "b/ignored.png"])
    fields = find_fields(at, r"(?P<plate>\w)/(?P<well>\w\d)-(?P<channel>c\d+)\.png", "pattern")
    assert [one.name for one in fields] == ["a_A1", "b_A1"]
    assert [list(one.channels) for one in fields] == [["c2", "c10"]] * 2
    assert fields[1].groups == {"plate": "b", "well": "A1"}


def test_names_tell_groups_apart(folder):
    at = folder(["a_b-c-1.tif", "a-b_c-2.tif"])
    with pytest.raises(ValueError, match="give the same name 'a_b_c'; change the pattern"):
        find_fields(at, r"(?P<plate>[\w]+)-(?P<well>\w+)-(?P<channel>\d)\.tif", "pattern")


def test_a_file_is_a_field(folder):
    fields = find_fields(folder(["b.tif", "a.ome.tif", "c.10.png", "x.csv"]), None, "pattern")
    assert files(fields) == {"a": {None: ["a.ome.tif"]}, "b": {None: ["b.tif"]}, "c.10": {None: ["c.10.png"]}}


@pytest.mark.parametrize(
    ("pattern", "error", "match"),
    [
        ("(?P<well>", ValueError, r"is no regular expression .*nor one of \['phenix', 'cell_painting'\]"),
        ("fenix", ValueError, "needs named groups"),
        (r".*(?P<channel>ch\d).*", ValueError, "needs named groups that tell the fields apart"),
        (r"(?P<well>x)\.tif", ValueError, r"fits none of the 8 image files of .*e.g. \['r01c02f01p01-ch1sk1fk1fl1"),
        (
            r"(?P<well>r\d+c\d+).*",
            ValueError,
            r"'r01c02f01p01-ch1sk1fk1fl1.tiff' and .* are both channel None of field",
        ),
        (3, TypeError, "must be a regular expression"),
    ],
)
def test_errors(folder, pattern, error, match):
    with pytest.raises(error, match=match):
        find_fields(folder(PHENIX), pattern, "pattern")
