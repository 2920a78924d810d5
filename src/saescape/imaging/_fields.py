"""Pair images, labels and positions into fields."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from dataclasses import field as dataclass_field
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

from ._compartments import REST
from ._labels import check_labels
from .reading._open import ChannelFiles, MovedLabels, open_image, open_label_image, pixel_size_of
from .reading._opened import Reading, is_path

if TYPE_CHECKING:
    import pandas as pd

    from saescape._typing import FloatArray

    from ._labels import LabelImage
    from .reading._opened import OpenedImage


@dataclass(frozen=True)
class Field:
    """One image with what belongs to it; files are opened when their pixels are needed.

    `obs` is what is known about the whole field, `annotation` a table of its labels, indexed by their ids.
    """

    name: str
    image: Any
    labels: Any = None
    centers: FloatArray | None = None
    description: str = "`image`"
    # label images of parts of the labels, or "rest"
    compartments: dict[str, Any] = dataclass_field(default_factory=dict)
    obs: dict[str, Any] = dataclass_field(default_factory=dict)
    reading: Reading = dataclass_field(default_factory=Reading)
    annotation: pd.DataFrame | None = None

    @property
    def on_disk(self) -> bool:
        """Whether nothing of the field is in memory, so that any process can open it."""
        sources = [self.image, *([] if self.labels is None else [self.labels]), *self.compartments.values()]
        return all(map(is_on_disk, sources))

    @cached_property
    def pixel_size(self) -> float | None:
        """Micrometres per pixel, if the image says so."""
        return pixel_size_of(self.image, self.reading)

    def open(self) -> OpenedImage:
        """Pixels as (C, Y, X)."""
        return open_image(self.image, self.description, self.reading)

    def open_labels(self, shape: tuple[int, int]) -> LabelImage:
        """Checked labels 1..n."""
        return self._checked(self.labels, shape, "labels")

    def open_compartments(self, shape: tuple[int, int]) -> dict[str, LabelImage | str]:
        """Checked label images of the compartments; "rest" stays what it is."""
        return {
            name: source if _is_rest(source) else self._checked(source, shape, f"compartments[{name!r}]")
            for name, source in self.compartments.items()
        }

    def _checked(self, source: Any, shape: tuple[int, int], argument: str) -> LabelImage:
        where = self.description.replace("`image", f"`{argument}", 1)
        opening = partial(open_label_image, source, where, self.reading.scale)
        # what comes from a file is opened again when it is needed, and need not be pickled
        return check_labels(opening if is_on_disk(source) else opening(), shape, where)


def is_on_disk(source: Any) -> bool:
    """Whether an image or label image is named by paths alone."""
    if isinstance(source, MovedLabels):
        return is_on_disk(source.source)
    if isinstance(source, ChannelFiles):
        return all(is_path(plane) for planes in source.planes for plane in planes)
    return is_path(source)


def clean_name(name: str) -> str:
    """Keys of `uns` must not hold a slash."""
    return str(name).replace("/", "_")


def match_to_fields(argument: str, given: Any, names: Sequence[str], keys: Sequence[Any]) -> list[Any]:
    """Bring `labels`, `centers` or a compartment into the order of the fields; keys are those of `image`."""
    if given is None:
        return [None] * len(names)
    if keys[0] is None:
        if isinstance(given, Mapping) or (argument != "centers" and is_sequence(given)):
            msg = f"`{argument}` must be one array for one image, found {type(given).__name__}."
            raise ValueError(msg)
        return [given]
    if isinstance(keys[0], int) and not isinstance(given, Mapping):
        if not is_sequence(given) or len(given) != len(names):
            found = f"{len(given)}" if is_sequence(given) else type(given).__name__
            msg = f"`{argument}` must be a sequence with one entry per image ({len(names)}), found {found}."
            raise ValueError(msg)
        return list(given)
    if not isinstance(given, Mapping):
        msg = f"`{argument}` must be a dict with the keys of `image`, found {type(given).__name__}."
        raise ValueError(msg)
    missing = [key for key in keys if key not in given]
    extra = [key for key in given if key not in keys]
    if missing or extra:
        msg = (
            f"`{argument}` and `image` must have the same keys; without {argument}: {missing}, without image: {extra}."
        )
        raise ValueError(msg)
    return [given[key] for key in keys]


def is_sequence(given: Any) -> bool:
    """A list or tuple of fields, and not one field."""
    return isinstance(given, Sequence) and not is_path(given)


def _is_rest(source: Any) -> bool:
    return isinstance(source, str) and source == REST
