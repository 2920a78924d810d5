from __future__ import annotations

from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Literal

from saescape._device import resolve_device
from saescape._docs import doc_params
from saescape._logging import logg
from saescape._random import as_generator, rng_param
from saescape._validate import check_integer
from saescape.imaging._tasks import DEFAULT_BLOCK

from ._assemble import assemble
from ._image_arguments import check_channel_names, check_families, check_unit, log_clipped, log_padded, scaling_of
from ._image_measure import measure_fields
from ._region_arguments import check_areas, check_compartments, check_edge
from ._thumbnail_slots import check_thumbnail_memory, write_thumbnails

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from os import PathLike

    import pandas as pd
    import torch
    from anndata import AnnData

    from saescape._typing import Rng


@doc_params
def image_to_adata(
    image: Any,
    labels: Any = None,
    *,
    channel_names: Sequence[str] | None = None,
    channels: Sequence[str] | Mapping[str, str] | None = None,
    axes: str | None = None,
    pattern: str | None = None,
    labels_pattern: str | None = None,
    image_key: str | Sequence[str] | None = None,
    labels_key: str | Sequence[str] | None = None,
    scale: int | str | None = None,
    coordinate_system: str | None = None,
    obs: pd.DataFrame | Mapping[str, Mapping[str, Any]] | None = None,
    compartments: Mapping[str, Any] | None = None,
    min_area: float | None = None,
    max_area: float | None = None,
    tile_size: int | None = None,
    stride: int | None = None,
    edge: Literal["drop", "pad"] = "drop",
    centers: Any = None,
    crop_size: int = 64,
    mask_crops: bool = True,
    encoder: Literal["features", "filters"] | str | PathLike[str] | Callable[[torch.Tensor], Any] = "features",
    features: Sequence[str] | None = None,
    pool: Literal["mean", "max"] = "mean",
    tokens: bool = False,
    normalize: Literal["percentile", "dtype", "none"] | None = "percentile",
    qc: bool = True,
    thumbnails: int | None = None,
    region: str = "image",
    store: str | PathLike[str] | None = None,
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
        (projected by its maximum): numpy, dask or xarray array; the path of a TIFF (axes, channel names and pixel size
        from OME or ImageJ metadata), PNG or JPEG file (channels R, G, B) or OME-Zarr image; or, in a dict, a dict of
        one such source per channel. Or a folder of files (`pattern`), the path of an OME-Zarr plate, or a SpatialData
        object (`image_key`). All fields must have the same channels and dtype. TIFF, OME-Zarr and dask arrays are read
        block by block.
    labels
        Segmentation of the same structure: `(Y, X)` integer labels, 0 for background, or paths to them; the name of
        labels in the OME-Zarr of the image; or a folder (`labels_pattern`). A binary mask is split into its connected
        components, with a warning. Ids need not be consecutive.
    channel_names
        Names of all channels of the image; None takes those of the file or `channel_0`, ...
    channels
        Names of the channels to keep, in the order wanted, or a mapping from these to new names; None keeps all.
    axes
        What the axes of arrays and files are, e.g. `"YXC"`: letters C, Z, Y, X, T (one time point only) and S (colour
        samples), as many as there are axes. It wins over metadata; None takes these, else C, Y, X is assumed.
    pattern
        For a folder: a regular expression that matches the whole name of a file (with a `/`: the path below the
        folder). The named group `channel` tells the files of the channels of a field, `z` or `plane` planes that are
        projected by their maximum; all other groups together name the field and become columns of `.obs`. Or
        `"phenix"` (`r01c02f03p01-ch1sk1fk1fl1.tiff`), or `"cell_painting"` (names of Cytation, ImageXpress,
        CellVoyager and Phenix). None takes each file as a field.
    labels_pattern
        The same for a folder of labels, with the groups that name the field. Fields without labels are left out, with
        a warning.
    image_key
        Image element(s) of a SpatialData; may be left out when there is only one.
    labels_key
        Labels element(s) of a SpatialData, one per image, or several of one image; they may be shifted against the
        image by whole pixels. Columns of tables that annotate them are joined by their instance key.
    scale
        Resolution level of OME-Zarr, pyramidal TIFF and multi-scale SpatialData: its number or name; None for the
        full resolution. Coordinates and sizes are in pixels of this level.
    coordinate_system
        Coordinate system of a SpatialData in which images and labels are compared; None takes any that they share.
    obs
        What is known about the fields: a DataFrame indexed by field, or a mapping from field to a dict. Its columns
        (plate, donor, condition, ...) go to all rows of the field.
    compartments
        Named label images of parts of the labels, `{"nucleus": nuclei, "cytoplasm": "rest"}`, each of the same
        structure as `labels` (names of labels elements for a SpatialData, of labels inside an OME-Zarr, or a pattern
        like `labels_pattern` for a folder). An object belongs to the label that it
        shares most pixels with, when that is at least half of the object; a binary mask belongs pixel by pixel to the
        label it lies in. A compartment ends where its label ends. `"rest"` is the label without all other
        compartments. The named features are measured on each of them too, as `<compartment>_<feature>`; NaN where a
        label has none.
    min_area, max_area
        Labels of fewer or more pixels are left out.
    tile_size
        Side in pixels of square tiles.
    stride
        Distance in pixels between tiles; None for `tile_size` (no overlap).
    edge
        Incomplete tiles at the right and lower edge are dropped, or padded with 0 (`"pad"`), so that all pixels of the
        image are in a tile; features are measured on the part inside.
    centers
        `(n, 2)` positions x, y in pixels (integers are pixel centres), of the same structure as `image`.
    crop_size
        Side in pixels of the crop around a label or position that the encoder sees. It is centred on the middle of
        the label's bounding box; what lies outside the image is 0.
    mask_crops
        Set other labels and the background to 0 in the crops of labels (after normalisation).
        The named features are always measured inside the label.
    encoder
        `"features"`: named features in the units of the image: per channel the distribution of intensities,
        their radial distribution, granularity and co-occurrence texture, per pair of channels correlation and
        co-localisation, and with `labels` the shape; measured on the label, or on the window around a position.
        `"filters"`: a fixed bank of Gaussian-derivative filters averaged over a grid of 8 x 8 positions; needs
        no weights and gives named tokens. Or a :class:`saescape.models.ContrastiveEncoder`, a
        :class:`saescape.models.ImageEncoder` (layers, RGB networks, input sizes, weights), or what the latter
        takes: a :class:`torch.nn.Module` or callable that takes float32 `(n, C, h, w)` and returns `(n, d)` or
        maps `(n, d, h', w')`, the path of a TorchScript file or of a saved ContrastiveEncoder, or
        `"timm:NAME"`. A module is used in evaluation mode and left as it was found.
    features
        Which families of named features: `"intensity"`, `"quantiles"`, `"shape"`, `"texture"`, `"granularity"`,
        `"radial"`, `"correlation"`; None for all.
    pool
        How maps become one vector per row.
    tokens
        Keep the maps: one token per position and row.
    normalize
        Scaling of what the encoder sees to [0, 1]: by the 0.1 and 99.9 percentile of each channel over all fields,
        by the largest value of the dtype (floats are clipped only), or none. Percentiles are exact for 8- and 16-bit
        integers, else those of up to about 4 million pixels drawn at random. The named features are not scaled;
        texture and co-localisation use the percentiles in any case.
    qc
        Measure quality inside each label or window. Nothing is removed.
    thumbnails
        Side in pixels of small pictures to keep of every observation, for looking at them when the pixels are out of
        reach: arrays above 256 MiB in all are not kept, and files can move. None keeps none.
    region
        Name of the field; for a sequence the fields are `region_0`, `region_1`, ... A dict names its fields itself, a
        SpatialData by its elements.
    store
        Folder (zarr) in which results are kept as they come. The same call after an interruption goes on there, and
        tokens stay on disk as a dask array. Another call with the same folder is an error.
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
    `.obs['has_<compartment>']`, `.obs['n_<compartment>']`
        With `compartments`: whether the label has one, and how many objects.
    `.obs[...]`
        Columns of `obs`, named groups of `pattern`, and columns of tables of the SpatialData (with the suffix `_table`
        if the name is taken).
    `.obs['qc_focus_<channel>']`, `qc_mean_*`, `qc_sd_*`, `qc_saturated_*`, `qc_foreground_*`
        Variance of the Laplacian, mean, SD, share of saturated pixels, share of pixels above Otsu's threshold of all
        fields.
    `.obs['qc_pass']`, `.obs['qc_reason']`, `.uns['image_qc']`
        Whether no channel has more than 5 % saturated pixels and log focus and log mean lie within five scaled median
        absolute deviations of the median of their field (focus: not below); see :func:`saescape.pp.image_qc`.
    `.obsm['spatial']` : :class:`numpy.ndarray` (dtype `float64`)
        Centroid x, y in pixels of the field.
    `.obsm['tokens']` : :class:`numpy.ndarray` (dtype `float32`)
        With `tokens=True`: `(n, positions, d)`, positions in row-major order.
    `.obsm['thumbnails']` : :class:`numpy.ndarray` (dtype `uint8`)
        With `thumbnails`: `(n, n_channels + 1, side, side)`, the crop as a square between `thumbnail_bounds` in
        `.uns['image_to_adata']`; the last plane is the label's own area, or the image inside the window.
    `.uns['spatial']`
        Preview and scale factors per field, for the spatial plots of squidpy and scanpy.
    `.uns['image_to_adata']`
        `params`, `channel_names`, `bounds` of the normalisation, `token_grid`, and `fields`: where the pixels are, or
        the pixels themselves up to 256 MiB in all, so that :func:`saescape.get.crops` can cut the crops again, and
        `pixel_size` in micrometres where the file says it.

    Raises
    ------
    TypeError
        Pixels that are not real numbers, labels that are not integers.
    ValueError
        Wrong axes, a file that cannot be read, missing or extra files of channels, shapes that do not match, values
        that are not finite, nothing to describe, or an encoder that returns something else than described above.
    MemoryError
        Tokens that do not fit.

    Notes
    -----
    Every family of named features looks at the pixels of the label or window alone, so that neither a neighbour nor
    the background counts. Shape follows :func:`skimage.measure.regionprops`, texture
    :func:`skimage.feature.graycomatrix` (:cite:t:`Haralick1973`; 16 levels, distance 1, four directions added up).
    `granularity_1`, `_2`, `_4`, `_8` are shares of energy: the sum of squares of undecimated B3-spline wavelets
    (:cite:t:`Starck2007`) whose taps are that many pixels apart, over that of all four and the smooth rest, each
    smoothing normalised by that of the mask (:cite:t:`Knutsson1993`). `radial_*` are means of three rings of equal
    width over the mean, `radial_cv_*` the coefficient of variation of eight wedges of a ring; `displacement` is the
    distance of the centre of mass of the intensity from the centroid over the radius. `manders_A_B`
    (:cite:t:`Manders1993`) is the share of A's signal in pixels where B has signal, too; signal starts at 15 % of
    the way from the channel's 0.1 percentile to the object's maximum.

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
    has_labels = unit == "label"
    check_edge(edge, tile_size)
    check_areas(min_area, max_area, has_labels=has_labels)
    parts = check_compartments(compartments, has_labels=has_labels)
    check_integer("batch_size", batch_size)
    if thumbnails is not None:
        check_integer("thumbnails", thumbnails, 8, 1024)
    block = DEFAULT_BLOCK if chunks is None else check_integer("chunks", chunks, 16)
    given_names = check_channel_names(channel_names)
    if tokens and encoder == "features":
        msg = (
            "`tokens=True` needs an encoder that returns maps; `encoder='features'` does not. Use `encoder='filters'`."
        )
        raise ValueError(msg)
    if encoder != "features":
        resolve_device(device)
    families = check_families(features)
    generator = as_generator(rng)

    from saescape.imaging._features import FAMILIES
    from saescape.imaging._gather import gather_fields
    from saescape.imaging._measure import Encoding, NamedFeatures, Quality
    from saescape.imaging._scan import region_finder, scan_fields
    from saescape.imaging.encoders._resolve import describe_encoder, open_encoder, resolve_encoder

    if encoder != "features":
        encoder = open_encoder(encoder)

    start = logg.info("describing images")
    fields = gather_fields(
        image,
        labels,
        centers=centers,
        region=region,
        channel_names=given_names,
        channels=channels,
        axes=axes,
        pattern=pattern,
        labels_pattern=labels_pattern,
        image_key=image_key,
        labels_key=labels_key,
        scale=scale,
        coordinate_system=coordinate_system,
        compartments=parts,
        obs=obs,
    )
    finder = region_finder(
        unit,
        crop_size=crop_size,
        tile_size=tile_size,
        stride=stride,
        edge=edge,
        min_area=min_area,
        max_area=max_area,
    )
    scan = scan_fields(fields, finder, block=block, rng=generator)
    if thumbnails is not None:
        check_thumbnail_memory(scan, thumbnails)
    percentile = scan.summary.percentile_scaling(scan.channel_names)
    scaling = scaling_of(normalize, percentile, scan)
    quality = Quality(scan.summary.saturation(), scan.summary.otsu()) if qc else None
    measure: NamedFeatures | Encoding
    if encoder == "features":
        inside = tuple(scan.regions[0].compartments)
        measure = NamedFeatures(scan.channel_names, families or FAMILIES, percentile, has_labels, inside, quality)
        if not measure.names():
            listed = list(families or FAMILIES)
            msg = f"`features={listed}` gives nothing: shape needs `labels`, correlation two channels."
            raise ValueError(msg)
        described: dict[str, Any] = {"name": encoder}
    else:
        if unit in {"label", "center"}:
            log_padded(scan, crop_size)
        if unit == "label":
            log_clipped(scan, crop_size)
        encode, columns = resolve_encoder(encoder, scan.channel_names)
        described = describe_encoder(encode)
        mask = mask_crops and has_labels
        measure = Encoding(encode, scaling, mask, batch_size, pool, tokens, device, quality, columns)
    params = {
        "unit": unit,
        "crop_size": crop_size,
        "tile_size": tile_size,
        "stride": stride,
        "edge": edge,
        "min_area": min_area,
        "max_area": max_area,
        "compartments": list(parts),
        "mask_crops": bool(mask_crops and unit == "label"),
        "encoder": encoder if isinstance(encoder, str) else described["name"],
        "pool": pool,
        "tokens": tokens,
        "normalize": normalize or "none",
        "qc": qc,
        "thumbnails": thumbnails,
        "features": list(families or ()),
        "rng": rng_param(rng),
        "version": version("saescape"),
    }
    measured = measure_fields(
        fields,
        scan,
        measure,
        block=block,
        store=store,
        params={**params, "encoder": described},
        progress=show_progress_bar,
    )
    names = measure.names(measured.values.shape[1])
    adata = assemble(fields, scan, measured, names, scaling, percentile, params)
    if thumbnails is not None:
        write_thumbnails(adata, fields, scan, percentile, thumbnails)
    logg.info(
        f"    finished: {adata.n_obs} rows x {adata.n_vars} features of {len(fields)} field(s)",
        time=start,
        deep="added\n    `.X`, `.obs['region', 'instance_id', ...]`, `.obsm['spatial']`, `.uns['image_to_adata']`",
    )
    return adata
