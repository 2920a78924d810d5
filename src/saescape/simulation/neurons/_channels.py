"""Stains of the simulated images, in the order of the channels."""

from __future__ import annotations

NUCLEI, NEURITES, MITOCHONDRIA, LYSOSOMES, DEATH = range(5)
CHANNEL_NAMES = ("nuclei", "neurites", "mitochondria", "lysosomes", "death")
# pixels; shorter wavelengths are sharper
PSF_SIGMA = (0.8, 1.0, 1.0, 0.9, 1.0)
