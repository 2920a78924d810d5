"""Channel names and pixel size that a TIFF file brings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ._units import in_micrometres

if TYPE_CHECKING:
    import tifffile

# two sides of a pixel that differ by more than this share are no single pixel size
_SQUARE = 0.01


def tiff_channel_names(tiff: tifffile.TiffFile) -> tuple[str, ...] | None:
    """Names of OME-XML when each channel has one of its own, or labels of an ImageJ stack of single planes."""
    if tiff.is_ome:
        channels = _ome_pixels(tiff).get("Channel", [])
        channels = channels if isinstance(channels, list) else [channels]
        names = tuple(str(channel.get("Name", "")) for channel in channels)
    elif tiff.is_imagej:
        names = tuple(str(label) for label in (tiff.imagej_metadata or {}).get("Labels", []))
    else:
        return None
    return names if names and all(names) and len(set(names)) == len(names) else None


def tiff_pixel_size(tiff: tifffile.TiffFile) -> float | None:
    """Micrometres per pixel of OME-XML or ImageJ metadata; other files hold print resolutions only."""
    if tiff.is_ome:
        pixels = _ome_pixels(tiff)
        sides = [
            in_micrometres(pixels.get(f"PhysicalSize{axis}"), pixels.get(f"PhysicalSize{axis}Unit", "µm"))
            for axis in "XY"
        ]
    elif tiff.is_imagej:
        unit = (tiff.imagej_metadata or {}).get("unit", "")
        sides = [in_micrometres(_per_pixel(tiff, axis), unit) for axis in "XY"]
    else:
        return None
    return square_side(*sides)


def square_side(x: float | None, y: float | None) -> float | None:
    """The side of square pixels."""
    if x is None or y is None or abs(x - y) > _SQUARE * x:
        return None
    return x


def _per_pixel(tiff: tifffile.TiffFile, axis: str) -> float | None:
    tag = tiff.pages.first.tags.get(f"{axis}Resolution")
    if tag is None or not tag.value[0]:
        return None
    return float(tag.value[1]) / float(tag.value[0])


def _ome_pixels(tiff: tifffile.TiffFile) -> dict[str, Any]:
    """The `Pixels` element of the first image; empty when there is none."""
    import tifffile

    try:
        images = tifffile.xml2dict(tiff.ome_metadata or "")["OME"]["Image"]
        pixels = (images[0] if isinstance(images, list) else images)["Pixels"]
    except (KeyError, TypeError, IndexError):
        return {}
    return dict(pixels)
