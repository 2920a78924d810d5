"""Every slot name that saescape reads or writes, in one place."""

from __future__ import annotations

from dataclasses import dataclass

SPATIAL = "spatial"
TOKENS = "tokens"
THUMBNAILS = "thumbnails"
IMAGE_UNS = "image_to_adata"
X_PCA = "X_pca"
PCS = "PCs"


@dataclass(frozen=True)
class SaeKeys:
    """Slots of one fitted sparse autoencoder."""

    obsm: str
    uns: str
    varm: str


def sae_keys(key: str | None = None) -> SaeKeys:
    """Slots of `tl.sae_fit`; an explicit key is used verbatim in each of them."""
    if key is None:
        return SaeKeys(obsm="X_sae", uns="sae", varm="sae_decoder")
    return SaeKeys(obsm=key, uns=key, varm=key)


@dataclass(frozen=True)
class AnnotationKeys:
    """Slots of what features stand for."""

    genes: str
    enrichment: str
    concepts: str


def annotation_keys(key: str | None = None) -> AnnotationKeys:
    """Slots of `tl.feature_genes`, `tl.feature_enrichment` and `tl.feature_concepts` for the model `key`."""
    name = sae_keys(key).uns
    return AnnotationKeys(genes=f"{name}_genes", enrichment=f"{name}_enrichment", concepts=f"{name}_concepts")


@dataclass(frozen=True)
class SuperpositionKeys:
    """Slots of `tl.superposition_score`."""

    obs: str
    uns: str


def superposition_keys(key: str | None = None) -> SuperpositionKeys:
    name = "superposition_score" if key is None else key
    return SuperpositionKeys(obs=name, uns=name)


@dataclass(frozen=True)
class GwKeys:
    """Slots of one stored coupling."""

    uns: str
    coupling: str
    projection: str
    confidence: str
    distortion: str
    mass: str
    prefix: str

    def label(self, column: str) -> str:
        """Column of transferred labels."""
        return f"{self.prefix}_{column}"

    def label_prob(self, column: str) -> str:
        """Column with the probability of the transferred label."""
        return f"{self.prefix}_{column}_prob"


def gw_keys(key: str | None = None) -> GwKeys:
    """Slots of `tl.gw_map`; an explicit key replaces `gw` in each of them and `gw_map` in `uns`."""
    prefix = "gw" if key is None else key
    return GwKeys(
        uns="gw_map" if key is None else key,
        coupling=f"{prefix}_coupling",
        projection=f"X_{prefix}",
        confidence=f"{prefix}_confidence",
        distortion=f"{prefix}_distortion",
        mass=f"{prefix}_mass",
        prefix=prefix,
    )


@dataclass(frozen=True)
class GwTransferKeys:
    """Slots of what was carried over through a coupling."""

    uns: str
    expression: str
    prefix: str

    def obs(self, column: str) -> str:
        """Column of labels or means."""
        return f"{self.prefix}_{column}"

    def prob(self, column: str) -> str:
        """Column with the probability of a label."""
        return f"{self.prefix}_{column}_prob"

    def sd(self, column: str) -> str:
        """Column with the SD of a number."""
        return f"{self.prefix}_{column}_sd"

    def colors(self, column: str) -> str:
        """Colors of the labels, where scanpy looks for them."""
        return f"{self.prefix}_{column}_colors"

    def obsm(self, name: str) -> str:
        """Barycentric projection of another array."""
        return f"{self.prefix}_{name}"


def gw_transfer_keys(key: str | None = None, key_added: str | None = None) -> GwTransferKeys:
    """Slots of `tl.gw_transfer`: those of the coupling `key`, unless `key_added` names others."""
    prefix = key_added if key_added is not None else key if key is not None else "gw"
    return GwTransferKeys(uns=f"{prefix}_transfer", expression=f"{prefix}_expression", prefix=prefix)


@dataclass(frozen=True)
class ImageQcKeys:
    """Slots of the verdict on the quality of observations."""

    passed: str
    reason: str
    uns: str


def image_qc_keys(key: str | None = None) -> ImageQcKeys:
    """Slots of `pp.image_qc`; an explicit key replaces `qc` in each of them and `image_qc` in `uns`."""
    prefix = "qc" if key is None else key
    return ImageQcKeys(passed=f"{prefix}_pass", reason=f"{prefix}_reason", uns="image_qc" if key is None else key)


def gw_links_key(key: str | None = None) -> str:
    """Slot of `tl.gw_links` in `uns`."""
    return "gw_links" if key is None else key


def sae_sweep_key(key: str | None = None) -> str:
    """Slot of `tl.sae_sweep` in `uns`."""
    return "sae_sweep" if key is None else key


def representations_key(key: str | None = None) -> str:
    """Slot of `tl.compare_representations` in `uns`."""
    return "compare_representations" if key is None else key


def feature_match_key(key: str | None = None) -> str:
    """Slot of `tl.feature_match` in `uns`."""
    return "feature_match" if key is None else key


def feature_stability_key(key: str | None = None) -> str:
    """Slot of `tl.feature_stability` in `uns`."""
    return "feature_stability" if key is None else key


def feature_modules_key(key: str | None = None) -> str:
    """Slot of `tl.feature_modules` in `uns`."""
    return "feature_modules" if key is None else key


def feature_scores_key(key: str | None = None) -> str:
    """Slot of `tl.feature_scores` in `uns`."""
    return "feature_scores" if key is None else key


@dataclass(frozen=True)
class SteerKeys:
    """Slots of `tl.steer`."""

    uns: str
    obsm: str
    layer: str

    def dose(self, slot: str, factor: float | None) -> str:
        """Slot of one of several doses."""
        return slot if factor is None else f"{slot}_{factor:g}"


def steer_keys(key: str | None = None) -> SteerKeys:
    """Slots of `tl.steer`; an explicit key is used verbatim in each of them."""
    if key is None:
        return SteerKeys(uns="steer", obsm="X_steered", layer="steered")
    return SteerKeys(uns=key, obsm=key, layer=key)


def feature_maps_key(key: str | None = None) -> str:
    """Slot of `tl.feature_maps` in `uns`."""
    return "feature_maps" if key is None else key
