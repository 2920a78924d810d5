from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from pandas.api.types import is_numeric_dtype

from saescape._docs import doc_params
from saescape._logging import logg
from saescape._validate import check_adata, check_copy, check_real, missing_key, require_key

from ._qc_slots import DEFAULT_MADS, DEFAULT_SATURATED, judge_observations, write_verdict

if TYPE_CHECKING:
    from collections.abc import Mapping

    from anndata import AnnData


@doc_params
def image_qc(
    adata: AnnData,
    *,
    thresholds: Mapping[str, tuple[float | None, float | None]] | None = None,
    groupby: str | None = None,
    n_mads: float | None = DEFAULT_MADS,
    max_saturated: float | None = DEFAULT_SATURATED,
    key_added: str | None = None,
    copy: bool = False,
) -> AnnData | None:
    r"""Decide which observations have pixels of good quality. Nothing is removed.

    :func:`saescape.pp.image_to_adata` measures quality and calls this with the defaults. Call it again with other
    limits, within plates instead of fields, or after putting several data sets together; then look at
    :func:`saescape.pl.qc` and subset by `adata.obs["qc_pass"]`.

    Parameters
    ----------
    {adata}
    thresholds
        Limits `(low, high)`, both allowed values, None for open: for a column of `.obs` (`"qc_mean_DAPI"`, but also
        `"area"` or `"touches_border"`) or for a measure in all channels (`"focus"`, `"mean"`, `"sd"`, `"saturated"`,
        `"foreground"`). They replace the rules below in these columns.
    groupby
        Column of `.obs` within which outliers are looked for, such as the plate; None for the field (`"region"`).
        Groups with fewer than 20 observations are judged together.
    n_mads
        Outlier rule of focus (too low) and mean (too low or too high): how many scaled median absolute deviations of
        the logarithm lie between the median of the group and the limit. None turns the rule off.
    max_saturated
        Largest share of saturated pixels in any channel; None turns the rule off.
    key_added
        Replaces `qc` in the columns below and `image_qc` in `.uns`.
    {copy}

    Returns
    -------
    Returns `None` if `copy=False`, else an `AnnData`. Sets the following fields:

    `adata.obs['qc_pass' | key_added + '_pass']` : :class:`pandas.Series` (dtype `bool`)
        Whether every value lies within its limits.
    `adata.obs['qc_reason' | key_added + '_reason']` : :class:`pandas.Series` (dtype `category`)
        `"pass"`, or the first column that fails and the side, such as `"qc_focus_DAPI low"`.
    `adata.uns['image_qc' | key_added]` : :class:`dict`
        `limits`, a table with the limits and the numbers of failures on both sides of every column and group;
        `n_obs`, `n_failed`, `params`.

    Raises
    ------
    KeyError
        No quality measures, no column `groupby`, or thresholds for something that does not exist.
    TypeError
        Thresholds for a column that is not numeric.
    ValueError
        Thresholds that are no pairs or in the wrong order, or observations without a group.

    Notes
    -----
    The rule is that of :cite:t:`Leys2013` on logarithms: with :math:`m` the median of :math:`\log v` in the group and
    :math:`s = 1.4826 \cdot \mathrm{median} |\log v - m|`, limits are :math:`\exp(m \pm n_\mathrm{mads} s)`. It finds
    what differs from *most of the group*, not what is bad: in a plate that is out of focus as a whole, the sharp cells
    are the outliers. Compare groups in :func:`saescape.pl.qc`, and give thresholds where the scale is known. A rare
    kind of cell that is much dimmer or brighter than the others fails as well: look at `qc_pass` by cell type before
    you filter.

    A group without any spread has no limits, a channel that is constant everywhere is judged by thresholds only, and
    missing values are not judged.

    Examples
    --------
    >>> import numpy as np, saescape as sae
    >>> image = np.random.default_rng(0).poisson(100, (1, 160, 160)).astype(np.uint16)
    >>> image[:, :32, :32] = 100
    >>> adata = sae.pp.image_to_adata(image, channel_names=["DAPI"], tile_size=32, show_progress_bar=False)
    >>> int((adata.obs["qc_reason"] == "qc_focus_DAPI low").sum())
    1
    >>> sae.pp.image_qc(adata, thresholds={"focus": (None, None), "mean": (99, None)})
    >>> int((~adata.obs["qc_pass"]).sum()), int((adata.obs["qc_mean_DAPI"] < 99).sum())
    (0, 0)
    """
    check_adata(adata)
    check_copy(adata, copy=copy)
    limits = _check_thresholds(adata, thresholds)
    if n_mads is not None:
        n_mads = check_real("n_mads", n_mads)
    if max_saturated is not None:
        max_saturated = check_real("max_saturated", max_saturated, 0.0, 1.0, open_low=False)
    grouping = groupby or "region"
    groups = require_key(adata, "obs", grouping, argument=None if groupby is None else "groupby")
    if groups.isna().any():
        msg = f"`groupby={grouping!r}`: {int(groups.isna().sum())} observations have no value; fill them in."
        raise ValueError(msg)

    adata = adata.copy() if copy else adata
    start = logg.info("judging the quality of images")
    verdict = judge_observations(adata, groupby=grouping, thresholds=limits, n_mads=n_mads, max_saturated=max_saturated)
    params = {
        "groupby": grouping,
        "thresholds": np.array(list(limits), dtype=str),
        "n_mads": n_mads,
        "max_saturated": max_saturated,
    }
    write_verdict(adata, verdict, params, key_added=key_added)
    n_failed = int((~verdict.passed).sum())
    logg.info(f"    finished: {n_failed} of {adata.n_obs} observations fail", time=start)
    return adata if copy else None


