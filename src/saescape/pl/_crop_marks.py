"""What is drawn over and beside crops: outlines, scale bars, colours of channels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from saescape._typing import FloatArray

# largest share of the width of a crop that a scale bar takes
_BAR_SHARE = 0.4


def check_channel_colors(given: Any, names: Sequence[str], available: Sequence[str]) -> FloatArray | None:
    """(C, 3) colours of the channels shown; None when the user gave none."""
    from matplotlib.colors import to_rgb

    from saescape.imaging._preview import channel_colors

    if given is None:
        return None
    if isinstance(given, Mapping):
        unknown = [name for name in given if name not in available]
        if unknown:
            msg = f"`channel_colors`: {unknown} not found. Available channels: {list(available)}."
            raise KeyError(msg)
        chosen = dict(given)
    elif isinstance(given, str) or not isinstance(given, Sequence | np.ndarray):
        msg = f"`channel_colors` must be a dict of channel -> color or a sequence, found {type(given).__name__}."
        raise TypeError(msg)
    elif len(given) != len(names):
        msg = f"`channel_colors` has {len(given)} colors for {len(names)} channels shown: {list(names)}."
        raise ValueError(msg)
    else:
        chosen = dict(zip(names, given, strict=True))
    colors = np.array(channel_colors(names), dtype=np.float64)
    for i, name in enumerate(names):
        if name in chosen:
            try:
                colors[i] = to_rgb(chosen[name])
            except ValueError as error:
                msg = f"`channel_colors`: {chosen[name]!r} for {name!r} is no color of matplotlib."
                raise ValueError(msg) from error
    return colors


def draw_outline(ax: Any, mask: np.ndarray) -> None:
    """Outline of the observation's own label, unless it fills the crop."""
    if not mask.any() or mask.all():
        return
    height, width = mask.shape
    # padded, so that the outline closes where the label reaches the edge of the crop
    extent = (-1.5, width + 0.5, -1.5, height + 0.5)
    ax.contour(np.pad(mask, 1), levels=[0.5], colors="white", linewidths=0.7, extent=extent)
    ax.set_xlim(-0.5, width - 0.5)
    ax.set_ylim(height - 0.5, -0.5)


def bar_length(width: float) -> float:
    """The largest of 1, 2, 5, 10, ... that takes at most 40 % of `width`."""
    most = _BAR_SHARE * width
    power = 10.0 ** np.floor(np.log10(most))
    # rounding must not lose a length that just fits
    return float(max(step for step in (1, 2, 5) if step * power <= most * (1 + 1e-9)) * power)


def draw_scale_bar(ax: Any, shape: tuple[int, ...], pixel_size: float, *, label: bool) -> None:
    """A white bar in the lower right corner; `pixel_size` in micrometres per pixel of the picture."""
    from matplotlib import patheffects

    height, width = shape
    length = bar_length(width * pixel_size)
    right, y = width * 0.95 - 0.5, height * 0.93 - 0.5
    # a dark rim, to be seen on bright pixels
    rim = [patheffects.withStroke(linewidth=2.6, foreground="black", alpha=0.6)]
    ax.plot(
        [right - length / pixel_size, right],
        [y, y],
        color="white",
        linewidth=1.6,
        solid_capstyle="butt",
        path_effects=rim,
    )
    if label:
        text = f"{length:g} µm"
        ax.text(right, y - 0.03 * height, text, color="white", fontsize=6, ha="right", va="bottom", path_effects=rim)


def draw_channel_legend(figure: Any, names: Sequence[str], given: FloatArray | None) -> None:
    """Colours of the channels under the crops; none for red, green and blue as they are."""
    from matplotlib.lines import Line2D

    from saescape.imaging._preview import RGB, channel_colors

    if tuple(names) == RGB and given is None:
        return
    if given is None and len(names) == 1:
        # white would not be seen
        colors: Any = [(0.6, 0.6, 0.6)]
    else:
        colors = channel_colors(names) if given is None else given
    handles = [
        Line2D(
            [],
            [],
            marker="s",
            linestyle="",
            color=color,
            markeredgecolor="0.5",
            markeredgewidth=0.4,
            markersize=7,
            label=name,
        )
        for color, name in zip(colors, names, strict=True)
    ]
    figure.legend(
        handles=handles, loc="outside lower center", ncols=len(names), frameon=False, fontsize=8, handletextpad=0.2
    )
