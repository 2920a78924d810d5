"""Named features per second of ours beside scikit-image, cp_measure and squidpy.

All measure the same kind of synthetic field (5 channels of uint16 pixels, cells on a jittered grid). Fast cases get
2,048 x 2,048 pixels and 2,025 cells, slow ones a field of 512 x 512 with 121; rates are per cell. The cases take turns
within every repeat, so that a busy machine slows all of them alike; figures are medians over repeats of processor
seconds of one thread. Compilation happens in an untimed first call and is reported on its own.

cp_measure runs with its compiled backend. It and squidpy are left out where they are not installed.

    OMP_NUM_THREADS=1 python benchmarks/image_features.py [--repeats 5] [--out benchmarks/results/image_features.md]
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING

import anndata as ad
import numpy as np
import scanpy as sc
from skimage.feature import graycomatrix, graycoprops
from skimage.measure import regionprops, regionprops_table

import saescape as sae
from saescape.imaging._features import FAMILIES, block_features
from saescape.imaging._qc import block_quality
from saescape.imaging._scaling import Scaling

if TYPE_CHECKING:
    from collections.abc import Callable

INTENSITY = ("intensity_mean", "intensity_min", "intensity_max", "intensity_std")
BASIC = ("label", "area", "bbox", "centroid", *INTENSITY)
SHAPE = (
    *("area", "perimeter", "eccentricity", "solidity", "extent", "axis_major_length", "axis_minor_length"),
    *("equivalent_diameter_area", "feret_diameter_max", "euler_number"),
)
TEXTURE = ("contrast", "dissimilarity", "homogeneity", "energy", "entropy", "correlation")
LOW, HIGH = 150.0, 6000.0


@dataclass
class Case:
    """What is measured by whom; `run` returns the number of columns."""

    group: str
    who: str
    n_cells: int
    run: Callable[[], int]


def synthetic_field(side: int = 2048, n_cells: int = 2025, n_channels: int = 5, seed: int = 0):
    """uint16 image (C, Y, X) and labels: ellipses with radial profiles on a jittered grid over Poisson background."""
    rng = np.random.default_rng(seed)
    per_side = round(n_cells**0.5)
    step = side / per_side
    labels = np.zeros((side, side), dtype=np.int32)
    image = rng.poisson(200, (n_channels, side, side)).astype(np.float32)
    for i in range(per_side**2):
        center = (np.array(divmod(i, per_side)) + 0.5 + rng.uniform(-0.12, 0.12, 2)) * step
        axes, angle = rng.uniform(0.22, 0.36, 2) * step, rng.uniform(0, np.pi)
        reach = int(axes.max()) + 2
        y0, x0 = np.maximum(center.astype(int) - reach, 0)
        y, x = np.mgrid[y0 : min(y0 + 2 * reach, side), x0 : min(x0 + 2 * reach, side)]
        dy, dx = y - center[0], x - center[1]
        distance = ((dx * np.cos(angle) + dy * np.sin(angle)) / axes[0]) ** 2
        distance += ((dy * np.cos(angle) - dx * np.sin(angle)) / axes[1]) ** 2
        inside = (distance <= 1) & (labels[y, x] == 0)
        labels[y[inside], x[inside]] = i + 1
        profile = rng.gamma(2, 1500, (n_channels, 1)) * (1.2 - distance[inside])
        image[:, y[inside], x[inside]] += profile * rng.normal(1, 0.15, profile.shape)
    return np.clip(image, 0, 65535).astype(np.uint16), labels


def our_cases(image, labels) -> list[Case]:
    n_cells, n_channels = int(labels.max()), len(image)
    scaling = Scaling(np.full(n_channels, LOW), np.full(n_channels, HIGH))
    limits = np.full(n_channels, 65535.0), np.full(n_channels, 500.0)

    def kernel(*families):
        return block_features(labels, image, n_cells, scaling, families=families, shape=True).shape[1]

    def quality():
        return int(np.prod(block_quality(labels, image, n_cells, *limits).shape[1:]))

    def whole(**kwargs):
        return sae.pp.image_to_adata(image, labels, show_progress_bar=False, **kwargs).n_vars

    cases = [Case(family, "saescape, kernel", n_cells, lambda family=family: kernel(family)) for family in FAMILIES]
    return [
        *cases,
        Case("intensity", "saescape, image_to_adata", n_cells, lambda: whole(features=("intensity",), qc=False)),
        Case("quality", "saescape, kernel", n_cells, quality),
        Case("all", "saescape, kernels with quality", n_cells, lambda: kernel(*FAMILIES) + quality()),
        Case("all", "saescape, image_to_adata without quality", n_cells, lambda: whole(qc=False)),
        Case("all", "saescape, image_to_adata with quality", n_cells, whole),
    ]


def skimage_cases(image, labels, small_image, small_labels) -> list[Case]:
    last = np.ascontiguousarray(np.moveaxis(image, 0, -1))
    n_cells = int(labels.max())

    def table(*properties):
        return len(regionprops_table(labels, last, properties=properties))

    def texture():
        for channel in small_image:
            grey = np.clip((channel - LOW) * (16 / (HIGH - LOW)), 0, 15).astype(np.uint8) + 1
            for region in regionprops(small_labels, grey):
                angles = [0, np.pi / 4, np.pi / 2, 3 * np.pi / 4]
                counts = graycomatrix(region.image_intensity, [1], angles, 17, symmetric=True)
                matrix = counts[1:, 1:].sum(3, keepdims=True).astype(float)
                matrix /= max(matrix.sum(), 1)
                for name in TEXTURE:
                    graycoprops(matrix, name)
        return len(TEXTURE) * len(small_image)

    return [
        Case("intensity", "scikit-image, mean, min, max, SD", n_cells, lambda: table(*INTENSITY)),
        Case("intensity", "scikit-image, the same, box, centroid, area", n_cells, lambda: table(*BASIC)),
        Case("shape", "scikit-image", n_cells, lambda: table(*SHAPE)),
        Case("texture", "scikit-image, cell by cell (small field)", int(small_labels.max()), texture),
    ]


def cp_measure_cases(image, labels) -> list[Case]:
    import cp_measure
    from cp_measure.bulk import get_core_measurements, get_correlation_measurements

    cp_measure.set_accelerator("numba")
    core, pairwise = get_core_measurements(), get_correlation_measurements()
    pixels, n_cells = image / 65535.0, int(labels.max())

    def each_channel(*names):
        return sum(len(core[name](labels, channel)) for name in names for channel in pixels)

    def once(*names):
        return sum(len(core[name](labels, pixels[0])) for name in names)

    def pairs(*names):
        found = (pairwise[name](a, b, labels) for name in names for a, b in combinations(pixels, 2))
        return sum(len(one) for one in found)

    def everything():
        per_channel = each_channel("intensity", "texture", "granularity", "radial_distribution")
        return per_channel + once("sizeshape", "feret") + pairs("pearson", "manders_fold")

    note = "cp_measure (small field)"
    return [
        Case(
            "intensity",
            "cp_measure, with quartiles and edges (small field)",
            n_cells,
            lambda: each_channel("intensity"),
        ),
        Case("shape", "cp_measure, size, shape, Feret (small field)", n_cells, lambda: once("sizeshape", "feret")),
        Case("texture", "cp_measure, 13 Haralick features (small field)", n_cells, lambda: each_channel("texture")),
        Case("granularity", "cp_measure, 16 openings (small field)", n_cells, lambda: each_channel("granularity")),
        Case("radial", note, n_cells, lambda: each_channel("radial_distribution")),
        Case(
            "correlation",
            "cp_measure, Pearson, Manders (small field)",
            n_cells,
            lambda: pairs("pearson", "manders_fold"),
        ),
        Case("all", "cp_measure, the families above (small field)", n_cells, everything),
    ]


def squidpy_cases(image, labels) -> list[Case]:
    import squidpy as sq

    table = regionprops_table(labels, properties=("centroid", "bbox"))
    inside = np.all(
        [(table[f"centroid-{i}"] > 20) & (table[f"centroid-{i}"] < size - 20) for i, size in enumerate(labels.shape)], 0
    )
    adata = ad.AnnData(np.zeros((int(inside.sum()), 1), dtype=np.float32))
    adata.obsm["spatial"] = np.stack([table["centroid-1"][inside], table["centroid-0"][inside]], axis=1)
    adata.uns["spatial"] = {"image": {"images": {}, "scalefactors": {"spot_diameter_fullres": 30.0}}}
    container = sq.im.ImageContainer(np.moveaxis(image, 0, -1), layer="image")

    def summary():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            # threads, as processes would not be counted
            return sq.im.calculate_image_features(
                adata,
                container,
                layer="image",
                features="summary",
                library_id="image",
                copy=True,
                n_jobs=1,
                backend="threading",
                show_progress_bar=False,
            ).shape[1]

    return [Case("intensity", "squidpy, summary of square crops (small field)", adata.n_obs, summary)]


def check_equal(image, labels) -> float:
    """Largest relative difference to scikit-image over what both measure."""
    adata = sae.pp.image_to_adata(image, labels, show_progress_bar=False)
    table = regionprops_table(labels, np.moveaxis(image, 0, -1), properties=BASIC + SHAPE[1:])
    pairs = {f"shape_{name}": name for name in SHAPE if name != "equivalent_diameter_area"}
    for ours, theirs in (("mean", "mean"), ("sd", "std"), ("min", "min"), ("max", "max")):
        pairs |= {f"channel_{c}_{ours}": f"intensity_{theirs}-{c}" for c in range(len(image))}
    return max(
        float(np.max(np.abs(adata[:, ours].X[:, 0] - table[theirs]) / np.maximum(np.abs(table[theirs]), 1e-12)))
        for ours, theirs in pairs.items()
    )


def first_call(cache: str) -> float:
    """Seconds of a process that measures 20 x 20 pixels, with compiled code kept in `cache`."""
    code = """
