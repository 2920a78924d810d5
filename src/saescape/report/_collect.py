"""Gather what is known about the features of an AnnData."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ._annotation import annotation_tables
from ._page import packed
from ._statistics import coactivation, exemplars, group_means, histogram, nearest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from saescape._typing import FloatArray, IntArray

    from ._statistics import Codes

# observations in the picture of the basis
_MAX_POINTS = 4000
# features whose similarities are computed at once
_BLOCK = 256
# column, and the value that is worth a note
_FLAGS = {
    ("dead", True): "never active",
    ("nuisance", True): "follows a nuisance",
    ("stable", False): "unstable",
}


def collect(
    codes: Codes,
    features: IntArray,
    *,
    names: list[str],
    table: pd.DataFrame,
    decoder: FloatArray,
    obs_names: Sequence[str],
    groupby: list[pd.Series],
    annotation: dict[str, pd.DataFrame],
    basis: tuple[str, FloatArray] | None,
    exemplar_groups: IntArray | None,
    n_top: int,
    title: str,
    subtitle: str,
    rng: np.random.Generator,
) -> tuple[dict[str, Any], list[IntArray]]:
    """Data of the page, and the rows of the most active observations of each feature.

    Parameters
    ----------
    codes
        Codes of all observations and features.
    features
        Positions of the features that get a page.
    names, table, decoder
        Of all features: names, their columns, and directions `(n_features, n_dims)`.
    groupby
        Columns of `.obs` that are summarised.
    annotation
        Long tables by name, with a column `feature`.
    basis
        Name and two coordinates of each observation.
    exemplar_groups
        Group of each observation, of which no one fills the exemplars alone.
    """
    chosen = None if basis is None else _sample(codes.n_obs, rng)
    cap = max(1, -(-n_top // 3))
    unit = decoder / np.maximum(np.linalg.norm(decoder, axis=1, keepdims=True), 1e-30)
    listed = annotation_tables(annotation, [names[i] for i in features])
    columns = [str(name) for name in table.columns if name != "description"]
    pages, tops = [], []
    for start in range(0, len(features), _BLOCK):
        block = features[start : start + _BLOCK]
        similarity, together = unit[block] @ unit.T, coactivation(codes.matrix, block)
        for i, feature in enumerate(block):
            rows, values = codes.active(int(feature))
            top = exemplars(rows, values, n_top, exemplar_groups, cap)
            tops.append(rows[top])
            name = names[feature]
            found = table.iloc[feature]
            groups = [group_means(rows, values, column) for column in groupby]
            flags = [text for (column, bad), text in _FLAGS.items() if column in table and _equals(found[column], bad)]
            page = {
                "name": name,
                "description": _text(found.get("description")),
                "flags": list(dict.fromkeys(flags)),
                "n_active": len(rows),
                "histogram": histogram(values),
                "groups": groups,
                "tables": listed[name],
                "decoder": nearest(similarity[i], int(feature), names),
                "coactive": nearest(together[i], int(feature), names),
                "numbers": [[column, _value(found[column])] for column in columns],
                "top": [
                    {
                        "name": str(obs_names[row]),
                        "value": value,
                        "labels": {str(column.name): str(column.iloc[row]) for column in groupby},
                    }
                    for row, value in zip(rows[top], values[top], strict=True)
                ],
                "shade": "" if chosen is None else _shade(rows, values, chosen),
                "row": [name, 100 * len(rows) / codes.n_obs, values.mean() if len(values) else None],
            }
            pages.append(page)
    overview = _overview(pages, table.iloc[features], groupby)
    for page in pages:
        page["search"] = _search_text(page)
    data = {
        "title": title,
        "subtitle": subtitle,
        "n_obs": codes.n_obs,
        "columns": overview,
        "features": pages,
        "basis": None if basis is None or chosen is None else _points(basis, chosen),
    }
    return data, tops


def _overview(pages: list[dict[str, Any]], table: pd.DataFrame, groupby: list[pd.Series]) -> list[dict[str, Any]]:
    """Columns of the table of all features; appends their values to `row` of each page."""
    columns = [
        ("feature", "name", "Name of the feature"),
        ("% active", "number", "Share of observations in which it is active"),
        ("mean", "number", "Mean activation where it is active"),
    ]
    for grouping, column in enumerate(groupby):
        columns.append((str(column.name), "text", f"Group of {column.name} with the highest mean activation"))
        for page in pages:
            rows = page["groups"][grouping]["rows"]
            page["row"].append(rows[0]["name"] if rows and rows[0]["mean"] > 0 else "")
    titles = dict.fromkeys(entry["title"] for page in pages for entry in page["tables"])
    for title in titles:
        columns.append(
            (title.lower(), "text", f"First of {title}: most significant of what is higher where it is active")
        )
        for page in pages:
            page["row"].append(next((entry["first"] for entry in page["tables"] if entry["title"] == title), ""))
    for name, label in (("stability", "stability"), ("module", "module")):
        if name in table:
            numeric = pd.api.types.is_numeric_dtype(table[name])
            columns.append((label, "number" if numeric else "text", f"Column `{name}` of the features"))
            for page, value in zip(pages, table[name], strict=True):
                page["row"].append(_value(value))
    columns.append(("notes", "flags", "What to be careful about"))
    for page in pages:
        page["row"].append(", ".join(page["flags"]))
    return [{"label": label, "kind": kind, "help": text, "at": i} for i, (label, kind, text) in enumerate(columns)]


def _search_text(page: dict[str, Any]) -> str:
    words = [page["name"], page["description"], *page["flags"], *(str(value) for value in page["row"][3:])]
    words += [str(row[0]) for entry in page["tables"] for row in entry["rows"]]
    return " ".join(words).lower()


def _sample(n_obs: int, rng: np.random.Generator) -> IntArray:
    if n_obs <= _MAX_POINTS:
        return np.arange(n_obs)
    return np.sort(rng.choice(n_obs, _MAX_POINTS, replace=False))


def _points(basis: tuple[str, FloatArray], chosen: IntArray) -> dict[str, str]:
    name, coordinates = basis
    shown = coordinates[chosen].astype(np.float64)
    low = np.nanmin(shown, axis=0)
    # one scale for both axes
    reach = max(float((np.nanmax(shown, axis=0) - low).max()), 1e-30)
    scaled = np.nan_to_num((shown - low) / reach * 65535).round().astype(np.uint16)
    return {"name": name, "x": packed(scaled[:, 0]), "y": packed(scaled[:, 1])}


def _shade(rows: IntArray, values: FloatArray, chosen: IntArray) -> str:
    """Activation of the points drawn as one byte each, the largest being 255 and any activation at least 1."""
    shade = np.zeros(len(chosen), dtype=np.uint8)
    position = np.searchsorted(chosen, rows)
    known = position < len(chosen)
    known[known] = chosen[position[known]] == rows[known]
    if len(values):
        shade[position[known]] = np.maximum(np.round(255 * values[known] / values.max()), 1).astype(np.uint8)
    return packed(shade)


def _equals(value: Any, wanted: bool) -> bool:  # noqa: FBT001
    return isinstance(value, bool | np.bool_) and bool(value) is wanted


def _text(value: Any) -> str:
    return "" if value is None or (not isinstance(value, str) and pd.isna(value)) else str(value)


def _value(value: Any) -> Any:
    """Numbers as numbers, everything else as text."""
    if isinstance(value, bool | np.bool_ | int | float | np.integer | np.floating):
        return value
    return None if value is None or value is pd.NA else str(value)
