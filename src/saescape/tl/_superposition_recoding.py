"""Fetch what is needed to code permuted features again: the model, its rule and the rows that it coded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from saescape._rep import get_representation
from saescape._rows import RowSource
from saescape._store import from_uns

if TYPE_CHECKING:
    from anndata import AnnData
    from scipy import sparse

    from saescape._store import StoredSae
    from saescape.superposition._reencoded import Recoder, Recoding

# cells on which stored codes are compared with those that the model gives, and the relative difference that is allowed
_CHECKED, _TOLERANCE = 32, 1e-3

NOT_A_MODEL = "no model"
NO_ROWS = "representation not found"
OTHER_CODES = "codes are not those of the model"


def fetch_recoding(
    adata: AnnData, key: str | None, fit: Any, codes: sparse.csr_matrix, *, n_perms: int, rng: np.random.Generator
) -> tuple[Recoding | None, str]:
    """A sample of cells to code again, or why there is none.

    Parameters
    ----------
    fit
        Entry of `.uns` under `key`, with decoder.
    codes
        Stored codes `(n_obs, n_features)`.
    n_perms
        Most draws.
    """
    if "W_enc" not in fit["weights"]:
        return None, NOT_A_MODEL
    stored = from_uns(adata, key)
    rows = coded_rows(adata, stored)
    if rows is None:
        return None, NO_ROWS
    from saescape.sae._recoder import model_recoder
    from saescape.sae._rule import CodingRule
    from saescape.superposition._reencoded import Recoding

    l0 = stored.metrics.get("l0", codes.nnz / codes.shape[0])
    recoder = model_recoder(stored.weights, CodingRule.from_params(stored.params), l0)
    if not _same_codes(rows, codes, recoder):
        return None, OTHER_CODES
    n_cells, n_positions, n_draws = recoder.plan(rows.n_obs, rows.n_positions or 1, n_perms)
    cells = np.sort(rng.choice(rows.n_obs, n_cells, replace=False))
    positions = np.sort(rng.choice(rows.n_positions or 1, n_positions, replace=False))
    taken = rows.take(cells).reshape(n_cells, -1, rows.n_dims)[:, positions]
    return Recoding(recoder, taken, cells, n_draws), ""


def coded_rows(adata: AnnData, stored: StoredSae) -> RowSource | None:
    """Rows of the representation that the stored codes are of, in the model's order of dimensions."""
    try:
        rep = get_representation(adata, stored.params.get("use_rep"), stored.params.get("layer"))
    except KeyError:
        return None
    rows = rep.rows
    if rep.on_variables:
        position = adata.var_names.get_indexer(stored.input_names)
        if (position >= 0).all():
            rows = RowSource(rows.data, columns=position, where=rows.where)
    return rows if rows.n_dims == stored.weights.n_dims else None


def _same_codes(rows: RowSource, codes: sparse.csr_matrix, recoder: Recoder) -> bool:
    from saescape.superposition._reencoded import pool_positions

    cells = np.unique(np.linspace(0, rows.n_obs - 1, _CHECKED).astype(np.int64))
    coded = recoder.encode(rows.take(cells).reshape(-1, rows.n_dims))
    expected = pool_positions(coded, rows.n_positions or 1).toarray()
    return bool(np.linalg.norm(codes[cells].toarray() - expected) <= _TOLERANCE * np.linalg.norm(expected))
