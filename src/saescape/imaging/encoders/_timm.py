"""Architectures of timm with weights from a local file; nothing is ever downloaded."""

from __future__ import annotations

import warnings
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

import torch

from ._source import Source
from ._weights import load_weights

if TYPE_CHECKING:
    from collections.abc import Callable
    from os import PathLike

PREFIX = "timm:"


def timm_source(name: str, weights: str | PathLike[str] | None, layer: str | int | None) -> Source:
    """Model `timm:name`; without weights its random ones, always the same."""
    timm = _import_timm(name)
    architecture = name.removeprefix(PREFIX)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        try:
            model = timm.create_model(architecture, pretrained=False, num_classes=0)
        except Exception as error:
            close = get_close_matches(architecture, timm.list_models(), n=5)
            msg = f"timm cannot make {architecture!r} ({type(error).__name__}: {error}); similar names: {close}."
            raise ValueError(msg) from error
    function = _function(model, architecture, layer)
    if weights is None:
        warnings.warn(
            f"{name!r} has random weights; give `weights=`, a local file (nothing is downloaded).",
            UserWarning,
            stacklevel=5,
        )
    else:
        load_weights(model, weights)
    config = getattr(model, "pretrained_cfg", None) or {}
    size = config.get("input_size")
    return Source(
        function,
        model,
        name,
        in_channels=None if size is None else int(size[0]),
        input_size=tuple(size[1:]) if size is not None and config.get("fixed_input_size") else None,
        mean=config.get("mean"),
        std=config.get("std"),
    )


def _function(model: Any, architecture: str, layer: str | int | None) -> Callable[[torch.Tensor], Any]:
    """What to call for the maps of a stage (None: the last, with the norm that follows it)."""
    if isinstance(layer, str):
        return model
    if not hasattr(model, "forward_intermediates"):
        if layer is None:
            return model.forward_features
        msg = f"`layer={layer}`: {architecture!r} has no numbered stages; give the name of a submodule."
        raise ValueError(msg)
    n_stages = len(model.feature_info)
    if layer is not None and not -n_stages <= layer < n_stages:
        msg = f"`layer={layer}`: {architecture!r} has the stages 0 to {n_stages - 1}."
        raise ValueError(msg)

    def stage(crops: torch.Tensor) -> torch.Tensor:
        return model.forward_intermediates(
            crops,
            indices=[n_stages - 1 if layer is None else layer % n_stages],
            norm=layer is None,
            stop_early=layer is not None,
            output_fmt="NCHW",
            intermediates_only=True,
        )[0]

    return stage


def _import_timm(name: str) -> Any:
    try:
        import timm
    # a torchvision that was built for another torch raises RuntimeError, not ImportError
    except Exception as error:
        msg = (
            f"{name!r} needs timm, which cannot be imported here ({type(error).__name__}: {error}). Install it by "
            "`pip install 'saescape[timm]'`. timm imports torchvision: where that does not fit torch (a CUDA build "
            "beside a CPU build), install both from one index first, for example `pip install torch torchvision "
            "--index-url https://download.pytorch.org/whl/cpu`."
        )
        raise ImportError(msg) from error
    return timm
