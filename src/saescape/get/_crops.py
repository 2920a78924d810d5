from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from saescape._docs import doc_params
from saescape._keys import IMAGE_UNS
from saescape._validate import check_adata, check_integer, require_key

from ._stored_thumbnails import instead_of_pixels

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from anndata import AnnData


@doc_params
def crops(
    adata: AnnData,
    obs_names: Sequence[str] | str | None = None,
    *,
    crop_size: int | None = None,
    mask_crops: bool | None = None,
    normalized: bool = True,
    folder: str | Path | None = None,
) -> np.ndarray:
    """Cut the image crops of observations again.

    Needs an AnnData made by :func:`saescape.pp.image_to_adata`, before or after writing it to disk and after subsetting
    it. With the defaults the result equals what the encoder saw. Pixels are read from where they are: the files that
    were given (only the parts needed, where the format allows), or the copy of arrays that the AnnData keeps.

    Parameters
    ----------
    {adata}
    obs_names
        Observations, in the order wanted; None for all.
    crop_size
        Side in pixels; None for that at creation (the shape of the image for whole images).
    mask_crops
        Set everything outside the observation's own label to 0; None for what was done at creation.
    normalized
        Scale as at creation, float32; False gives the pixels in the dtype of the image.
    folder
        Folder in which the image files are now. Stored relative paths are looked up below it, absolute ones by the
        longest end of their path that is there; nothing outside is opened. None uses the paths as they were given.

    Returns
    -------
    Crops `(n, C, h, w)`; 0 outside the image. When the pixels were not kept or their file is gone, `crop_size` is None
    and `normalized` True, thumbnails stand in for them, with a warning, if `.obsm["thumbnails"]` has any: 8 bits, in
    their own size, and always scaled by percentiles.

    Raises
    ------
    KeyError
        The AnnData was not made by :func:`saescape.pp.image_to_adata`, or has no such observations.
    FileNotFoundError
        A file is not where it was; see `folder`.
    ValueError
        The pixels were too large to be kept, a file is another image than before, or lies outside `folder`.

    Warns
    -----
    UserWarning
        Thumbnails are returned.

    Examples
    --------
    >>> import numpy as np, saescape as sae
    >>> image = np.random.default_rng(0).poisson(100, (1, 64, 64)).astype(np.uint16)
    >>> adata = sae.pp.image_to_adata(image, tile_size=32, show_progress_bar=False)
    >>> sae.get.crops(adata, ["image_3"]).shape
    (1, 1, 32, 32)
    >>> raw = sae.get.crops(adata, normalized=False)
    >>> bool((raw[3] == image[:, 32:, 32:]).all())
    True
    """
    check_adata(adata)
    stored = require_key(adata, "uns", IMAGE_UNS)
    if crop_size is not None:
        check_integer("crop_size", crop_size, 2)
    rows = np.arange(adata.n_obs)
    if obs_names is not None:
        wanted = [obs_names] if isinstance(obs_names, str) else [str(name) for name in obs_names]
        missing = [name for name in wanted if name not in adata.obs_names]
        if missing:
            msg = (
                f"`obs_names`: {len(missing)} of {len(wanted)} are not in `adata.obs_names`; the first: {missing[0]!r}."
            )
            raise KeyError(msg)
        if not wanted:
            msg = "`obs_names` is empty."
            raise ValueError(msg)
        rows = adata.obs_names.get_indexer_for(wanted)
    for column in ("region", "instance_id", "row", "col"):
        require_key(adata, "obs", column)
    if mask_crops is None:
        mask_crops = bool(stored["params"]["mask_crops"])
    if mask_crops and stored["params"]["unit"] != "label":
        msg = "`mask_crops=True` needs observations made from `labels`."
        raise ValueError(msg)

    from saescape.imaging._recut import recut
    from saescape.imaging._thumbnails import split_thumbnails

    obs = adata.obs.iloc[rows]
    try:
        return recut(obs, stored, crop_size=crop_size, mask=mask_crops, normalized=normalized, folder=folder)
    except (FileNotFoundError, ValueError) as error:
        if not normalized or crop_size is not None:
            raise
        return split_thumbnails(instead_of_pixels(adata, rows, error), mask=mask_crops)
