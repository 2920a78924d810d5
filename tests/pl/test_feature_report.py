"""The page about every feature, as a file and in a browser."""

from __future__ import annotations

import json
import re

import numpy as np
import pandas as pd
import pytest

import saescape as sae

from .browser import CHROMIUM, Browser

NASTY = "<script>alert(1)</script>"


@pytest.fixture(scope="module")
def cells(_pbmc):
    adata = _pbmc.copy()
    adata.obs["cell_type"] = adata.obs["bulk_labels"].cat.rename_categories({"CD34+": NASTY})
    sae.tl.sae_fit(adata, 40, use_rep="X_pca", max_epochs=4, show_progress_bar=False, device="cpu")
    table = adata.uns["sae"]["features"]
    table["description"] = [f"{NASTY} of {name}" for name in table.index]
    table["stable"] = np.arange(40) != 4
    adata.uns["sae_genes"] = pd.DataFrame(
        {
            "feature": np.repeat(table.index[:3], 20),
            "gene": [f"{NASTY}{i}" for i in range(60)],
            "qvalue": np.concatenate([np.tile(np.linspace(1, 0.01, 100)[-20:], 2), np.full(20, 0.6)]),
        }
    )
    return adata


@pytest.fixture(scope="module")
def page(cells, tmp_path_factory):
    path = tmp_path_factory.mktemp("report") / "features.html"
    assert sae.pl.feature_report(cells, path, groupby="cell_type", title=NASTY) == path
    return path


def data_of(path):
    text = path.read_text(encoding="utf-8")
    return json.loads(re.search(r'id="data">(.*?)</script>', text, re.DOTALL).group(1))


def test_numbers_are_those_of_the_codes(cells, page):
    data = data_of(page)
    codes = cells.obsm["X_sae"].toarray()
    assert [one["name"] for one in data["features"]] == [f"sae_{i}" for i in np.flatnonzero(codes.any(0))]
    for one in data["features"]:
        own = codes[:, int(one["name"][4:])]
        assert one["n_active"] == (own > 0).sum()
        best = cells.obs_names[np.argsort(-own, kind="stable")[:12]]
        assert [top["name"] for top in one["top"]] == list(best[: one["n_active"]])
        assert one["row"][1] == pytest.approx(100 * (own > 0).mean(), rel=1e-4)
    first = data["features"][0]["tables"][0]
    # those that are significant, the smallest first
    assert first["heads"] == ["gene", "qvalue"]
    assert [row[1] for row in first["rows"]] == pytest.approx([0.01, 0.02, 0.03, 0.04, 0.05], rel=1e-4)
    assert first["note"] == "5 of 20 with q ≤ 0.05."
    assert data["features"][2]["tables"][0]["rows"] == []
    assert data["features"][2]["tables"][0]["note"] == "None of 20 with q ≤ 0.05; the smallest q is 0.6."
    assert data["features"][4]["flags"] == ["unstable"]


@pytest.fixture
def browser(page, tmp_path):
    if CHROMIUM is None:
        pytest.skip("no Chromium here")
    opened = Browser(page.as_uri(), tmp_path)
    yield opened
    opened.close()


ROWS = "[...document.querySelectorAll('tbody tr td:first-child')].map(cell => cell.textContent)"


