from __future__ import annotations

from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Literal

from saescape._device import resolve_device
from saescape._docs import doc_params
from saescape._logging import logg
from saescape._random import as_generator, rng_param
from saescape._validate import check_integer

from ._assemble import assemble
from ._image_arguments import check_channel_names, check_unit, log_clipped, name_of, resolve_encoder, scaling_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import torch
    from anndata import AnnData

    from saescape._typing import Rng


@doc_params
def image_to_adata(
    image: Any,
    labels: Any = None,
    *,
    channel_names: Sequence[str] | None = None,
    image_key: str | Sequence[str] | None = None,
    labels_key: str | Sequence[str] | None = None,
    tile_size: int | None = None,
    stride: int | None = None,
    centers: Any = None,
    crop_size: int = 64,
    mask_crops: bool = True,
    encoder: Literal["features", "filters"] | Callable[[torch.Tensor], Any] = "features",
    pool: Literal["mean", "max"] = "mean",
    tokens: bool = False,
    normalize: Literal["percentile", "dtype", "none"] | None = "percentile",
    qc: bool = True,
    region: str = "image",
    batch_size: int = 256,
    chunks: int | None = None,
    device: str | torch.device | None = None,
    rng: Rng = 0,
    show_progress_bar: bool = True,
) -> AnnData:
    """Describe cells, positions, tiles or whole images by numbers and put them into an AnnData.

    One row per label of a segmentation (`labels`), per position (`centers`), per tile (`tile_size`), or per image when
    none of the three is given. Images are never modified. No row depends on `batch_size` or `chunks`, nor on which
    other rows are in the call, except through what is taken from all fields: percentiles (scaling, grey levels of
    texture) and the thresholds of quality.

    Parameters
    ----------
    image
        One field, a sequence of fields, or a dict of named fields. A field is `(Y, X)`, `(C, Y, X)` or `(C, Z, Y, X)`
        (projected by its maximum): numpy, dask or xarray array, or the path of a TIFF (axes and channel names from its
        metadata), PNG or JPEG file (channels R, G, B). Or a SpatialData object with `image_key`. All fields must have
        the same channels and dtype. Dask arrays and large TIFF files are read block by block.
    labels
        Segmentation of the same structure: `(Y, X)` integer labels, 0 for background, or paths to them. A binary mask
        is split into its connected components, with a warning. Ids need not be consecutive.
    channel_names
        Names of the channels; None takes those of the file or `channel_0`, ...
    image_key
        Image element(s) of a SpatialData; may be left out when there is only one. Multi-scale elements are used at
        their full resolution.
    labels_key
        Labels element(s) of a SpatialData, one per image and on the same grid.
    tile_size
        Side in pixels of square tiles. Incomplete tiles at the right and lower edge are dropped.
    stride
        Distance in pixels between tiles; None for `tile_size` (no overlap).
    centers
        `(n, 2)` positions x, y in pixels (integers are pixel centres), of the same structure as `image`.
    crop_size
        Side in pixels of the crop around a label or position that the encoder sees. It is centred on the middle of
        the label's bounding box; what lies outside the image is 0.
    mask_crops
        Set other labels and the background to 0 in the crops of labels (after normalisation).
        The named features are always measured inside the label.
    encoder
        `"features"`: named features in the units of the image: per channel the distribution of intensities, their
        radial distribution and co-occurrence texture, per pair of channels the correlation, and with `labels` the
        shape; measured on the label, or on the window around a position. `"filters"`: a fixed bank of
        Gaussian-derivative filters averaged over a grid of 8 x 8 positions; needs no weights and gives named tokens.
        Or a :class:`torch.nn.Module`, or a callable, that takes float32 `(n, C, h, w)` and returns `(n, d)` or maps
        `(n, d, h', w')`. A module is used in evaluation mode and left as it was found.
    pool
        How maps become one vector per row.
    tokens
        Keep the maps: one token per position and row.
    normalize
        Scaling of what the encoder sees to [0, 1]: by the 0.1 and 99.9 percentile of each channel over all fields,
        by the largest value of the dtype (floats are clipped only), or none. Percentiles are exact for 8- and 16-bit
        integers, else those of up to about 4 million pixels drawn at random. The named features are not scaled; their
        texture is quantised between the percentiles in any case.
    qc
        Measure quality inside each label or window. Nothing is removed.
    region
        Name of the field; for a sequence the fields are `region_0`, `region_1`, ... A dict names its fields itself, a
        SpatialData by its elements.
    batch_size
        Crops per call of the encoder.
    chunks
        Side in pixels of the blocks in which a field is processed; None for 2048.
    {device}
    {rng}
    {show_progress_bar}

    Returns
    -------
    An :class:`~anndata.AnnData` with one row per label, position, tile or image, in the order of fields and ids:

    `.X` : :class:`numpy.ndarray` (dtype `float32`)
        Features `(n, d)`; `.var_names` are their names (`image_0`, ... for an encoder of yours).
    `.obs['region']`, `.obs['instance_id']`
        Field (category) and label id (or number of the position or tile within its field).
    `.obs['area']`, `.obs['row']`, `.obs['col']`, `.obs['touches_border']`
        Pixels of the label or window inside the image; centre of the crop in pixels; whether the label touches the
        border of the image, or the window reaches over it.
    `.obs['qc_focus_<channel>']`, `qc_mean_*`, `qc_saturated_*`, `qc_foreground_*`, `.obs['qc_pass']`
        Variance of the Laplacian, mean, share of saturated pixels, share of pixels above Otsu's threshold of all
        fields; and whether no channel has more than 5 % saturated pixels and log focus and log mean lie within five
        scaled median absolute deviations of the median of their field (focus: not below).
    `.obsm['spatial']` : :class:`numpy.ndarray` (dtype `float64`)
        Centroid x, y in pixels of the field.
    `.obsm['tokens']` : :class:`numpy.ndarray` (dtype `float32`)
        With `tokens=True`: `(n, positions, d)`, positions in row-major order.
    `.uns['spatial']`
        Preview and scale factors per field, for the spatial plots of squidpy and scanpy.
    `.uns['image_to_adata']`
        `params`, `channel_names`, `bounds` of the normalisation, `token_grid`, and `fields`: where the pixels are, or
        the pixels themselves up to 256 MiB in all, so that :func:`saescape.get.crops` can cut the crops again.

    Raises
    ------
    TypeError
        Pixels that are not real numbers, labels that are not integers.
    ValueError
        Wrong axes, shapes that do not match, values that are not finite, nothing to describe, or an encoder that
        returns something else than described above.
    MemoryError
        Tokens that do not fit.

    Notes
    -----
    Shape features follow :func:`skimage.measure.regionprops`, texture :func:`skimage.feature.graycomatrix` (16 levels,
    distance 1, four directions added up).

    Examples
    --------
    >>> import numpy as np, saescape as sae
    >>> rng = np.random.default_rng(0)
    >>> image = rng.poisson(100, (2, 64, 64)).astype(np.uint16)
    >>> labels = np.zeros((64, 64), dtype=int)
    >>> labels[10:20, 10:22] = 1
    >>> labels[40:55, 30:42] = 7
    >>> adata = sae.pp.image_to_adata(
    ...     image, labels, channel_names=["DAPI", "GFP"], crop_size=24, show_progress_bar=False
    ... )
    >>> adata.obs[["region", "instance_id", "area"]]
            region  instance_id  area
    image_1  image            1   120
    image_7  image            7   180
    >>> bool(np.isclose(adata[:, "GFP_mean"].X[1, 0], image[1, 40:55, 30:42].mean()))
    True
    """
    unit = check_unit(
        labels if labels is not None else labels_key, centers, tile_size, stride, crop_size, encoder, pool, normalize
    )
    check_integer("batch_size", batch_size)
    block = 2048 if chunks is None else check_integer("chunks", chunks, 16)
    names = check_channel_names(channel_names)
    if tokens and encoder == "features":
        msg = (
            "`tokens=True` needs an encoder that returns maps; `encoder='features'` does not. Use `encoder='filters'`."
        )
        raise ValueError(msg)
    resolved = None if encoder == "features" else resolve_device(device)
    generator = as_generator(rng)

    from saescape.imaging._fields import clean_name, collect_fields
    from saescape.imaging._measure import Measurement
    from saescape.imaging._scan import region_finder, scan_fields
    from saescape.imaging._spatialdata import is_spatialdata, spatialdata_fields

    start = logg.info("describing images")
    if is_spatialdata(image):
        if labels is not None:
            msg = "`labels`: name the labels of a SpatialData by `labels_key`."
            raise ValueError(msg)
        fields = spatialdata_fields(image, image_key, labels_key, centers)
    else:
        if image_key is not None or labels_key is not None:
            msg = f"`image_key` and `labels_key` need a SpatialData, found {type(image).__name__}."
            raise TypeError(msg)
        fields = collect_fields(image, labels, centers, clean_name(region))
    finder = region_finder(unit, crop_size=crop_size, tile_size=tile_size, stride=stride)
    scan = scan_fields(fields, names, finder, block=block, rng=generator)
    percentile = scan.summary.percentile_scaling(scan.channel_names)
    scaling = scaling_of(normalize, percentile, scan)
    measurement = Measurement(fields, scan, block=block, quality=qc, progress=show_progress_bar)
    if encoder == "features":
        measured = measurement.named_features(percentile, shape=unit == "label")
    else:
        if unit == "label":
            log_clipped(scan, crop_size)
        encode, encoded_names = resolve_encoder(encoder, scan.channel_names)
        measured = measurement.encoded(
            encode,
            scaling,
            mask=mask_crops and unit == "label",
            batch_size=batch_size,
            pool=pool,
            keep_tokens=tokens,
            device=resolved,  # type: ignore[arg-type]
            names=encoded_names,
        )
    params = {
        "unit": unit,
        "crop_size": crop_size,
        "tile_size": tile_size,
        "stride": stride,
        "mask_crops": bool(mask_crops and unit == "label"),
        "encoder": encoder if isinstance(encoder, str) else name_of(encoder),
        "pool": pool,
        "tokens": tokens,
        "normalize": normalize or "none",
        "qc": qc,
        "rng": rng_param(rng),
        "version": version("saescape"),
    }
    adata = assemble(fields, scan, measured, scaling, percentile, params)
    logg.info(
        f"    finished: {adata.n_obs} rows x {adata.n_vars} features of {len(fields)} field(s)",
        time=start,
        deep="added\n    `.X`, `.obs['region', 'instance_id', ...]`, `.obsm['spatial']`, `.uns['image_to_adata']`",
    )
    return adata
