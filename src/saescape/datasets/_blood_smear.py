from __future__ import annotations

import pandas as pd

from ._fields import DATA, ImageFields


def blood_smear() -> ImageFields:
    """Blood smears: 100 RGB fields with boxes and classes of red cells, white cells and platelets.

    The first 100 fields (480 x 640 pixels, uint8, JPEG) of BCCD. Ships with the package.

    Returns
    -------
    Fields with `images`, `channel_names` (R, G, B), `obs` (one row per field with the number of objects of each class)
    and `boxes`: `field`, `cell_type` (`RBC`, `WBC`, `Platelets`), `x`, `y` (centre), `width`, `height` in pixels.

    Notes
    -----
    Source: BCCD (`github.com/Shenggan/BCCD_Dataset`, commit d272fb14cdff), MIT; the licence lies beside the files.
    Not every cell has a box.

    Examples
    --------
    >>> import saescape as sae
    >>> fields = sae.datasets.blood_smear()
    >>> len(fields.images)
    100
    >>> fields.boxes["cell_type"].value_counts().to_dict()
    {'RBC': 1406, 'Platelets': 128, 'WBC': 107}
    >>> centers = {field: boxes[["x", "y"]].to_numpy() for field, boxes in fields.boxes.groupby("field")}
    """
    folder = DATA / "blood_smear"
    corners = pd.read_csv(folder / "boxes.csv")
    boxes = pd.DataFrame(
        {
            "field": corners["field"],
            "cell_type": pd.Categorical(corners["cell_type"]),
            "x": (corners["xmin"] + corners["xmax"]) / 2,
            "y": (corners["ymin"] + corners["ymax"]) / 2,
            "width": corners["xmax"] - corners["xmin"],
            "height": corners["ymax"] - corners["ymin"],
        }
    )
    obs = pd.crosstab(boxes["field"], boxes["cell_type"])
    obs.columns = [f"n_{name}" for name in obs.columns]
    images = {field: folder / f"{field}.jpg" for field in obs.index}
    return ImageFields(images=images, channel_names=["R", "G", "B"], obs=obs, boxes=boxes)
