"""Fields of a folder: which files belong together is told by a pattern of their names."""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from natsort import natsorted

from saescape._logging import logg

from ._channels import clean
from ._files import IMAGE_SUFFIXES
from ._zarr import is_zarr

if TYPE_CHECKING:
    from collections.abc import Iterable

CHANNEL = "channel"
PLANES = ("z", "plane")
# each is tried in turn, until one fits any file
PRESETS = {
    "phenix": (
        r"(?P<well>r\d+c\d+)(?P<site>f\d+)(?P<plane>p\d+)-(?P<channel>ch\d+)sk\d+fk\d+fl\d+\.tiff?",
        r"(?P<well>\d{6})-(?P<site>\d+)-(?P<plane>\d+)(?P<channel>\d{3})\d{6}\.tiff?",
    ),
    "cell_painting": (
        # well_01_number of channel_site_channel_001 (Cytation)
        r"(?P<well>[A-P]\d{1,2})_\d+_\d+_(?P<site>\d+)_(?P<channel>[^_]+)_\d+\.tiff?",
        # plate_well_s1_w1 and an identifier (ImageXpress)
        r"(?:(?P<plate>.+?)_)?(?P<well>[A-Pa-p]\d{2})_s(?P<site>\d+)_(?P<channel>w\d)[0-9A-Fa-f-]*\.(?:tiff?|png)",
        # plate_well_T0001F001L01A01Z01C01 (CellVoyager)
        r"(?:(?P<plate>.+?)_)?(?P<well>[A-P]\d{2})_T\d+F(?P<site>\d+)L\d+A\d+Z(?P<plane>\d+)C(?P<channel>\d+)\.tiff?",
        r"(?P<well>r\d+c\d+)(?P<site>f\d+)(?P<plane>p\d+)-(?P<channel>ch\d+)sk\d+fk\d+fl\d+\.tiff?",
    ),
}
_ONE_FILE_EACH = r"(?P<field>.+?)(?:\.ome)?\.[^.]+"


@dataclass(frozen=True)
class FieldFiles:
    """Files of one field: those without a channel have the channel None."""

    name: str
    groups: dict[str, str]
    channels: dict[str | None, list[Path]]


def is_folder(source: Any) -> bool:
    """Whether `source` is a folder of files, and not a zarr store."""
    return isinstance(source, str | Path) and Path(source).is_dir() and not is_zarr(Path(source))


def find_fields(folder: str | Path, pattern: str | None, argument: str) -> list[FieldFiles]:
    """Group the image files of a folder into fields.

    A pattern with a `/` is matched to the path below the folder, another one to the names of the files in it.
    """
    compiled = _compile(pattern, argument)
    deep = any("/" in one.pattern for one in compiled)
    files = {
        path.relative_to(folder).as_posix(): path
        for path in (Path(folder).rglob("*") if deep else Path(folder).iterdir())
        if path.suffix.lower() in IMAGE_SUFFIXES or (path.suffix.lower() == ".zarr" and is_zarr(path))
    }
    names = natsorted(files)
    for one in compiled:
        matches = {name: match for name in names if (match := one.fullmatch(name))}
        if matches:
            break
    else:
        msg = (
            f"`{argument}` fits none of the {len(files)} image files of {str(folder)!r}, e.g. {names[:3]}. It must "
            "match the whole name."
        )
        raise ValueError(msg)
    if len(matches) < len(names):
        others = [name for name in names if name not in matches]
        logg.info(f"`{argument}` fits {len(matches)} of {len(names)} image files; left out e.g. {others[:3]}")
    return _grouped({files[name]: match.groupdict() for name, match in matches.items()}, argument)


def _compile(pattern: str | None, argument: str) -> list[re.Pattern[str]]:
    if pattern is not None and not isinstance(pattern, str):
        msg = f"`{argument}` must be a regular expression or one of {list(PRESETS)}, found {type(pattern).__name__}."
        raise TypeError(msg)
    texts = PRESETS.get(pattern, (pattern,)) if pattern is not None else (_ONE_FILE_EACH,)
    try:
        compiled = [re.compile(text) for text in texts]
    except re.error as error:
        msg = f"`{argument}={pattern!r}` is no regular expression ({error}), nor one of {list(PRESETS)}."
        raise ValueError(msg) from error
    for one in compiled:
        if not set(one.groupindex) - {CHANNEL, *PLANES}:
            msg = (
                f"`{argument}={pattern!r}` needs named groups that tell the fields apart, such as "
                "'(?P<well>[A-H]\\d+)'; besides, 'channel' splits files by channel and 'z' or 'plane' by plane. "
                f"Presets: {list(PRESETS)}."
            )
            raise ValueError(msg)
    return compiled


def _grouped(files: dict[Path, dict[str, str | None]], argument: str) -> list[FieldFiles]:
    groups: dict[str, dict[str, str]] = {}
    members: dict[str, dict[str | None, dict[tuple[str | None, ...], Path]]] = defaultdict(lambda: defaultdict(dict))
    for path, found in files.items():
        channel, planes = found.get(CHANNEL), tuple(found.get(plane) for plane in PLANES)
        own = {key: value for key, value in found.items() if key not in {CHANNEL, *PLANES} and value is not None}
        name = clean("_".join(own.values()))
        if groups.setdefault(name, own) != own:
            msg = f"`{argument}`: the groups {groups[name]} and {own} give the same name {name!r}; change the pattern."
            raise ValueError(msg)
        taken = members[name][None if channel is None else clean(channel)]
        if planes in taken:
            msg = (
                f"`{argument}`: {taken[planes].name!r} and {path.name!r} are both channel {channel!r} of field "
                f"{name!r}; add a named group for what tells them apart."
            )
            raise ValueError(msg)
        taken[planes] = path
    return [
        FieldFiles(
            name,
            groups[name],
            {
                channel: [planes[plane] for plane in natsorted(planes, key=str)]
                for channel, planes in _sorted_channels(members[name].items())
            },
        )
        for name in natsorted(members)
    ]


def _sorted_channels(items: Iterable[tuple[str | None, Any]]) -> list[tuple[str | None, Any]]:
    return natsorted(items, key=lambda item: item[0] or "")
