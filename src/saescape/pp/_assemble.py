"""Put what was measured on images into an AnnData."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from anndata import AnnData

from saescape._keys import IMAGE_UNS, SPATIAL, TOKENS

from ._qc_slots import default_params, judge_observations, write_verdict

if TYPE_CHECKING:
    from saescape.imaging._fields import Field
    from saescape.imaging._regions import Regions
    from saescape.imaging._results import Measured
    from saescape.imaging._scaling import Scaling
    from saescape.imaging._scan import Scan


def assemble(
    fields: list[Field],
    scan: Scan,
    measured: Measured,
    names: list[str],
    scaling: Scaling | None,
    percentile: Scaling,
    params: dict[str, Any],
) -> AnnData:
    """Make the AnnData of `image_to_adata` from what was measured."""
    from saescape.imaging._field_obs import add_field_obs
    from saescape.imaging._preview import picture
    from saescape.imaging._qc import qc_columns
    from saescape.imaging._spatial_tables import add_annotations
    from saescape.imaging._store import describe_fields

    sizes = [len(found) for found in scan.regions]
    field_of = np.repeat(np.arange(len(fields)), sizes)
    region_names = [field.name for field in fields]

    def joined(attribute: str) -> np.ndarray:
        return np.concatenate([getattr(found, attribute) for found in scan.regions])

    ids = joined("ids")
    obs = pd.DataFrame(
        {
            "region": pd.Categorical.from_codes(field_of, categories=pd.Index(region_names)),
            "instance_id": ids.astype(np.int64),
        }
    )
    if params["unit"] == "image":
        obs.index = pd.Index(region_names, dtype=str)
    else:
        obs.index = pd.Index([f"{region_names[f]}_{i}" for f, i in zip(field_of, ids.tolist(), strict=True)], dtype=str)
    for column in ("area", "row", "col", "touches_border"):
        obs[column] = joined(column)
    for name in scan.regions[0].compartments:
        counts = np.concatenate([found.compartments[name].counts for found in scan.regions])
        obs[f"has_{name}"], obs[f"n_{name}"] = counts > 0, counts
    if measured.quality is not None:
        flat = measured.quality.reshape(len(obs), -1)
        quality = pd.DataFrame(flat, index=obs.index, columns=qc_columns(scan.channel_names))
        obs = pd.concat([obs, quality], axis=1)
    obs = add_annotations(add_field_obs(obs, [field.obs for field in fields], field_of), fields)

    adata = AnnData(X=measured.values, obs=obs, var=pd.DataFrame(index=pd.Index(names, dtype=str)))
    if measured.quality is not None:
        write_verdict(adata, judge_observations(adata), default_params())
    adata.obsm[SPATIAL] = joined("spatial").astype(np.float64)
    stored: dict[str, Any] = {
        "params": params,
        "channel_names": np.array(scan.channel_names, dtype=str),
        "fields": describe_fields(fields, scan.shapes, scan.dtype),
        # what pictures are stretched between, and what the encoder saw
        "display_bounds": np.stack([percentile.low, percentile.high], axis=1),
    }
    if scaling is not None:
        stored["bounds"] = np.stack([scaling.low, scaling.high], axis=1)
    if measured.grid is not None:
        stored["token_grid"] = np.array(measured.grid, dtype=np.int64)
    if measured.tokens is not None:
        adata.obsm[TOKENS] = measured.tokens
    adata.uns[IMAGE_UNS] = stored
    adata.uns[SPATIAL] = {}
    for field, found, preview, factor in zip(fields, scan.regions, scan.previews, scan.preview_factors, strict=True):
        stored["fields"][field.name]["n_removed"] = found.n_removed
        for name, part in found.compartments.items():
            stored["fields"][field.name][f"n_unmatched_{name}"] = part.n_unmatched
        adata.uns[SPATIAL][field.name] = {
            "images": {"hires": picture(preview, scan.channel_names, percentile, scan.dtype)},
            "scalefactors": {
                "tissue_hires_scalef": 1.0 / factor,
                "spot_diameter_fullres": _diameter(found, str(params["unit"])),
            },
        }
    return adata


def _diameter(found: Regions, unit: str) -> float:
    """Size of a spot in plots: the equivalent diameter of the median label, or the side of the window."""
    if unit == "label" and len(found):
        return float(2 * np.sqrt(np.median(found.area) / np.pi))
    return float(max(found.window))