def _check_thresholds(adata: AnnData, thresholds: Any) -> dict[str, tuple[float, float]]:
    """Limits per column of `obs`, with infinity for open."""
    from saescape.imaging._qc_verdict import MEASURES, qc_columns_of

    parts = qc_columns_of(adata.obs.columns)
    if not parts:
        msg = "`adata.obs` has no quality measures (`qc_focus_<channel>`, ...); run `sae.pp.image_to_adata(...)`."
        raise KeyError(msg)
    if thresholds is None:
        return {}
    if not hasattr(thresholds, "items"):
        msg = f"`thresholds` must be a dict of column -> (low, high), found {type(thresholds).__name__}."
        raise TypeError(msg)
    limits: dict[str, tuple[float, float]] = {}
    # measures first, so that the limits of a column go before those of all channels
    for name, pair in sorted(thresholds.items(), key=lambda item: item[0] not in MEASURES):
        where = f"thresholds[{name!r}]"
        low_high = _check_pair(where, pair)
        columns = [part.column for part in parts if part.measure == name] if name in MEASURES else [name]
        if not columns or columns[0] not in adata.obs:
            available = [*MEASURES, *(part.column for part in parts)]
            raise missing_key(str(name), "adata.obs", available, argument="thresholds")
        for column in columns:
            if not is_numeric_dtype(adata.obs[column]):
                msg = f"`{where}`: column {column!r} is not numeric ({adata.obs[column].dtype})."
                raise TypeError(msg)
            limits[column] = low_high
    return limits


def _check_pair(where: str, pair: Any) -> tuple[float, float]:
    if not isinstance(pair, tuple | list | np.ndarray) or len(pair) != 2:
        msg = f"`{where}` must be a pair (low, high) with None for open, found {pair!r}."
        raise ValueError(msg)
    low = -np.inf if pair[0] is None else check_real(where, pair[0], -np.inf, open_low=False)
    high = np.inf if pair[1] is None else check_real(where, pair[1], -np.inf, open_low=False)
    if low > high:
        msg = f"`{where}`: the lower limit ({low:g}) is above the upper one ({high:g})."
        raise ValueError(msg)
    return low, high