import time, numpy as np, numba
from saescape.imaging._features import block_features
from saescape.imaging._qc import block_quality
from saescape.imaging._scaling import Scaling
labels = np.ones((20, 20), np.int32)
image = np.arange(800, dtype=np.uint16).reshape(2, 20, 20)
one = np.ones(2)
start = time.process_time()
block_features(labels, image, 1, Scaling(0 * one, 800 * one), shape=True)
block_quality(labels, image, 1, 900 * one, one)
print(time.process_time() - start)
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"NUMBA_CACHE_DIR": cache},
        capture_output=True,
        check=True,
        text=True,
    )
    return float(done.stdout)


def measure(cases: list[Case], repeats: int) -> list[str]:
    columns = [case.run() for case in cases]  # untimed first call
    seconds: list[list[float]] = [[] for _ in cases]
    for _ in range(repeats):
        for case, times in zip(cases, seconds, strict=True):
            start = time.process_time()
            case.run()
            times.append(time.process_time() - start)
    rates = [case.n_cells / statistics.median(times) for case, times in zip(cases, seconds, strict=True)]
    lines = []
    for group in (*FAMILIES, "quality", "all"):
        members = [i for i, case in enumerate(cases) if case.group == group]
        fastest_peer = max((rates[i] for i in members if not cases[i].who.startswith("saescape")), default=None)
        for i in members:
            times = seconds[i]
            ratio = "" if fastest_peer is None else f"{rates[i] / fastest_peer:.2f}"
            spread = f"{statistics.median(times):.3f} ({min(times):.3f} to {max(times):.3f})"
            cells = f"{cases[i].n_cells} | {spread} | {rates[i]:,.0f}"
            lines.append(f"| {group} | {cases[i].who} | {columns[i]} | {cells} | {ratio} |")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--side", type=int, default=2048)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    sc.settings.verbosity = 0
    image, labels = synthetic_field(args.side, round(2025 * (args.side / 2048) ** 2))
    small = synthetic_field(512, 121)
    packages = ["saescape", "numpy", "numba", "scikit-image"]
    cases = our_cases(image, labels) + skimage_cases(image, labels, *small)
    for name, more in (("cp_measure", cp_measure_cases), ("squidpy", squidpy_cases)):
        if importlib.util.find_spec(name) is not None:
            cases += more(*small)
            packages.append(name)
    with tempfile.TemporaryDirectory() as cache:
        cold, warm = first_call(cache), first_call(cache)
    lines = [
        "# Image features: cells per second",
        "",
        f"{datetime.now(UTC):%Y-%m-%d}, {' x '.join(map(str, image.shape))} {image.dtype}, {int(labels.max())} cells; "
        f"small field {' x '.join(map(str, small[0].shape))}, {int(small[1].max())} cells; {args.repeats} repeats "
        "taking turns, processor seconds of one thread (median; range).",
        f"{_cpu()}, {os.cpu_count()} cores, Python {platform.python_version()}, "
        + ", ".join(f"{name} {version(name)}" for name in packages)
        + f". Largest relative difference to scikit-image over what both measure: {check_equal(image, labels):.1e}.",
        f"First call of a process, all features and quality of a 20 x 20 image: {cold:.1f} s when nothing has been "
        f"compiled yet, {warm:.2f} s with the code on disk.",
        "",
        "| family | case | columns | cells | seconds | cells/s | ratio |",
        "|---|---|---:|---:|---:|---:|---:|",
        *measure(cases, args.repeats),
        "",
        "Ratio: cells per second over those of the fastest peer in the family. Peers do not measure the same within "
        "every family: scikit-image's intensity lacks sum, skewness, kurtosis and displacement; cp_measure's "
        "granularity is a spectrum of openings of the whole image, its texture has 256 grey levels and more "
        "features; squidpy measures square crops, not cells. Ours include finding the pixels of the cells anew in "
        "every case; image_to_adata adds the check of the image, percentiles of the channels, boxes and centroids "
        "of the cells, thumbnails of the field and the AnnData.",
        "",
    ]
    text = "\n".join(lines)
    print(text)
    if args.out is not None:
        args.out.write_text(text)


def _cpu() -> str:
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


if __name__ == "__main__":
    main()
