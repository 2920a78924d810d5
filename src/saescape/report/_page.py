"""One HTML file from the data of a report."""

from __future__ import annotations

import base64
import hashlib
import html
import json
from importlib.resources import files
from typing import Any

import numpy as np

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<a class="skip" href="#main">To the content</a>
<main id="main"><noscript>This report needs JavaScript; it loads nothing from the network.</noscript></main>
<script type="application/json" id="data">{data}</script>
<script type="application/json" id="pictures">{pictures}</script>
<script>{script}</script>
</body>
</html>
"""


_POLICY = (
    "default-src 'none'; img-src data:; script-src 'sha256-{digest}'; style-src 'unsafe-inline'; base-uri 'none'; "
    "form-action 'none'"
)


def render(data: dict[str, Any], pictures: dict[str, Any]) -> str:
    """Put data and pictures into the page.

    Strings of the data cannot leave their block (`<` is escaped), the browser runs no other script than ours (its hash
    is in the content security policy), and ours sets text only as text.
    """
    folder = files("saescape.report")
    script = folder.joinpath("app.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return _PAGE.format(
        title=html.escape(str(data["title"])),
        style=folder.joinpath("style.css").read_text(encoding="utf-8"),
        script=script,
        policy=_POLICY.format(digest=digest),
        data=_json(data),
        pictures=_json(pictures),
    )


def _json(value: Any) -> str:
    text = json.dumps(plain(value), ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    # no tag can begin inside of a string; the separators are line ends to old parsers
    for character in ("<", ">", "&", "\u2028", "\u2029"):
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def plain(value: Any) -> Any:
    """Values as JSON has them; what is not finite becomes null, numbers keep six digits."""
    if isinstance(value, dict):
        return {str(name): plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple | np.ndarray):
        return [plain(one) for one in value]
    if isinstance(value, bool | np.bool_):
        return bool(value)
    if isinstance(value, int | np.integer):
        return int(value)
    if isinstance(value, float | np.floating):
        return float(f"{float(value):.6g}") if np.isfinite(value) else None
    return None if value is None else str(value)


def packed(values: np.ndarray) -> str:
    """Little-endian bytes of an array as base64."""
    return base64.b64encode(values.astype(values.dtype.newbyteorder("<"), copy=False).tobytes()).decode()
