"""Simulated cells: latent design, tokens, pairs, programs and images. Pure arrays; the AnnData are made in `datasets`."""

from __future__ import annotations
