"""Fields whose channels lie in different files or arrays, checked against each other."""

from __future__ import annotations

import warnings
from collections import Counter
from typing import TYPE_CHECKING, Any

from ._channels import clean
from ._open import ChannelFiles

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ._folder import FieldFiles
    from ._opened import Reading

_MAX_LISTED = 10


def sources_of_files(fields: Sequence[FieldFiles], reading: Reading) -> list[Any]:
    """What each field of a folder is opened from: a path, or files of channels."""
    if all(set(one.channels) == {None} and len(one.channels[None]) == 1 for one in fields):
        return [one.channels[None][0] for one in fields]
    _warn_planes(fields)
    found = {
        one.name: {channel or "channel_0": tuple(planes) for channel, planes in one.channels.items()} for one in fields
    }
    return same_channels(found, reading, "pattern")


def sources_of_dict(image: Mapping[Any, Mapping[Any, Any]], reading: Reading) -> list[Any]:
    """The same for {field: {channel: path or array}}."""
    found = {
        str(name): {clean(channel): (source,) for channel, source in channels.items()}
        for name, channels in image.items()
    }
    return same_channels(found, reading, "image")


def same_channels(
    found: Mapping[str, Mapping[str, tuple[Any, ...]]], reading: Reading, argument: str
) -> list[ChannelFiles]:
    """Channels of all fields in one order; raises when a field lacks one or has one more.

    With `channels` only these need to be there.
    """
    if reading.channels is not None and reading.channel_names is None:
        wanted = [name for name, _ in reading.channels]
        chosen: Mapping[str, Mapping[str, Any]] = {
            name: {one: planes for one, planes in channels.items() if one in wanted} for name, channels in found.items()
        }
    else:
        chosen = found
        counts = Counter(frozenset(channels) for channels in found.values())
        # of sets that occur equally often the larger one: a missing file is likelier than one too many
        common = max(counts, key=lambda names: (counts[names], len(names)))
        wanted = next(list(channels) for channels in found.values() if set(channels) == common)
    odd = []
    for name, channels in chosen.items():
        missing, extra = [one for one in wanted if one not in channels], [one for one in channels if one not in wanted]
        if missing or extra:
            parts = [f"{what} {which}" for what, which in (("without", missing), ("with", extra)) if which]
            odd.append(f"{name!r} {' and '.join(parts)}")
    if odd:
        hint = "" if reading.channels is not None else ", or choose channels that all fields have by `channels`"
        msg = (
            f"`{argument}`: {len(odd)} of {len(found)} fields do not have just the channels {wanted}: "
            f"{'; '.join(odd[:_MAX_LISTED])}{'; ...' if len(odd) > _MAX_LISTED else ''}. Add or remove files{hint}."
        )
        raise ValueError(msg)
    return [ChannelFiles(tuple(wanted), tuple(channels[one] for one in wanted)) for channels in chosen.values()]


def _warn_planes(fields: Sequence[FieldFiles]) -> None:
    """Fewer planes than elsewhere bias a maximum."""
    depths = {one.name: {len(planes) for planes in one.channels.values()} for one in fields}
    usual = Counter(depth for found in depths.values() for depth in found).most_common(1)[0][0]
    odd = [name for name, found in depths.items() if found != {usual}]
    if odd:
        msg = (
            f"`pattern`: {len(odd)} of {len(fields)} fields have another number of planes than {usual} in some "
            f"channel: {odd[:_MAX_LISTED]}. Their maximum projection is taken over what there is."
        )
        warnings.warn(msg, UserWarning, stacklevel=2)
