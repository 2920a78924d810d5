"""Parts of `benchmarks/sae_training.py`."""

from __future__ import annotations
