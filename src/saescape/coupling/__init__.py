"""Stored couplings: fetched, matched with their reference, and what is carried over through them."""

from __future__ import annotations
