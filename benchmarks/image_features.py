"""Cells per second of `pp.image_to_adata(encoder="features")` beside scikit-image's `regionprops_table`.

Both measure the same synthetic field (5 channels of 2,048 x 2,048 uint16 pixels, about 2,000 cells). The cases take
turns within every repeat, so that a busy machine slows all of them alike; figures are medians over repeats of processor
seconds of one thread.

    OMP_NUM_THREADS=1 python benchmarks/image_features.py [--repeats 5] [--out benchmarks/results/image_features.md]
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import time
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import numpy as np
import scanpy as sc
from skimage.measure import regionprops_table

import saescape as sae
from saescape.imaging._intensity import ObjectPixels, intensity_features

BASIC = ("label", "area", "bbox", "centroid", "intensity_mean", "intensity_min", "intensity_max", "intensity_std")
SHAPE = ("perimeter", "eccentricity", "solidity", "extent", "axis_major_length", "axis_minor_length")


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


def cases(image, labels):
    last = np.ascontiguousarray(np.moveaxis(image, 0, -1))

    def ours(**kwargs):
        return sae.pp.image_to_adata(image, labels, show_progress_bar=False, **kwargs).n_vars

    def kernel():
        pixels = ObjectPixels(labels, int(labels.max()))
        values = image.reshape(len(image), -1)[:, pixels.index]
        return sum(intensity_features(one, pixels).shape[1] for one in values)

    return {
        "saescape, all features and quality (image_to_adata)": ours,
        "saescape, all features (image_to_adata, qc=False)": lambda: ours(qc=False),
        "saescape, intensity features only (kernel)": kernel,
        "scikit-image, intensity, box, centroid (regionprops_table)": lambda: len(
            regionprops_table(labels, last, properties=BASIC)
        ),
        "scikit-image, the same and shape (regionprops_table)": lambda: len(
            regionprops_table(labels, last, properties=BASIC + SHAPE)
        ),
    }


def check_equal(image, labels):
    """Largest relative difference to scikit-image over what both measure."""
    adata = sae.pp.image_to_adata(image, labels, show_progress_bar=False)
    table = regionprops_table(labels, np.moveaxis(image, 0, -1), properties=BASIC + SHAPE)
    pairs = {f"shape_{name}": name for name in ("area", *SHAPE)}
    for ours, theirs in (("mean", "mean"), ("sd", "std"), ("min", "min"), ("max", "max")):
        pairs |= {f"channel_{c}_{ours}": f"intensity_{theirs}-{c}" for c in range(len(image))}
    return max(
        float(np.max(np.abs(adata[:, ours].X[:, 0] - table[theirs]) / np.maximum(np.abs(table[theirs]), 1e-12)))
        for ours, theirs in pairs.items()
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--side", type=int, default=2048)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    sc.settings.verbosity = 0
    image, labels = synthetic_field(args.side, round(2025 * (args.side / 2048) ** 2))
    n_cells = int(labels.max())
    runs = cases(image, labels)
    columns = {name: run() for name, run in runs.items()}  # untimed first call
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(args.repeats):
        for name, run in runs.items():
            start = time.process_time()
            run()
            seconds[name].append(time.process_time() - start)
    rates = {name: n_cells / statistics.median(times) for name, times in seconds.items()}
    peer = rates["scikit-image, the same and shape (regionprops_table)"]
    lines = [
        "# Image features: cells per second",
        "",
        f"{datetime.now(UTC):%Y-%m-%d}, {n_cells} cells, {' x '.join(map(str, image.shape))} {image.dtype}, "
        f"{args.repeats} repeats taking turns, processor seconds of one thread (median; range).",
        f"{_cpu()}, {os.cpu_count()} cores, Python {platform.python_version()}, "
        + ", ".join(f"{name} {version(name)}" for name in ("saescape", "numpy", "scikit-image", "anndata"))
        + f". Largest relative difference to scikit-image: {check_equal(image, labels):.1e}.",
        "",
        "| case | columns | seconds | cells/s | ratio |",
        "|---|---:|---:|---:|---:|",
    ]
    for name, times in seconds.items():
        spread = f"{statistics.median(times):.3f} ({min(times):.3f} to {max(times):.3f})"
        lines.append(f"| {name} | {columns[name]} | {spread} | {rates[name]:,.0f} | {rates[name] / peer:.2f} |")
    lines += ["", "Ratio: cells per second over those of scikit-image with shape.", ""]
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
