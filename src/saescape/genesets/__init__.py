"""Gene sets: read from what users have, matched with the genes at hand, tested for over-representation."""

from __future__ import annotations
