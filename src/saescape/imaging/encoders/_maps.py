"""Maps (n, d, h, w) from what networks return."""

from __future__ import annotations

from math import gcd
from typing import Any

import numpy as np
import torch


def as_maps(output: Any, crop_shape: tuple[int, int], n_prefix_tokens: int | None) -> torch.Tensor:
    """Vectors (n, d) and maps as they are; tokens (n, t, d) of a transformer as maps, without its extra tokens."""
    if isinstance(output, np.ndarray):
        output = torch.from_numpy(output)
    if not isinstance(output, torch.Tensor):
        msg = (
            f"`encoder` must return a tensor or array, found {type(output).__name__}; choose a part of it by `layer=` "
            "of ImageEncoder, or wrap it in a function."
        )
        raise TypeError(msg)
    if output.ndim not in {2, 3, 4}:
        msg = f"`encoder` must return (n, d) or maps (n, d, h, w), found shape {tuple(output.shape)}."
        raise ValueError(msg)
    if output.ndim == 3:
        return _grid_of_tokens(output, crop_shape, n_prefix_tokens)
    square = crop_shape[0] == crop_shape[1]
    if output.ndim == 4 and square and output.shape[1] == output.shape[2] != output.shape[3]:
        msg = (
            f"`encoder` returns maps of shape {tuple(output.shape)} for square crops: its channels seem to come last. "
            "Wrap it in a function that moves them behind the first axis (for timm, give `layer` as a number)."
        )
        raise ValueError(msg)
    return output


def _grid_of_tokens(tokens: torch.Tensor, crop_shape: tuple[int, int], n_prefix_tokens: int | None) -> torch.Tensor:
    """Positions of a transformer form a grid of the crop's proportions, row by row."""
    n_crops, n_tokens, n_dims = tokens.shape
    # without an answer: none or one (the class token); no two grids differ by one position
    for prefix in (0, 1) if n_prefix_tokens is None else (n_prefix_tokens,):
        grid = _grid(n_tokens - prefix, crop_shape)
        if grid is not None:
            return tokens[:, prefix:].transpose(1, 2).reshape(n_crops, n_dims, *grid)
    removed = "0 or 1" if n_prefix_tokens is None else str(n_prefix_tokens)
    msg = (
        f"`encoder` returns {n_tokens} tokens for crops of {crop_shape[0]} x {crop_shape[1]}, which is no grid of "
        f"these proportions after {removed} tokens at the start; set `n_prefix_tokens` (class and register tokens)."
    )
    raise ValueError(msg)


def _grid(n_positions: int, crop_shape: tuple[int, int]) -> tuple[int, int] | None:
    divisor = gcd(*crop_shape)
    rows, cols = crop_shape[0] // divisor, crop_shape[1] // divisor
    times = round((max(n_positions, 0) / (rows * cols)) ** 0.5)
    return (rows * times, cols * times) if times and rows * cols * times**2 == n_positions else None
