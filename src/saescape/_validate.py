"""Checks of user input. Each raises before any work is done, names the argument in backticks and says what to do."""

from __future__ import annotations

from importlib import import_module
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any

import numpy as np
from anndata import AnnData

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import ModuleType

# what makes a slot that is missing
_MAKERS = {
    "X_pca": "`sc.pp.pca(adata)`",
    "X_umap": "`sc.tl.umap(adata)`",
    "X_diffmap": "`sc.tl.diffmap(adata)`",
    "X_sae": "`sae.tl.sae_fit(adata)`",
    "sae": "`sae.tl.sae_fit(adata)`",
    "rank_genes_groups": "`sc.tl.rank_genes_groups(adata, groupby)`",
    "sae_sweep": "`sae.tl.sae_sweep(adata)`",
    "sae_genes": "`sae.tl.feature_genes(adata)`",
    "sae_enrichment": "`sae.tl.feature_enrichment(adata, net)`",
    "sae_concepts": "`sae.tl.feature_concepts(adata, obs_keys)`",
    "feature_maps": "`sae.tl.feature_maps(adata, features)`",
    "X_scVI": "`adata.obsm['X_scVI'] = model.get_latent_representation()` of a trained scVI model",
    "tokens": "`sae.pp.image_to_adata(..., tokens=True)`",
    "spatial": "`sae.pp.image_to_adata(...)`",
    "image_to_adata": "`sae.pp.image_to_adata(...)`",
    "image_qc": "`sae.pp.image_qc(adata)`",
    "superposition_score": "`sae.tl.superposition_score(adata)`",
    "compare_representations": "`sae.tl.compare_representations(adata, use_reps, obs_keys)`",
    "feature_match": "`sae.tl.feature_match(adata, adata_ref)`",
    "feature_stability": "`sae.tl.feature_stability(adata)`",
    "feature_modules": "`sae.tl.feature_modules(adata)`",
    "feature_scores": "`sae.tl.feature_scores(adata, use_rep=...)`",
    "X_steered": "`sae.tl.steer(adata, feature, factor)`",
    "gw_map": "`sae.tl.gw_map(adata, adata_ref)`",
    "gw_coupling": "`sae.tl.gw_map(adata, adata_ref)`",
    "X_gw": "`sae.tl.gw_map(adata, adata_ref)`",
    "gw_expression": "`sae.tl.gw_transfer(adata, adata_ref, var_names=[...])`",
    "gw_links": "`sae.tl.gw_links(adata, adata_ref)`",
    "gw_transfer": "`sae.tl.gw_transfer(adata, adata_ref, obs=...)`",
}


def check_adata(adata: Any, name: str = "adata") -> AnnData:
    """Raise unless `adata` is an AnnData with observations."""
    if not isinstance(adata, AnnData):
        msg = f"`{name}` must be an AnnData, found {type(adata).__name__}."
        raise TypeError(msg)
    if adata.n_obs == 0:
        msg = f"`{name}` has no observations."
        raise ValueError(msg)
    return adata


def check_copy(adata: AnnData, *, copy: bool) -> None:
    """Raise when a copy of a backed object is asked for, or results would have to go into a view of one."""
    if copy and adata.isbacked:
        msg = "`copy=True` is not possible in backed mode; use `copy=False`, or `adata.to_memory()` first."
        raise ValueError(msg)
    if adata.is_view and adata.isbacked:
        msg = "A view of a backed AnnData cannot take results; use `adata.to_memory()` or `adata.copy(filename)` first."
        raise ValueError(msg)


def missing_key(name: str, attr: str, available: Iterable[str], *, argument: str | None = None) -> KeyError:
    """Build the KeyError for a missing slot: what exists, and the call that makes it."""
    available = [str(key) for key in available]
    has = f"Available keys: {available}." if available else f"`{attr}` is empty."
    maker = f" Run {_MAKERS[name]} first to create it." if name in _MAKERS else ""
    arg = f"`{argument}={name!r}`: key" if argument else "Key"
    return KeyError(f"{arg} {name!r} not found in `{attr}`. {has}{maker}")


