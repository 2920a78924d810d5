"""The layout of SAELens (version 6): its configuration and tensor names, from and to our weights.

SAELens: https://github.com/decoderesearch/SAELens. What is written computes the same codes there; what is read computes
the same codes here, with everything that SAELens does around the encoder folded into the weights.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ._defaults import default_k
from ._weights import SaeWeights

if TYPE_CHECKING:
    from collections.abc import Mapping

    from saescape._typing import FloatArray

# the name of each architecture in a SAELens configuration for inference; BatchTopK is a JumpReLU there once trained
WRITTEN_AS = {
    "topk": "topk",
    "batchtopk": "jumprelu",
    "matryoshka": "jumprelu",
    "jumprelu": "jumprelu",
    "relu": "standard",
    "gated": "gated",
}
# and back; the last two are training checkpoints
_READ_AS = {
    "topk": "topk",
    "standard": "relu",
    "jumprelu": "jumprelu",
    "gated": "gated",
    "batchtopk": "batchtopk",
    "matryoshka_batchtopk": "matryoshka",
}
_TENSORS = {
    "topk": ("W_enc", "W_dec", "b_enc", "b_dec"),
    "standard": ("W_enc", "W_dec", "b_enc", "b_dec"),
    "jumprelu": ("W_enc", "W_dec", "b_enc", "b_dec", "threshold"),
    "gated": ("W_enc", "W_dec", "b_gate", "b_mag", "r_mag", "b_dec"),
    "batchtopk": ("W_enc", "W_dec", "b_enc", "b_dec", "topk_threshold"),
    "matryoshka_batchtopk": ("W_enc", "W_dec", "b_enc", "b_dec", "topk_threshold"),
}
# SAELens converts a configuration of a lower version, which would drop what it does not know
_LAYOUT_VERSION = "6.0.0"


def saelens_config(weights: SaeWeights) -> dict[str, Any]:
    """Content of `cfg.json` for these weights."""
    config: dict[str, Any] = {
        "architecture": WRITTEN_AS[weights.architecture],
        "d_in": weights.n_dims,
        "d_sae": weights.n_features,
        "dtype": "float32",
        "device": "cpu",
        "apply_b_dec_to_input": True,
        "normalize_activations": "none",
        "reshape_activations": "none",
        "metadata": {
            "sae_lens_version": _LAYOUT_VERSION,
            "sae_lens_training_version": None,
            "training_architecture": weights.architecture,
            "training_architecture_details": {"k": weights.k},
        },
    }
    if weights.architecture == "topk":
        config |= {"k": weights.k, "rescale_acts_by_decoder_norm": False}
    return config


def saelens_tensors(weights: SaeWeights) -> dict[str, FloatArray]:
    """Content of `sae_weights.safetensors` for these weights."""
    # SAELens has no units of dimensions, which only sparse inference uses
    tensors = {name: array for name, array in weights.arrays().items() if name != "scale"}
    if weights.architecture == "gated":
        tensors["b_gate"] = tensors.pop("b_enc")
    return {name: np.ascontiguousarray(array, dtype=np.float32) for name, array in tensors.items()}


def from_saelens(config: Mapping[str, Any], tensors: Mapping[str, FloatArray]) -> SaeWeights:
    """Weights that give the codes and reconstructions that SAELens gives.

    Parameters
    ----------
    config
        Content of `cfg.json`.
    tensors
        Content of `sae_weights.safetensors`.

    Raises
    ------
    ValueError
        For an architecture or a treatment of the input that these weights cannot express, and for tensors that are
        missing, unknown, of the wrong shape or not finite.
    """
    architecture = _architecture(config)
    normalisation = config.get("normalize_activations") or "none"
    if normalisation != "none":
        msg = (
            f"SAELens configuration: `normalize_activations` is {normalisation!r}; only weights that act on raw input "
            "('none') can be read. SAELens folds the training's scale into the weights when it saves for inference."
        )
        raise ValueError(msg)
    arrays = _checked(architecture, config, tensors)
    if config.get("rescale_acts_by_decoder_norm") and architecture in {"topk", "batchtopk", "matryoshka_batchtopk"}:
        # pre-activations are multiplied by the norm before the selection and codes are divided by it before decoding
        norms = np.linalg.norm(arrays["W_dec"], axis=1)
        if not norms.all():
            msg = "SAELens tensors: rows of `W_dec` are zero, so activations cannot be rescaled by their norm."
            raise ValueError(msg)
        arrays["W_enc"] = arrays["W_enc"] * norms
        arrays["b_enc"] = arrays["b_enc"] * norms
        arrays["W_dec"] = arrays["W_dec"] / norms[:, None]
    if not config.get("apply_b_dec_to_input", True):
        # x @ W_enc = (x - b_dec) @ W_enc + b_dec @ W_enc
        shift = arrays["b_dec"] @ arrays["W_enc"]
        arrays["b_enc"] = arrays["b_enc"] + shift
        if architecture == "gated":
            arrays["b_mag"] = arrays["b_mag"] + np.exp(arrays["r_mag"]) * shift
    if "threshold" in arrays:
        # SAELens applies a ReLU besides the threshold
        arrays["threshold"] = np.maximum(arrays["threshold"], 0.0)
    return SaeWeights(
        **{name: np.ascontiguousarray(array, dtype=np.float32) for name, array in arrays.items()},
        architecture=_READ_AS[architecture],
        k=_active_features(config, *arrays["W_enc"].shape),
    )


def _architecture(config: Mapping[str, Any]) -> str:
    # configurations before version 6 name the activation function instead
    activation = config.get("activation_fn", config.get("activation_fn_str"))
    architecture = config.get("architecture", "standard" if activation is not None else None)
    if architecture == "standard" and activation not in {None, "relu"}:
        architecture = str(activation)
    if architecture not in _READ_AS:
        msg = f"SAELens configuration: architecture {architecture!r} cannot be read; available: {list(_READ_AS)}."
        raise ValueError(msg)
    return str(architecture)


def _checked(
    architecture: str, config: Mapping[str, Any], tensors: Mapping[str, FloatArray]
) -> dict[str, np.ndarray[Any, np.dtype[np.float64]]]:
    """The tensors in double precision under our names, in the shapes that the encoder gives."""
    arrays = {name: np.array(array, dtype=np.float64) for name, array in tensors.items()}
    if "scaling_factor" in arrays and (arrays["scaling_factor"] == 1).all():
        # older versions wrote ones there
        del arrays["scaling_factor"]
    if "log_threshold" in arrays:
        arrays["threshold"] = np.exp(arrays.pop("log_threshold"))
    needed = _TENSORS[architecture]
    missing = [name for name in needed if name not in arrays]
    unknown = [name for name in arrays if name not in needed]
    if missing or unknown:
        msg = (
            f"SAELens tensors: architecture {architecture!r} has {list(needed)}; missing are {missing}, "
            f"not understood are {unknown}."
        )
        raise ValueError(msg)
    d, m = arrays["W_enc"].shape if arrays["W_enc"].ndim == 2 else (0, 0)
    shapes: dict[str, tuple[int, ...]] = {"W_enc": (d, m), "W_dec": (m, d), "b_dec": (d,), "topk_threshold": ()}
    for name in needed:
        shape = shapes.get(name, (m,))
        if d == 0 or m == 0 or arrays[name].shape != shape:
            msg = f"SAELens tensors: `{name}` must have shape {shape}, found {arrays[name].shape}."
            raise ValueError(msg)
        if not np.isfinite(arrays[name]).all():
            msg = f"SAELens tensors: `{name}` has non-finite values."
            raise ValueError(msg)
    for key, size in (("d_in", d), ("d_sae", m)):
        if config.get(key, size) != size:
            msg = f"SAELens configuration: `{key}` is {config[key]}, but `W_enc` has shape {(d, m)}."
            raise ValueError(msg)
    if architecture == "gated":
        arrays["b_enc"] = arrays.pop("b_gate")
    if "topk_threshold" in arrays:
        arrays["threshold"] = np.full(m, arrays.pop("topk_threshold"))
    return arrays


def _active_features(config: Mapping[str, Any], n_dims: int, n_features: int) -> int:
    """`k` of the configuration or of the training it came from; our default where neither says."""
    details = (config.get("metadata") or {}).get("training_architecture_details") or {}
    older = config.get("activation_fn_kwargs") or {}
    for value in (config.get("k"), older.get("k"), details.get("k"), details.get("target_l0")):
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, int | float) or not 1 <= value <= n_features:
            msg = f"SAELens configuration: `k` must be between 1 and the features ({n_features}), found {value!r}."
            raise ValueError(msg)
        return round(value)
    if _architecture(config) == "topk":
        msg = "SAELens configuration: architecture 'topk' has no `k`."
        raise ValueError(msg)
    return default_k(n_features, n_dims)
