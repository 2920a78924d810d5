"""Colors that stay apart for all kinds of color vision."""

from __future__ import annotations

# Okabe and Ito's palette without its black and yellow, and darker ones to go on with
DISTINCT = (
    "#0072b2",
    "#e69f00",
    "#009e73",
    "#cc79a7",
    "#56b4e9",
    "#d55e00",
    "#44546a",
    "#8c6d31",
    "#5b3a8c",
    "#7fbf7b",
)
NEUTRAL = "#b8b8b8"
POSITIVE, NEGATIVE = "#b2182b", "#2166ac"
