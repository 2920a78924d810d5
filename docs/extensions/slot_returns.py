"""Render the Returns section of scverse docstrings: prose, then a definition list of the slots that are written."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sphinx.ext.napoleon import NumpyDocstring

if TYPE_CHECKING:
    from sphinx.application import Sphinx


def _parse_returns_section(self: NumpyDocstring, section: str) -> list[str]:
    """Pass the section on as it is: reST itself reads ``term : classifier`` with an indented body as a definition."""
    lines = self._dedent(self._consume_to_next_section())
    while lines and not lines[-1].strip():
        lines.pop()
    return [":returns:", *(f"    {line}" if line.strip() else "" for line in ["", *lines]), ""]


def setup(app: Sphinx) -> dict[str, bool]:
    NumpyDocstring._parse_returns_section = _parse_returns_section  # type: ignore[method-assign]
    return {"parallel_read_safe": True}
