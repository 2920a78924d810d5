"""How pre-activations become codes: the one part in which sparse autoencoders differ from each other."""

from __future__ import annotations

from ._active import Active
from ._base import Architecture, Backward, Batch
from ._batchtopk import BatchTopK
from ._gated import Gated
from ._jumprelu import JumpReLU
from ._largest import topk_rows
from ._matryoshka import Matryoshka
from ._relu import ReLU
from ._topk import TopK

__all__ = [
    "ARCHITECTURES",
    "Active",
    "Architecture",
    "Backward",
    "Batch",
    "BatchTopK",
    "make_architecture",
    "topk_rows",
]

ARCHITECTURES: dict[str, type[Architecture]] = {
    "topk": TopK,
    "batchtopk": BatchTopK,
    "gated": Gated,
    "jumprelu": JumpReLU,
    "relu": ReLU,
    "matryoshka": Matryoshka,
}


def make_architecture(name: str, k: int, n_features: int) -> Architecture:
    """The architecture of that name for one run or one model."""
    return ARCHITECTURES[name](k, n_features)