def require_key(adata: AnnData, attr: str, name: str, *, argument: str | None = None, adata_name: str = "adata") -> Any:
    """Return ``getattr(adata, attr)[name]`` or raise a KeyError that helps."""
    slot = getattr(adata, attr)
    keys = list(slot.columns) if attr in {"obs", "var"} else list(slot.keys())
    if name not in keys:
        raise missing_key(name, f"{adata_name}.{attr}", keys, argument=argument)
    if attr in {"obs", "var"} and hasattr(slot, "to_memory"):
        # a lazy table
        slot = slot[[name]].to_memory()
    return slot[name]


def check_choice(name: str, value: Any, choices: Iterable[Any]) -> None:
    """Raise unless `value` is one of `choices`."""
    choices = list(choices)
    if value not in choices:
        msg = f"`{name}` must be one of {choices}, found {value!r}."
        raise ValueError(msg)


def string_list(name: str, value: Any) -> list[str]:
    """One string, several or None as a list; raise for other types and for strings given twice."""
    single = isinstance(value, str) or not hasattr(value, "__iter__")
    values = [] if value is None else [value] if single else list(value)
    wrong = next((item for item in values if not isinstance(item, str)), None)
    if wrong is not None:
        msg = f"`{name}` must be a string or several, found {wrong!r} of type {type(wrong).__name__}."
        raise TypeError(msg)
    values = [str(item) for item in values]
    if len(set(values)) < len(values):
        repeated = next(item for i, item in enumerate(values) if item in values[:i])
        msg = f"`{name}` names {repeated!r} twice."
        raise ValueError(msg)
    return values


def check_integer(name: str, value: Any, low: int = 1, high: int | None = None, *, high_name: str | None = None) -> int:
    """Raise unless `value` is an integer in ``[low, high]``."""
    if isinstance(value, bool | np.bool_) or not isinstance(value, Integral):
        msg = f"`{name}` must be an integer, found {value!r} of type {type(value).__name__}."
        raise TypeError(msg)
    value = int(value)
    if high is None and value < low:
        msg = f"`{name}` must be at least {low}, found {value}."
        raise ValueError(msg)
    if high is not None and not low <= value <= high:
        upper = f"`{high_name}` ({high})" if high_name else str(high)
        msg = f"`{name}` must be between {low} and {upper}, found {value}."
        raise ValueError(msg)
    return value


def check_real(name: str, value: Any, low: float = 0.0, high: float = np.inf, *, open_low: bool = True) -> float:
    """Raise unless `value` is a finite number in ``(low, high]`` (``[low, high]`` with `open_low=False`)."""
    if isinstance(value, bool | np.bool_) or not isinstance(value, Real):
        msg = f"`{name}` must be a number, found {value!r} of type {type(value).__name__}."
        raise TypeError(msg)
    value = float(value)
    if not np.isfinite(value) or value > high or value < low or (open_low and value == low):
        comparison = "greater than" if open_low else "at least"
        upper = "" if np.isinf(high) else f" and at most {high:g}"
        msg = f"`{name}` must be {comparison} {low:g}{upper}, found {value:g}."
        raise ValueError(msg)
    return value


def check_finite(array: np.ndarray, where: str) -> None:
    """Raise when a dense array has NaN or infinite entries, with their number and the first position."""
    bad = ~np.isfinite(array)
    if bad.any():
        first = tuple(int(i) for i in np.unravel_index(int(np.argmax(bad)), array.shape))
        msg = f"{where} has {int(bad.sum())} non-finite values, the first at position {first}; remove or impute them."
        raise ValueError(msg)


def import_extra(module: str, extra: str) -> ModuleType:
    """Import an optional dependency or raise an ImportError that names the extra."""
    try:
        return import_module(module)
    except ImportError as error:
        msg = f"`{module}` is needed here; install it with `pip install 'saescape[{extra}]'`."
        raise ImportError(msg) from error
