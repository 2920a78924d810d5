"""Tokens of images and the grid they lie on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from saescape._keys import IMAGE_UNS

if TYPE_CHECKING:
    from anndata import AnnData


def tokens_of(adata: AnnData, use_rep: str | None) -> tuple[Any, tuple[int, int]] | None:
    """Tokens `(n_obs, h * w, n_dims)` that a model was fitted on and their grid (h, w); None if there are none."""
    tokens = None if use_rep is None else adata.obsm.get(use_rep)
    grid = tuple(int(n) for n in adata.uns.get(IMAGE_UNS, {}).get("token_grid", ()))
    if tokens is None or len(tokens.shape) != 3 or len(grid) != 2 or grid[0] * grid[1] != tokens.shape[1]:
        return None
    return tokens, (grid[0], grid[1])
