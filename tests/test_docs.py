"""The pages that are written by hand agree with the code."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

import saescape as sae

if TYPE_CHECKING:
    import anndata as ad

ROOT = Path(__file__).parents[1]


def written_slots(adata: ad.AnnData, before: set[str]) -> set[str]:
    return slots(adata) - before


def slots(adata: ad.AnnData) -> set[str]:
    found = {f"obs[{key!r}]" for key in adata.obs} | {f"var[{key!r}]" for key in adata.var}
    for attr in ("obsm", "varm", "uns", "layers", "obsp", "varp"):
        found |= {f"{attr}[{key!r}]" for key in getattr(adata, attr)}
    return {slot.replace("'", '"') for slot in found}


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(
    "tool",
    [
        "sae_fit",
        "sae_sweep",
        "sae_transform",
        "superposition_score",
        "compare_representations",
        "gw_map",
        "gw_transfer",
        "gw_links",
        "feature_genes",
        "feature_enrichment",
        "feature_concepts",
        "feature_match",
        "feature_stability",
        "feature_modules",
        "feature_scores",
        "steer",
    ],
)
def test_written_slots_are_those_in_docstring_and_outputs_page(tool, pbmc):
    reference = pbmc[::2].copy()
    if tool not in {"sae_fit", "sae_sweep"}:
        sae.tl.sae_fit(pbmc, 64, use_rep="X_pca", max_epochs=2, show_progress_bar=False)
    target = pbmc
    if tool == "sae_transform":
        target = reference
    before = slots(target)
    match tool:
        case "sae_fit":
            sae.tl.sae_fit(target, 64, use_rep="X_pca", max_epochs=2, show_progress_bar=False)
        case "sae_sweep":
            quick = {"n_seeds": 2, "n_nulls": 0, "max_epochs": 2, "show_progress_bar": False}
            sae.tl.sae_sweep(target, k=2, n_features=32, use_rep="X_pca", **quick)
        case "sae_transform":
            sae.tl.sae_transform(target, pbmc)
        case "superposition_score":
            sae.tl.superposition_score(target, n_pairs=500, n_perms=5, n_refits=1)
        case "compare_representations":
            quick = {"n_neighbors": 5, "n_perms": 5, "baselines": False, "show_progress_bar": False}
            sae.tl.compare_representations(target, ["X_pca", "X_sae"], "n_genes", **quick)
        case "gw_map":
            small, other = pbmc[:60].copy(), reference[:50].copy()
            target, before = small, slots(small)
            sae.tl.gw_map(small, other, obs="bulk_labels", n_starts=2, n_nulls=2, show_progress_bar=False)
        case "gw_transfer":
            target, other = pbmc[:60].copy(), reference[:50].copy()
            sae.tl.gw_map(target, other, n_starts=2, n_nulls=0, show_progress_bar=False)
            before = slots(target)
            sae.tl.gw_transfer(target, other, obs="bulk_labels", var_names="CD79A", obsm="X_umap")
        case "gw_links":
            target, other = pbmc[:60].copy(), reference[:50].copy()
            sae.tl.gw_map(target, other, n_starts=2, n_nulls=0, show_progress_bar=False)
            target.obs["donor"], before = np.arange(60) % 3, slots(target) | {'obs["donor"]'}
            net = {"B cells": other.var_names[:8]}
            sae.tl.gw_links(target, other, net=net, batch_key="donor", n_nulls=5, show_progress_bar=False)
        case "feature_genes":
            sae.tl.feature_genes(target, use_raw=True)
        case "feature_enrichment":
            sae.tl.feature_genes(target, model=True)
            before = slots(target)
            sae.tl.feature_enrichment(target, {"B cells": target.var_names[:40]})
        case "feature_concepts":
            sae.tl.feature_concepts(target, "bulk_labels", n_perms=19)
        case "feature_match":
            sae.tl.feature_match(target, target)
        case "feature_stability":
            sae.tl.feature_stability(target, n_seeds=1, n_nulls=2, max_epochs=2, show_progress_bar=False)
        case "feature_modules":
            sae.tl.feature_modules(target)
        case "feature_scores":
            target.obsm["markers"] = target.X[:, :10]
            before = slots(target)
            sae.tl.feature_scores(target, use_rep="markers", groupby="bulk_labels")
        case "steer":
            sae.tl.steer(target, 0, 2, groupby="bulk_labels")
            sae.tl.sae_fit(target, 32, key_added="x", max_epochs=1, show_progress_bar=False)
            before |= slots(target) - {'obsm["X_steered"]', 'uns["steer"]'}
            sae.tl.steer(target, 0, 2, key="x")
    new = written_slots(target, before)
    assert new
    documented = (ROOT / "docs" / "outputs.md").read_text()
    # `['X_sae' | key_added]` in docstrings stands for the default and the explicit name
    docstring = re.sub(r'"\s*\|[^\]]*\]', '"]', getattr(sae.tl, tool).__doc__.replace("'", '"'))
    for name, value in (("column", "bulk_labels"), ("name", "X_umap")):
        documented, docstring = (re.sub(rf"\{{+{name}\}}+", value, text) for text in (documented, docstring))
    results = [target.uns[slot.split('"')[1]] for slot in new if slot.startswith("uns") and "_colors" not in slot]
    for key in {key for result in results for key in result}:
        assert f"`{key}`" in documented, f"outputs.md does not name {key!r}"
    for slot in new:
        assert slot in documented, f"outputs.md does not list {slot}"
        assert slot in docstring, f"the docstring of tl.{tool} does not list {slot}"


def test_readme_prints_the_two_commands():
    readme = (ROOT / "README.md").read_text()
    block = readme.split("<!-- commands -->")[1].split("<!-- end commands -->")[0]
    commands = re.findall(r"^python -m pip .*$", block, re.MULTILINE)
    assert len(commands) == 2
    assert "quickstart.ipynb" in commands[0]
    assert "pytest" in commands[1]


@pytest.mark.filterwarnings("ignore")
def test_readme_example_runs(tmp_path, monkeypatch):
    # the report of the example is written here
    monkeypatch.chdir(tmp_path)
    code = (ROOT / "README.md").read_text().split("```python\n")[1].split("```")[0]
    fields = sae.datasets.nf1_cell_painting()
    _, adata_rna = sae.datasets.paired(40, 40)
    namespace = {"images": fields.images, "masks": fields.labels, "adata_rna": adata_rna}
    quick = code.replace('use_rep="tokens")', 'use_rep="tokens", max_epochs=2)')
    quick = quick.replace('obs="cell_type")', 'obs="cell_type", n_nulls=2, n_starts=2)')
    assert quick.count("max_epochs") == quick.count("n_nulls") == 1
    exec(quick, namespace)
    assert namespace["adata"].obs["gw_cell_type"].notna().all()
    assert "rank_genes_groups" in namespace["features"].uns
    assert (tmp_path / "features.html").stat().st_size > 10_000


def test_notebooks_are_committed_executed():
    import json

    for path in (ROOT / "notebooks").glob("*.ipynb"):
        cells = json.loads(path.read_text())["cells"]
        code = [cell for cell in cells if cell["cell_type"] == "code" and "".join(cell["source"]).strip()]
        counts = [cell["execution_count"] for cell in code]
        assert counts == list(np.arange(1, len(code) + 1)), f"{path.name} was not run from top to bottom"
        assert not any(output["output_type"] == "error" for cell in code for output in cell["outputs"])
