"""Tables of a SpatialData that annotate labels."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import pandas as pd

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ._fields import Field


def annotation_of(sdata: Any, labels_key: str) -> pd.DataFrame | None:
    """Columns of all tables that annotate the labels, indexed by the ids of the labels."""
    parts = []
    for name, table in sdata.tables.items():
        attributes = table.uns.get("spatialdata_attrs")
        if attributes is None:
            continue
        regions = attributes["region"]
        if labels_key not in ([regions] if isinstance(regions, str) else list(regions)):
            continue
        region_key, instance_key = attributes["region_key"], attributes["instance_key"]
        rows = table.obs[table.obs[region_key] == labels_key]
        if not rows[instance_key].is_unique:
            msg = f"table {name!r} annotates labels {labels_key!r} with some `{instance_key}` twice; make them unique."
            raise ValueError(msg)
        parts.append(rows.set_index(instance_key).drop(columns=region_key, errors="ignore"))
    if not parts:
        return None
    joined = pd.concat(parts, axis=1)
    return joined.loc[:, ~joined.columns.duplicated()]


def add_annotations(table: pd.DataFrame, fields: Sequence[Field]) -> pd.DataFrame:
    """Join the tables of all fields to the observations by `region` and `instance_id`.

    A column that `table` has itself gets the suffix `_table`. Warns once about ids that are in one of the two only.
    """
    pieces, n_labels, n_rows = [], 0, 0
    for field in fields:
        if field.annotation is None:
            continue
        rows = table.index[table["region"] == field.name]
        ids = table.loc[rows, "instance_id"]
        found = field.annotation.reindex(ids.to_numpy())
        n_labels += int((~ids.isin(field.annotation.index)).sum())
        n_rows += int((~field.annotation.index.isin(ids)).sum())
        pieces.append(found.set_axis(rows, axis=0))
    if not pieces:
        return table
    joined = pd.concat(pieces).reindex(table.index)
    for column in joined.columns:
        if joined[column].dtype == object:
            joined[column] = pd.Categorical(joined[column])
    joined.columns = [f"{name}_table" if name in table.columns else str(name) for name in joined.columns]
    if n_labels or n_rows:
        msg = (
            f"tables of the SpatialData: {n_labels} of {len(table)} labels have no row (missing values), and {n_rows} "
            "rows belong to no label that is described and are left out."
        )
        warnings.warn(msg, UserWarning, stacklevel=4)
    return pd.concat([table, joined], axis=1)
