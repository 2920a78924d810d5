"""What the user knows about whole fields: plate, well, donor, condition."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pandas as pd

from saescape._logging import logg

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

RESERVED = ("region", "instance_id", "area", "row", "col", "touches_border")


def check_obs(obs: Any, compartments: Iterable[str] = ()) -> pd.DataFrame | None:
    """The `obs` argument as a table with a row per field.

    Raises
    ------
    TypeError
        Something else than a DataFrame or a mapping of mappings.
    ValueError
        Fields or columns that occur twice, or columns that the result has itself.
    """
    if obs is None:
        return None
    if not isinstance(obs, pd.DataFrame):
        if not isinstance(obs, Mapping) or not all(isinstance(row, Mapping) for row in obs.values()):
            msg = "`obs` must be a DataFrame indexed by field, or a mapping from field to a dict of its columns."
            raise TypeError(msg)
        obs = pd.DataFrame.from_dict({str(name): dict(row) for name, row in obs.items()}, orient="index")
    table = obs.set_axis([_clean(name) for name in obs.index], axis=0)
    for what, index in (("fields", table.index), ("columns", table.columns)):
        if not index.is_unique:
            msg = f"`obs` has {what} twice: {index[index.duplicated()].unique().tolist()[:5]}."
            raise ValueError(msg)
    check_columns(table.columns, "`obs`", compartments)
    return table


def check_columns(columns: Any, where: str, compartments: Iterable[str]) -> None:
    """Raise on columns that `image_to_adata` writes itself."""
    own = {*RESERVED, *(f"{prefix}_{name}" for prefix in ("has", "n") for name in compartments)}
    taken = [str(one) for one in columns if str(one) in own or str(one).startswith("qc_")]
    if taken:
        msg = f"{where}: {taken} are columns of the result itself; choose other names."
        raise ValueError(msg)


def rows_of_fields(obs: pd.DataFrame | None, names: Sequence[str]) -> list[dict[str, Any]]:
    """The row of each field as a dict."""
    if obs is None:
        return [{} for _ in names]
    missing = [name for name in names if name not in obs.index]
    if missing:
        msg = (
            f"`obs` has no row for {len(missing)} of {len(names)} fields: {missing[:5]}. Its index must hold the names "
            f"of the fields; it begins with {obs.index[:5].tolist()}."
        )
        raise ValueError(msg)
    unused = len(obs) - len(names)
    if unused:
        logg.info(f"    `obs`: {unused} rows belong to no field")
    rows = obs.rename(columns=str).to_dict("index")
    return [dict(rows[name]) for name in names]


def add_field_obs(table: pd.DataFrame, rows: Sequence[Mapping[str, Any]], field_of: Any) -> pd.DataFrame:
    """Add the columns of the fields to the table of observations; text becomes categories."""
    known = pd.DataFrame.from_records(list(rows))
    if known.empty:
        return table
    columns = {}
    for column in known.columns:
        values = known[column].iloc[field_of].set_axis(table.index, axis=0)
        is_text = values.dtype == object or isinstance(values.dtype, pd.StringDtype)
        columns[column] = pd.Categorical(values.astype(object)) if is_text else values
    return pd.concat([table, pd.DataFrame(columns, index=table.index)], axis=1)


def _clean(name: Any) -> str:
    return str(name).replace("/", "_")
