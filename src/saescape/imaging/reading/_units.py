"""Lengths in micrometres."""

from __future__ import annotations

from typing import Any

_MICROMETRES = {
    "µm": 1.0,
    "μm": 1.0,
    "um": 1.0,
    "micron": 1.0,
    "microns": 1.0,
    "micrometer": 1.0,
    "micrometre": 1.0,
    "nm": 1e-3,
    "nanometer": 1e-3,
    "nanometre": 1e-3,
    "mm": 1e3,
    "millimeter": 1e3,
    "millimetre": 1e3,
    "cm": 1e4,
    "centimeter": 1e4,
    "m": 1e6,
    "meter": 1e6,
    "inch": 25400.0,
}


def in_micrometres(value: Any, unit: Any) -> float | None:
    """A positive length with a known unit, else None."""
    try:
        length = float(value)
    except (TypeError, ValueError):
        return None
    text = str(unit).strip()
    # ImageJ writes the micro sign as an escape
    factor = _MICROMETRES.get(text.replace("\\u00B5", "µ"), _MICROMETRES.get(text.lower()))
    return length * factor if factor is not None and length > 0 else None
