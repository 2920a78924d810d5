from __future__ import annotations

from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np

from saescape._docs import doc_params
from saescape._random import as_generator, rng_param
from saescape._validate import check_integer, check_real
from saescape.simulation._design import check_design
from saescape.simulation.neurons._channels import CHANNEL_NAMES, PSF_SIGMA
from saescape.simulation.neurons._culture import plan_culture
from saescape.simulation.neurons._death import DEATH_THRESHOLD
from saescape.simulation.neurons._layout import MARGIN, cell_centres
from saescape.simulation.neurons._motifs import ABUNDANCE, CATALOGUE
from saescape.simulation.neurons._optics import CAMERA_OFFSET, Optics, shading_field
from saescape.simulation.neurons._packed import PackedMasks
from saescape.simulation.neurons._render import render_field
from saescape.simulation.neurons._rna import MIN_MODULE, rna_of_concepts
from saescape.simulation.neurons._truth import truth_of_cells, truth_of_fields

from ._neuron_fields import NeuronFields

if TYPE_CHECKING:
    from saescape._typing import Rng

_PLATE_OFFSET = 100.0


@doc_params
def neurons(
    n_fields: int = 8,
    *,
    size: int = 512,
    n_cells: int = 16,
    n_concepts: int = 12,
    n_motifs: float = 3.0,
    n_conditions: int = 2,
    n_lines: int = 2,
    n_plates: int = 2,
    n_wells: int = 4,
    time_share: float = 0.3,
    condition_share: float = 0.1,
    plate_share: float = 0.1,
    heterogeneity: float = 1.0,
    death_zeros: float = 0.5,
    plate_effect: float = 0.0,
    illumination: float = 0.2,
    blur: float = 1.0,
    noise: float = 1.0,
    n_planes: int = 1,
    n_ref: int | None = 300,
    n_genes: int = 600,
    rng: Rng = 0,
) -> NeuronFields:
    """Simulate fluorescence images of neurons with known concepts, and RNA of the same culture.

    A neuron has a soma, a nucleus with textured chromatin, and branching neurites. Each *concept* is a motif in one or
    two channels: puncta, filaments, rings, chains of beads, blobs, pairs of puncta at a fixed distance, or nuclear
    texture of one frequency. How often a cell has it depends on the concept's role in the experiment: it rises or falls
    with the time of the disease, differs between conditions or between plates, or is private to the cell. The number of
    motifs is Poisson. A death dye fills a known share of each nucleus. Then come blur, uneven illumination, and photon
    and camera noise.

    Parameters
    ----------
    n_fields
        Fields of view. They take the wells in turn, all plates first.
    size
        Side of a field in pixels.
    n_cells
        Cells per field: Poisson with this mean, fewer when no more fit (somata do not overlap), at least one.
    n_concepts
        Number of concepts, at most 24.
    n_motifs
        Mean number of motifs of an average concept in a cell; large motifs are fewer than small ones.
    n_conditions
        Conditions; the later, the further in time are its cells.
    n_lines
        Cell lines per condition.
    n_plates
        Plates.
    n_wells
        Wells per plate.
    time_share
        Share of concepts that change with time, half up and half down.
    condition_share
        Share of concepts that differ between conditions.
    plate_share
        Share of concepts that differ between plates.
    heterogeneity
        Shape of the Gamma variable (mean 1) by which each concept varies between cells; smaller is more,
        infinity none.
    death_zeros
        Share of cells whose nucleus has no death dye.
    plate_effect
        Standard deviation of the logarithm of the gain of a plate, per channel; offsets differ by 100 times as many
        grey levels.
    illumination
        Loss of light from the centre to the farthest corner, in [0, 1).
    blur
        Width of the point spread function relative to a standard deviation of about 1 pixel.
    noise
        Standard deviation of photon and read noise relative to that of an average camera; 0 for none.
    n_planes
        Planes of a stack, with out-of-focus light; 1 for one image in focus.
    n_ref
        Cells of the RNA side: other cells of the same wells. None for no RNA.
    n_genes
        Genes. Each concept drives a module of 10 to 30 genes; the others are not regulated.
    {rng}

    Returns
    -------
    Fields with

    `images`
        uint16 `(C, Y, X)`, or `(C, Z, Y, X)` with `n_planes` above 1, by field. Channels `nuclei`, `neurites`,
        `mitochondria`, `lysosomes` and `death`.
    `labels`, `nuclei`
        int32 `(Y, X)` masks of cells (soma and the first 30 pixels of each neurite) and of their nuclei.
    `concept_masks`
        bool `(n_concepts, Y, X)`: the pixels of all motifs of each concept. Motifs lie inside their cell, and two of
        the same concept do not touch.
    `obs`
        Per field its `condition`, `line`, `plate`, `well` and `n_cells`.
    `truth`
        AnnData with a row per cell, named as by :func:`saescape.pp.image_to_adata`: `.X` motifs of each concept,
        `.layers['rates']` their expected number (fewer are placed in a cell that has no more room), `.obs` `region`,
        `instance_id`, `condition`, `line`, `plate`, `well`, `time` and `cell_death` (share of the nucleus in which the
        death channel is at or above the threshold, to about 1 %), `.obsm['spatial']`; per concept `.var['motif']`,
        `'channels'`, `'place'`, `'radius'`, `'extent'`, `'bend'` (pixels), `'role'`, `'effect'`; `.uns['neurons']` with
        `death_threshold` (grey levels, without plate effects and in the middle of the field), `gain` and `offset` of
        each plate and channel, `placed` (share of the motifs that found room) and `params`.
    `rna`
        AnnData of `n_ref` cells: `.layers['counts']` negative binomial counts, `.X` their logarithms after
        normalisation to 10,000 per cell, `.var['concept']` the concept that drives the gene or `"none"`,
        `.obsm['concepts']` true rates relative to the mean, and `.obs` as in `truth`, without position.

    Raises
    ------
    TypeError, ValueError
        If a number is of the wrong type or out of range, or lines do not fit into the wells.

    Notes
    -----
    `cell_death` follows the rates of the concepts that change with time: zero-inflated Beta, with a mean that is
    logistic in their sum. Whoever predicts it from images leaves out the last channel, as below.

    Examples
    --------
    >>> import saescape as sae
    >>> fields = sae.datasets.neurons(2, size=192, n_cells=4, n_ref=50)
    >>> adata = sae.pp.image_to_adata(
    ...     {name: image[:4] for name, image in fields.images.items()},
    ...     fields.labels,
    ...     channel_names=fields.channel_names[:4],
    ...     encoder="filters",
    ...     tokens=True,
    ...     crop_size=96,
    ...     show_progress_bar=False,
    ... )
    >>> adata.obsm["concepts"] = fields.truth[adata.obs_names].X
    >>> adata.obs = adata.obs.join(fields.truth.obs[["condition", "plate", "well", "cell_death"]])
    >>> adata.obsm["concepts"].shape == (adata.n_obs, 12)
    True
    >>> fields.truth.var[["motif", "channels"]].head(3)
                  motif      channels
    concept_0    puncta     lysosomes
    concept_1  filament  mitochondria
    concept_2      ring     lysosomes
    """
    sizes = {"n_fields": n_fields, "n_cells": n_cells, "n_planes": n_planes}
    for name, value in sizes.items():
        check_integer(name, value)
    size = check_integer("size", size, int(3 * MARGIN))
    n_concepts = check_integer("n_concepts", n_concepts, 1, len(CATALOGUE))
    check_real("n_motifs", n_motifs)
    check_design(n_conditions, n_lines, n_plates, n_wells)
    for name, amount in {"plate_effect": plate_effect, "blur": blur, "noise": noise}.items():
        check_real(name, amount, open_low=False)
    check_real("death_zeros", death_zeros, 0.0, 1.0, open_low=False)
    if check_real("illumination", illumination, open_low=False) >= 1:
        msg = f"`illumination` must be at least 0 and less than 1, found {illumination:g}."
        raise ValueError(msg)
    if n_ref is not None:
        check_integer("n_ref", n_ref)
        check_integer("n_genes", n_genes, MIN_MODULE * n_concepts)
    design: dict[str, Any] = {
        "n_conditions": n_conditions,
        "n_lines": n_lines,
        "n_plates": n_plates,
        "n_wells": n_wells,
        "time_share": time_share,
        "condition_share": condition_share,
        "plate_share": plate_share,
        "heterogeneity": heterogeneity,
        "death_zeros": death_zeros,
    }
    params: dict[str, Any] = {
        **{name: int(value) for name, value in sizes.items()},
        "size": size,
        "n_concepts": n_concepts,
        "n_motifs": float(n_motifs),
        **design,
        "plate_effect": float(plate_effect),
        "illumination": float(illumination),
        "blur": float(blur),
        "noise": float(noise),
        "rng": rng_param(rng),
        "version": version("saescape"),
    }
    # each part draws from its own stream, so that one setting does not change what another part draws
    layout, biology, numbers, plates, shade, drawing, sequencing = as_generator(rng).spawn(7)

    centres = [cell_centres(max(1, int(n)), size, layout) for n in layout.poisson(n_cells, n_fields)]
    culture = plan_culture(
        np.array([len(points) for points in centres]),
        n_ref or 0,
        n_concepts,
        **design,
        rng=biology,
    )
    motifs = CATALOGUE[:n_concepts]
    rates = n_motifs * np.array([ABUNDANCE[motif.kind] for motif in motifs]) * culture.design.factor
    death = culture.design.obs["cell_death"].to_numpy()
    n_channels = len(CHANNEL_NAMES)
    gain = np.exp(plate_effect * plates.standard_normal((n_plates, n_channels)))
    offset = _PLATE_OFFSET * plate_effect * plates.standard_normal((n_plates, n_channels))
    optics = Optics(blur * np.array(PSF_SIGMA), n_planes, shading_field(n_channels, size, illumination, shade))

    images, labels, nuclei = {}, {}, {}
    masks, counts, n_wanted = PackedMasks(), [], 0
    for f, stream in enumerate(drawing.spawn(n_fields)):
        own, plate = culture.cells[f], culture.plate[f]
        wanted = numbers.poisson(rates[own])
        field = render_field(
            centres[f], wanted, death[own], motifs, optics, gain[plate], offset[plate], noise, rng=stream
        )
        name = f"field_{f}"
        images[name], labels[name], nuclei[name] = field.image, field.labels, field.nuclei
        masks.add(name, field.masks)
        counts.append(field.counts)
        n_wanted += int(wanted.sum())

    truth = truth_of_cells(culture, labels, counts, rates, motifs)
    truth.uns["neurons"] = {
        "death_threshold": CAMERA_OFFSET + DEATH_THRESHOLD,
        "channel_names": np.array(CHANNEL_NAMES),
        "gain": gain,
        "offset": offset,
        "placed": float(truth.X.sum()) / max(n_wanted, 1),
        "params": params,
    }
    rna = None
    if n_ref is not None:
        activity = culture.design.factor[culture.others]
        rna = rna_of_concepts(activity, list(truth.var_names), n_genes, sequencing)
        rna.obs = culture.design.obs.iloc[culture.others].set_index(rna.obs_names)
        rna.obsm["concepts"] = activity.astype(np.float32)
    return NeuronFields(
        images=images,
        channel_names=list(CHANNEL_NAMES),
        obs=truth_of_fields(culture, list(images)),
        labels=labels,
        nuclei=nuclei,
        concept_masks=masks,
        truth=truth,
        rna=rna,
    )
