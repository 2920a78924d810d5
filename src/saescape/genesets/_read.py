"""Gene sets from a GMT file, a dict, or a table of sources and targets."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import pandas as pd

if TYPE_CHECKING:
    from collections.abc import Sequence

# an object and not a string, so that signatures that use it can be resolved
Net: TypeAlias = str | Path | Mapping[str, Iterable[str]] | pd.DataFrame

_N_SHOWN = 3


def read_net(net: Net, *, argument: str = "net") -> dict[str, list[str]]:
    """Genes of each set, each once.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    TypeError, ValueError
        If `net` is neither a GMT file, a mapping nor a table with columns `source` and `target`, or has no set.
    """
    if isinstance(net, pd.DataFrame):
        sets = _from_table(net, argument)
    elif isinstance(net, Mapping):
        sets = {str(name): _unique(genes, f"`{argument}[{name!r}]`") for name, genes in net.items()}
    elif isinstance(net, str | Path):
        sets = _from_gmt(Path(net), argument)
    else:
        msg = (
            f"`{argument}` must be the path of a GMT file, a dict of names and genes, or a DataFrame with columns "
            f"'source' and 'target', found {type(net).__name__}."
        )
        raise TypeError(msg)
    sets = {name: genes for name, genes in sets.items() if genes}
    if not sets:
        msg = f"`{argument}` has no gene set."
        raise ValueError(msg)
    return sets


def in_universe(sets: dict[str, list[str]], universe: Sequence[str], *, argument: str = "net") -> dict[str, list[str]]:
    """Each set's genes among those tested; sets without any are left out.

    Raises
    ------
    ValueError
        If no gene of any set is among them, with examples of both namings.
    """
    known = set(universe)
    found = {name: [gene for gene in genes if gene in known] for name, genes in sets.items()}
    found = {name: genes for name, genes in found.items() if genes}
    if found:
        return found
    named = list(dict.fromkeys(gene for genes in sets.values() for gene in genes))
    folded = {gene.casefold() for gene in known} & {gene.casefold() for gene in named}
    hint = f" {len(folded)} agree when upper and lower case are taken as equal." if folded else ""
    msg = (
        f"`{argument}`: none of its {len(named)} genes is among the {len(known)} genes tested; the two name them "
        f"differently: {named[:_N_SHOWN]} and {list(universe)[:_N_SHOWN]}.{hint}"
    )
    raise ValueError(msg)


def _from_gmt(path: Path, argument: str) -> dict[str, list[str]]:
    """Lines of name, description and genes, separated by tabs."""
    if not path.is_file():
        msg = f"`{argument}`: there is no file {str(path)!r}."
        raise FileNotFoundError(msg)
    sets: dict[str, list[str]] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if not line.strip():
            continue
        name, *rest = line.split("\t")
        if len(rest) < 2:
            msg = (
                f"`{argument}`: line {number} of {str(path)!r} is no GMT (name, description and genes, separated by "
                f"tabs): {line[:60]!r}."
            )
            raise ValueError(msg)
        if name in sets:
            msg = f"`{argument}`: {str(path)!r} has the set {name!r} twice."
            raise ValueError(msg)
        sets[name] = _unique((gene.strip() for gene in rest[1:]), f"set {name!r}")
    return sets


def _from_table(table: pd.DataFrame, argument: str) -> dict[str, list[str]]:
    missing = [column for column in ("source", "target") if column not in table.columns]
    if missing:
        msg = f"`{argument}` must have columns 'source' (set) and 'target' (gene), found {list(table.columns)}."
        raise ValueError(msg)
    known = table[["source", "target"]].dropna()
    groups = known.groupby("source", sort=False, observed=True)["target"]
    return {str(name): _unique(genes, f"set {name!r}") for name, genes in groups}


def _unique(genes: Any, where: str) -> list[str]:
    if isinstance(genes, str):
        msg = f"{where} must be several genes, found the text {genes!r}; give a list."
        raise TypeError(msg)
    return list(dict.fromkeys(str(gene) for gene in genes if str(gene)))
