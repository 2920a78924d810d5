"""Every slot name that saescape reads or writes, in one place."""

from __future__ import annotations

from dataclasses import dataclass

SPATIAL = "spatial"
TOKENS = "tokens"
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
        prefix=prefix,
    )


def sae_sweep_key(key: str | None = None) -> str:
    """Slot of `tl.sae_sweep` in `uns`."""
    return "sae_sweep" if key is None else key
