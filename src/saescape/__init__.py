"""Sparse autoencoders, superposition and Gromov-Wasserstein maps for images and embeddings in AnnData."""

from __future__ import annotations

from importlib.metadata import version

from . import datasets, get, metrics, models, pl, pp, tl

__all__ = ["datasets", "get", "metrics", "models", "pl", "pp", "tl"]
__version__ = version("saescape")
