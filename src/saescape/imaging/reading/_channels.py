"""Name the channels, choose some of them and rename them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ._lazy import Chosen, LazyPixels
from ._opened import OpenedImage

if TYPE_CHECKING:
    from ._opened import Reading


def check_channels(channels: Any) -> tuple[tuple[str, str], ...] | None:
    """Pairs (found name, new name) of the `channels` argument."""
    if channels is None:
        return None
    if isinstance(channels, str) or not isinstance(channels, Mapping | Sequence):
        msg = (
            f"`channels` must be a sequence of channel names or a mapping from found to new names, found {channels!r}."
        )
        raise TypeError(msg)
    items = channels.items() if isinstance(channels, Mapping) else ((name, name) for name in channels)
    pairs = tuple((clean(found), clean(new)) for found, new in items)
    if not pairs:
        msg = "`channels` is empty: name at least one channel."
        raise ValueError(msg)
    for names in zip(*pairs, strict=True):
        if len(set(names)) != len(names):
            msg = f"`channels` must name each channel once, found {list(names)}."
            raise ValueError(msg)
    return pairs


def clean(name: Any) -> str:
    """Names become keys and column names, which must not hold a slash."""
    return str(name).replace("/", "_")


def name_channels(opened: OpenedImage, reading: Reading, where: str) -> OpenedImage:
    """Given names, else those of the file, else `channel_0`, ...; and of these the wanted ones."""
    n_channels = int(opened.pixels.shape[0])
    names = channel_names(opened.channel_names, n_channels, reading, where)
    if reading.channels is None:
        return OpenedImage(opened.pixels, names, opened.pixel_size)
    kept = choose(names, reading.channels, where)
    return OpenedImage(take(opened.pixels, kept), tuple(new for _, new in reading.channels), opened.pixel_size)


def channel_names(found: Sequence[str] | None, n_channels: int, reading: Reading, where: str) -> tuple[str, ...]:
    """Names of all channels before some are chosen."""
    given = reading.channel_names
    if given is not None:
        if len(given) != n_channels:
            msg = f"`channel_names` has {len(given)} names, but {where} has {n_channels} channels: {list(given)}."
            raise ValueError(msg)
        return tuple(given)
    if found is not None and len(found) == n_channels == len(set(map(clean, found))):
        return tuple(map(clean, found))
    return tuple(f"channel_{i}" for i in range(n_channels))


def choose(names: Sequence[str], channels: Sequence[tuple[str, str]], where: str) -> list[int]:
    """Positions of the wanted channels."""
    missing = [found for found, _ in channels if found not in names]
    if missing:
        msg = f"`channels`: {where} has no channel {missing}. Its channels are {list(names)}."
        raise KeyError(msg)
    return [list(names).index(found) for found, _ in channels]


def take(pixels: Any, channels: list[int]) -> Any:
    """Some channels of (C, Y, X) pixels, lazy if they are."""
    if channels == list(range(int(pixels.shape[0]))):
        return pixels
    return Chosen(pixels, channels) if isinstance(pixels, LazyPixels) else pixels[channels]
