"""Rendering of simulated neurons: anatomy, motifs, death dye, optics; their design, truth and RNA."""

from __future__ import annotations
