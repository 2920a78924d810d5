"""Training settings: what the user gave, checked, and what follows from the size of the data."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, get_args

import numpy as np

from saescape._typing import Architecture, Standardize
from saescape._validate import check_choice, check_integer, check_real

if TYPE_CHECKING:
    from saescape._typing import FloatArray

ARCHITECTURES: tuple[str, ...] = get_args(Architecture)
#: architectures whose sparsity comes from a penalty
PENALISED = ("gated", "jumprelu", "relu")
STANDARDIZE: tuple[str, ...] = get_args(Standardize)

# fewer rows than this cannot be split and give no statistics worth the name
MIN_ROWS = 10
HELD_OUT_SHARE = 0.1
HELD_OUT_ROWS = 20_000
# a feature that has not fired on that many rows in a row (or on one epoch) counts as dead during training
DEAD_WINDOW = 20_000
K_AUX = 32
AUX_COEFFICIENT = 1.0

_MIN_FEATURES = 16
_MIN_STEPS = 1_000
_MIN_SAMPLES = 500_000
# small data have seen it all long before half a million samples; only the minimum of steps holds then
_MAX_PASSES = 200
_MIN_PASSES = 2
_MAX_LR = 1e-2


@dataclass(frozen=True)
class Plan:
    """Complete settings of one training run."""

    architecture: str
    n_features: int
    k: int
    standardize: str
    batch_size: int
    lr: float
    n_steps: int
    dead_window: int
    #: weight of the sparsity penalty; None steers it so that `k` features are active
    l1_coef: float | None = None
    #: steps before which training is not ended early; None for never
    min_steps: int | None = None
    #: let a pilot run look for a better `k`
    choose_k: bool = False
    #: whether it found one
    k_found: bool = False


def effective_dims(variance: FloatArray, standardize: str) -> float:
    """Dimensions that share the variance: ``(sum v)^2 / sum v^2``, the participation ratio of the dimensions."""
    if standardize == "zscore":
        return float(np.count_nonzero(variance))
    total = float(np.sum(variance))
    return total**2 / float(np.sum(np.square(variance))) if total > 0 else 1.0


def default_n_features(n_rows: int, n_dims: int, effective: float | None = None) -> int:
    """Smallest power of two of at least eight times the dimensions, as far as the rows suffice for it.

    At most a tenth of the rows; or three times the `effective` dimensions where that is more, at most a quarter of the
    rows. With fewer features than directions no dictionary fits, which is worse than one with too few rows for each;
    but where most dimensions hold little, as principal components do, a wider one only fits the noise.
    """
    wanted = 2 ** math.ceil(math.log2(8 * n_dims))
    enough = max(n_rows // 10, min(int(3 * (n_dims if effective is None else effective)), n_rows // 4))
    return max(_MIN_FEATURES, min(wanted, enough))


def default_k(n_features: int, n_dims: int) -> int:
    """16 up to 256 dimensions, 32 above; at most a third of the dimensions and a twelfth of the features.

    With more active features than that a code is no longer sparse: nearly any dictionary reconstructs the data.
    """
    return max(1, min(16 if n_dims <= 256 else 32, n_dims // 3, n_features // 12))


def default_batch_size(n_rows: int, n_samples: int) -> int:
    """256 below 10,000 rows; else the power of two from 512 to 2,048 that makes about 1,000 steps of the samples.

    Quality depends on samples and, below about a thousand, on steps; larger batches only save overhead.
    """
    if n_rows < 10_000:
        return 256
    return 2 ** int(np.clip(math.log2(max(n_samples, 1) / _MIN_STEPS) + 0.5, 9, 11))


def default_lr(batch_size: int, n_features: int) -> float:
    return min(_MAX_LR, 5e-3 * math.sqrt(batch_size / 512) * math.sqrt(1024 / n_features))


def min_n_steps(n_train: int, batch_size: int) -> int:
    """1,000 steps, and half a million samples unless that is more than 200 passes."""
    return max(_MIN_STEPS, math.ceil(min(_MIN_SAMPLES, _MAX_PASSES * n_train) / batch_size))


def default_n_steps(n_train: int, batch_size: int) -> int:
    """At least :func:`min_n_steps` and two passes."""
    return max(min_n_steps(n_train, batch_size), math.ceil(_MIN_PASSES * n_train / batch_size))


def check_settings(
    *,
    architecture: Any,
    n_features: Any = None,
    k: Any = None,
    standardize: Any = "center",
    max_epochs: Any = None,
    batch_size: Any = None,
    lr: Any = None,
    l0_target: Any = None,
    l1_coef: Any = None,
    early_stopping: Any = True,
) -> None:
    """Raise for settings that are wrong whatever the data are."""
    check_choice("architecture", architecture, ARCHITECTURES)
    check_choice("standardize", standardize, STANDARDIZE)
    for name, value in {"n_features": n_features, "k": k, "max_epochs": max_epochs, "batch_size": batch_size}.items():
        if value is not None:
            check_integer(name, value)
    if not isinstance(early_stopping, bool):
        msg = f"`early_stopping` must be True or False, found {early_stopping!r}."
        raise TypeError(msg)
    k = wanted_l0(k, l0_target)
    if l1_coef is not None:
        check_real("l1_coef", l1_coef, open_low=False)
        if architecture not in PENALISED:
            msg = f"`l1_coef` is for the architectures with a penalty, {list(PENALISED)}; {architecture!r} takes `k`."
            raise ValueError(msg)
        if k is not None:
            msg = (
                f"`l1_coef` ({l1_coef}) fixes the penalty, `{'k' if l0_target is None else 'l0_target'}` ({k}) has it "
                "tuned; give one of them."
            )
            raise ValueError(msg)
    if n_features is not None and k is not None:
        check_integer("k", k, 1, int(n_features), high_name="n_features")
    if lr is not None:
        check_real("lr", lr)


def wanted_l0(k: Any, l0_target: Any) -> int | None:
    """The number of active features per row that was asked for under either name."""
    if l0_target is None:
        return k
    check_integer("l0_target", l0_target)
    if k is not None and k != l0_target:
        msg = f"`k` ({k}) and `l0_target` ({l0_target}) both set the number of active features; give one of them."
        raise ValueError(msg)
    return l0_target


def make_plan(
    n_rows: int,
    n_dims: int,
    *,
    n_train: int | None = None,
    architecture: str = "topk",
    n_features: int | None = None,
    k: int | None = None,
    standardize: str = "center",
    max_epochs: int | None = None,
    batch_size: int | None = None,
    lr: float | None = None,
    l0_target: int | None = None,
    l1_coef: float | None = None,
    early_stopping: bool = True,
    effective: float | None = None,
) -> Plan:
    """Check the user's settings and fill in the rest from the size of the data.

    Parameters
    ----------
    n_rows
        Rows to encode (observations, or observations times positions).
    n_dims
        Input dimensions.
    n_train
        Rows that are trained on; the others are held out.
    effective
        :func:`effective_dims`; None for `n_dims`.
    """
    check_settings(
        architecture=architecture,
        n_features=n_features,
        k=k,
        standardize=standardize,
        max_epochs=max_epochs,
        batch_size=batch_size,
        lr=lr,
        l0_target=l0_target,
        l1_coef=l1_coef,
        early_stopping=early_stopping,
    )
    k = wanted_l0(k, l0_target)
    if n_rows < MIN_ROWS:
        msg = f"At least {MIN_ROWS} rows are needed to fit a sparse autoencoder, found n_samples = {n_rows}."
        raise ValueError(msg)
    n_train = n_rows if n_train is None else n_train
    m = default_n_features(n_rows, n_dims, effective) if n_features is None else int(n_features)
    # where rows are few, more features do not make a row more complex
    supported = min(m, max(_MIN_FEATURES, n_rows // 10))
    active = default_k(supported, n_dims) if k is None else check_integer("k", k, 1, m, high_name="n_features")
    n_samples = max(_MIN_SAMPLES, _MIN_PASSES * n_train) if max_epochs is None else int(max_epochs) * n_train
    batch = min(default_batch_size(n_rows, n_samples) if batch_size is None else int(batch_size), n_train)
    n_steps = default_n_steps(n_train, batch) if max_epochs is None else math.ceil(int(max_epochs) * n_train / batch)
    return Plan(
        architecture=architecture,
        n_features=m,
        k=active,
        standardize=standardize,
        batch_size=batch,
        lr=default_lr(batch, m) if lr is None else float(lr),
        n_steps=n_steps,
        dead_window=min(n_train, DEAD_WINDOW),
        l1_coef=None if l1_coef is None else float(l1_coef),
        min_steps=min_n_steps(n_train, batch) if early_stopping else None,
        choose_k=k is None and l1_coef is None,
    )