def test_in_a_browser(cells, browser):
    n_shown = browser.run(f"{ROWS}.length")
    assert n_shown == len(np.flatnonzero(cells.obsm["X_sae"].toarray().any(0)))
    # search
    browser.run("document.getElementById('search').focus()")
    browser.run(
        "(() => { const field = document.getElementById('search'); field.value = 'sae_3 unst'; "
        "field.dispatchEvent(new Event('input')); })()"
    )
    assert browser.run(f"{ROWS}.length") == 0
    browser.run(
        "(() => { const field = document.getElementById('search'); field.value = 'unstable'; "
        "field.dispatchEvent(new Event('input')); })()"
    )
    assert browser.run(ROWS) == ["sae_4"]
    assert "1 of" in browser.run("document.getElementById('count').textContent")
    browser.run(
        "(() => { const field = document.getElementById('search'); field.value = ''; "
        "field.dispatchEvent(new Event('input')); })()"
    )
    # sort, both ways
    shares = "[...document.querySelectorAll('tbody tr td:nth-child(2)')].map(cell => Number(cell.textContent))"
    browser.run("document.querySelectorAll('th button')[1].click()")
    assert browser.run("document.querySelectorAll('th')[1].getAttribute('aria-sort')") == "descending"
    found = browser.run(shares)
    assert found == sorted(found, reverse=True)
    browser.run("document.querySelectorAll('th button')[1].click()")
    found = browser.run(shares)
    assert found == sorted(found)
    # open one, turn the page, come back by the keyboard and by the button of the browser
    second = browser.run(f"{ROWS}[1]")
    browser.run("document.querySelector('tbody tr td a').click()")
    browser.wait("document.getElementById('heading') !== null")
    browser.press("ArrowRight")
    browser.wait(f"document.getElementById('heading').textContent === '{second}'")
    assert browser.run("document.activeElement.id") == "heading"
    assert NASTY in browser.run("document.querySelector('.lead').textContent")
    browser.press("Escape")
    browser.wait("document.getElementById('search') !== null")
    browser.run("history.back()")
    browser.wait(f"document.getElementById('heading')?.textContent === '{second}'")
    # names are text, nothing else ran, nothing was asked of a network
    assert browser.run("document.title").startswith(second)
    assert browser.run("document.querySelectorAll('script').length") == 3
    assert browser.run("document.querySelectorAll('main script').length") == 0
    assert browser.complaints() == []
    assert all(url.startswith("file:") for url in browser.requests())


def test_crops_and_maps(tmp_path):
    rng = np.random.default_rng(0)
    image = rng.poisson(100, (2, 128, 128)).astype(np.uint16)
    image[0, 40:56, 70:90] += 400
    adata = sae.pp.image_to_adata(
        image, tile_size=32, encoder="filters", tokens=True, show_progress_bar=False, device="cpu"
    )
    sae.tl.sae_fit(adata, 48, use_rep="tokens", k=2, max_epochs=3, show_progress_bar=False, device="cpu")
    path = sae.pl.feature_report(adata, tmp_path / "report.html", n_obs=3)
    text = path.read_text(encoding="utf-8")
    pictures = json.loads(re.search(r'id="pictures">(.*?)</script>', text, re.DOTALL).group(1))
    data = data_of(path)
    assert set(pictures) == {"crops", "maps"}
    for one in data["features"]:
        for sheets in pictures.values():
            assert sheets[one["name"]]["n"] == len(one["top"])
            assert sheets[one["name"]]["src"].startswith("data:image/jpeg;base64,")
    assert data["basis"] is None
    # without the pixels the page does without them
    del adata.uns["image_to_adata"]
    assert '"pictures">{}' in sae.pl.feature_report(adata, tmp_path / "bare.html").read_text(encoding="utf-8")


def test_bad_input(cells, tmp_path):
    path = tmp_path / "report.html"
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        sae.pl.feature_report(cells, tmp_path / "nowhere" / "report.html")
    with pytest.raises(KeyError, match="nope"):
        sae.pl.feature_report(cells, path, features=["nope"])
    with pytest.raises(KeyError, match="groupby"):
        sae.pl.feature_report(cells, path, groupby="nope")
    with pytest.raises(KeyError, match="basis"):
        sae.pl.feature_report(cells, path, basis="nope")
    with pytest.raises(ValueError, match="`n_obs` must be at least 1"):
        sae.pl.feature_report(cells, path, n_obs=0)
    with pytest.raises(IsADirectoryError, match="`path` must be a file"):
        sae.pl.feature_report(cells, tmp_path)
    with pytest.raises(ValueError, match="`features` must be between 0 and"):
        sae.pl.feature_report(cells, path, features=40)
    assert not path.exists()
    bare = cells.copy()
    del bare.obsm["X_sae"]
    with pytest.raises(KeyError, match="sae_fit"):
        sae.pl.feature_report(bare, path)


def test_dead_features_have_a_page_when_asked(cells, tmp_path):
    adata = cells.copy()
    codes = adata.obsm["X_sae"].tolil()
    codes[:, 3] = 0
    adata.obsm["X_sae"] = codes.tocsr()
    data = data_of(sae.pl.feature_report(adata, tmp_path / "r.html", features=["sae_3", "sae_0"]))
    assert [one["name"] for one in data["features"]] == ["sae_3", "sae_0"]
    dead = data["features"][0]
    assert (dead["n_active"], dead["top"], dead["histogram"]["counts"]) == (0, [], [])
