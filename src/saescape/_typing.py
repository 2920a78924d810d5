from __future__ import annotations

from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt

Rng: TypeAlias = int | np.random.Generator | None
FloatArray: TypeAlias = npt.NDArray[np.floating]
IntArray: TypeAlias = npt.NDArray[np.integer]
BoolArray: TypeAlias = npt.NDArray[np.bool_]

Architecture: TypeAlias = Literal["topk", "batchtopk", "gated", "jumprelu", "relu", "matryoshka"]
Inference: TypeAlias = Literal["encoder", "fista", "omp"]
Standardize: TypeAlias = Literal["center", "zscore", "none"]
