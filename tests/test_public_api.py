"""The public surface: names, signatures, lazy imports, documentation of every name."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

import saescape as sae

ROOT = Path(__file__).parents[1]

# a snapshot: a change here is a change of the public API and belongs into the CHANGELOG
PUBLIC = {
    "datasets": [
        "blood_smear",
        "neurons",
        "nf1_cell_painting",
        "paired",
        "pbmc_halves",
        "programs",
        "superposition",
        "visium_brain_crop",
    ],
    "get": [
        "coupling_df",
        "crops",
        "feature_concepts_df",
        "feature_enrichment_df",
        "feature_genes_df",
        "features",
        "gw_expression",
        "gw_links_df",
        "sae",
    ],
    "metrics": [
        "cka",
        "dead_fraction",
        "effective_rank",
        "foscttm",
        "fvu",
        "knn_recall",
        "l0",
        "label_entropy",
        "label_purity",
        "label_transfer_accuracy",
        "local_sd_ratio",
        "mcc",
        "mmcs",
        "monosemanticity",
        "morans_i",
        "participation_ratio",
        "pw_mcc",
        "r2_linear",
        "two_afc",
    ],
    "models": ["ContrastiveEncoder", "ImageEncoder", "SparseAutoencoder"],
    "pl": [
        "feature_maps",
        "feature_report",
        "features",
        "gw_coupling",
        "gw_links",
        "gw_nulls",
        "gw_sankey",
        "qc",
        "representations",
        "sae_sweep",
        "superposition",
        "top_crops",
        "training",
        "volcano",
    ],
    "pp": ["image_qc", "image_to_adata"],
    "tl": [
        "compare_representations",
        "feature_concepts",
        "feature_describe",
        "feature_enrichment",
        "feature_genes",
        "feature_maps",
        "feature_match",
        "feature_modules",
        "feature_scores",
        "feature_stability",
        "gw_links",
        "gw_map",
        "gw_transfer",
        "sae_fit",
        "sae_sweep",
        "sae_transform",
        "steer",
        "superposition_score",
    ],
}
FUNCTIONS = [(module, name) for module, names in PUBLIC.items() for name in names]
SHELLS = [(module, name) for module, name in FUNCTIONS if module in {"tl", "pl", "pp", "get"}]


def public(module: str, name: str):
    return getattr(getattr(sae, module), name)


@pytest.mark.parametrize("module", PUBLIC)
def test_snapshot_of_names(module):
    assert sorted(getattr(sae, module).__all__) == PUBLIC[module]


def test_nothing_else_at_the_top():
    assert sorted(sae.__all__) == sorted(PUBLIC)


@pytest.mark.parametrize(("module", "name"), FUNCTIONS)
def test_one_public_name_per_file(module, name):
    source = Path(inspect.getsourcefile(public(module, name)))
    stem = re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()
    assert source.stem == f"_{stem}"
    assert source.parent.name == module


@pytest.mark.parametrize(("module", "name"), SHELLS)
def test_conventions_of_signatures(module, name):
    parameters = list(inspect.signature(public(module, name)).parameters.values())
    positional = [p for p in parameters if p.kind in {p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD}]
    if module != "pp":
        assert parameters[0].name == "adata"
    # two objects with one column each are the exception
    assert len(positional) <= (4 if name in {"coupling_df", "gw_coupling"} else 3)
    for parameter in parameters:
        assert parameter.annotation is not parameter.empty, parameter.name
        if isinstance(parameter.default, bool):
            assert parameter.kind is parameter.KEYWORD_ONLY, parameter.name
    names = {p.name: p for p in parameters}
    if "copy" in names:
        assert names["copy"].default is False
        assert inspect.signature(public(module, name)).return_annotation == "AnnData | None"
    if "rng" in names:
        assert names["rng"].default == 0
    if "device" in names:
        assert names["device"].default is None
    if "show_progress_bar" in names and module != "models":
        assert names["show_progress_bar"].default is True
    # a report is a file, not a figure
    if module == "pl" and name != "feature_report":
        assert names["show"].default is None
    # scanpy's and the field's names for common ideas, never another one
    assert not {"seed", "random_state", "inplace", "n_jobs", "verbose", "save", "embedding", "key_name"} & set(names)


@pytest.mark.parametrize(("module", "name"), FUNCTIONS)
def test_docstrings_describe_every_parameter(module, name):
    function = public(module, name)
    doc = inspect.getdoc(function)
    assert re.search(r"^Examples\n-+$", doc, re.MULTILINE), "no Examples section"
    parameters = inspect.signature(function).parameters
    for parameter in parameters:
        assert re.search(rf"^(\w+, )*\*{{0,2}}{parameter}(, \w+)*$", doc, re.MULTILINE), (
            f"{module}.{name}: `{parameter}` is not described, or with a type (types belong into annotations)"
        )
    if inspect.isfunction(function):
        assert re.search(r"^Returns\n-+$", doc, re.MULTILINE), "no Returns section"


@pytest.mark.parametrize(("module", "name"), FUNCTIONS)
def test_every_name_has_an_api_page_entry(module, name):
    page = (ROOT / "docs" / "api" / f"{module}.md").read_text()
    assert f"    {module}.{name}\n" in page


def test_import_is_light():
    code = (
        "import sys, saescape; "
        "heavy = {'torch', 'ot', 'skimage', 'spatialdata', 'squidpy', 'tifffile'} & set(sys.modules); "
        "sys.exit(f'imported: {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_modules_are_short():
    lengths = {path: len(path.read_text().splitlines()) for path in (ROOT / "src").rglob("*.py")}
    assert max(lengths.values()) <= 400, max(lengths, key=lengths.get)
    assert sorted(lengths.values())[len(lengths) // 2] < 150
