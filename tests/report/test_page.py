"""What a report may and may not do to the browser."""

from __future__ import annotations

import base64
import hashlib
import json
import re

import numpy as np

from saescape.report._page import packed, plain, render

NASTY = "</script><script>alert(1)</script>&\u2028<!--"


def block(page, name):
    return re.search(rf'<script type="application/json" id="{name}">(.*?)</script>', page, re.DOTALL).group(1)


def test_strings_stay_in_their_block():
    data = {"title": NASTY, "features": [{"name": NASTY}]}
    page = render(data, {"crops": {NASTY: {"src": "data:"}}})
    assert page.count("<script") == 3
    assert "alert(1)" in page
    assert json.loads(block(page, "data")) == data
    assert list(json.loads(block(page, "pictures"))["crops"]) == [NASTY]
    assert "<title>&lt;/script&gt;" in page


def test_only_our_script_may_run():
    page = render({"title": "x"}, {})
    script = re.search(r"<script>(.*?)</script>\n</body>", page, re.DOTALL).group(1)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page).group(1)
    assert "default-src 'none'" in policy
    assert f"script-src 'sha256-{digest}';" in policy
    assert "http" not in policy
    # text of the data is never parsed as HTML
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(", script)
    # nothing is loaded from elsewhere
    assert set(re.findall(r"https?://[^\"' )]+", page)) <= {"http://www.w3.org/2000/svg"}


def test_numbers_are_what_json_has():
    found = plain({"a": np.float32(0.1), "b": np.array([1, 2]), "c": np.nan, "d": np.inf, "e": np.bool_(True), 3: None})
    assert found == {"a": 0.1, "b": [1, 2], "c": None, "d": None, "e": True, "3": None}
    assert isinstance(found["e"], bool)


def test_arrays_are_packed_little_endian():
    assert np.frombuffer(base64.b64decode(packed(np.array([1, 258], dtype=">u2"))), "<u2").tolist() == [1, 258]
