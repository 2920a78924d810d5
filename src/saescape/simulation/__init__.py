"""Simulated cells: latent design, tokens, pairs, programs, images. Arrays only; `datasets` makes the AnnData."""

from __future__ import annotations
