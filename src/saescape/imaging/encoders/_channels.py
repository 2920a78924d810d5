"""Channels of a crop as the input channels of an encoder."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from numbers import Integral
from typing import TYPE_CHECKING, Any

from saescape._validate import check_choice

if TYPE_CHECKING:
    import torch

MODES = ("match", "each", "mean")


def check_channels(channels: Any) -> str | tuple[str | int, ...]:
    """One of the modes, or the names or positions of channels."""
    if isinstance(channels, str):
        check_choice("channels", channels, MODES)
        return channels
    if not isinstance(channels, Sequence) or not channels:
        msg = f"`channels` must be one of {list(MODES)} or a list of channels, found {channels!r}."
        raise TypeError(msg)
    if not all(isinstance(one, str) or (isinstance(one, Integral) and not isinstance(one, bool)) for one in channels):
        msg = f"`channels` must list names or positions, found {list(channels)!r}."
        raise TypeError(msg)
    return tuple(one if isinstance(one, str) else int(one) for one in channels)


def positions_of(chosen: Sequence[str | int], channel_names: Sequence[str] | None) -> list[int]:
    """Positions of the channels in crops."""
    if channel_names is None:
        named = [one for one in chosen if isinstance(one, str)]
        if named:
            msg = (
                f"`channels` has names {named}, but those of the crops are unknown; give positions, or tell them by "
                "`for_channels(names)` (image_to_adata does so)."
            )
            raise ValueError(msg)
        return [int(one) for one in chosen]
    known = {str(name): i for i, name in enumerate(channel_names)}
    found = []
    for one in chosen:
        position = known.get(one.replace("/", "_"), known.get(one)) if isinstance(one, str) else one
        if position is None or not 0 <= position < len(known):
            close = get_close_matches(str(one), known, n=1)
            hint = f" Did you mean {close[0]!r}?" if close else ""
            msg = f"`channels`: the images have no channel {one!r}, they have {list(known)}.{hint}"
            raise ValueError(msg)
        found.append(position)
    return found


def inputs_of(
    crops: torch.Tensor, mode: str | tuple[str | int, ...], positions: Sequence[int] | None, in_channels: int | None
) -> list[torch.Tensor]:
    """Inputs (n, in_channels, h, w) whose outputs are put side by side."""
    if mode == "match":
        return [crops]
    if positions is not None:
        if max(positions) >= crops.shape[1]:
            msg = f"`channels` asks for position {max(positions)}, but crops have {crops.shape[1]} channels."
            raise ValueError(msg)
        return [crops[:, list(positions)]]
    if in_channels is None:
        msg = f"`channels={mode!r}` must know how many channels the encoder takes; give `in_channels`."
        raise ValueError(msg)
    planes = crops.split(1, dim=1) if mode == "each" else [crops.mean(1, keepdim=True)]
    return [plane.expand(-1, in_channels, -1, -1) for plane in planes]
