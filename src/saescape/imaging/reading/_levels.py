"""Levels of an image pyramid."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def check_scale(scale: int | str | None) -> int | str | None:
    """A number, counted from the full resolution, or the name of a level."""
    if scale is None or isinstance(scale, str):
        return scale
    if isinstance(scale, bool) or not isinstance(scale, int):
        msg = f"`scale` must be the number or the name of a resolution level, found {scale!r}."
        raise TypeError(msg)
    if scale < 0:
        msg = f"`scale` must not be negative, found {scale}; 0 is the full resolution."
        raise ValueError(msg)
    return scale


def level_number(scale: int | str | None, names: Sequence[str], where: str) -> int:
    """Position of the wanted level; None is the full resolution."""
    if scale is None:
        return 0
    if isinstance(scale, str):
        wanted = {scale, scale.removeprefix("scale")}
        found = [i for i, name in enumerate(names) if name in wanted]
        if found:
            return found[0]
    elif scale < len(names):
        return scale
    msg = f"`scale={scale!r}`: {where} has {len(names)} resolution level(s), {list(names)}."
    raise ValueError(msg)
