from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np

from ._infer import Dictionary, FistaInference, OmpInference

if TYPE_CHECKING:
    from collections.abc import Mapping

    import torch

    from saescape._typing import BoolArray

    from ._weights import SaeWeights


@dataclass(frozen=True, eq=False)
class CodingRule:
    """How rows become codes, given the weights: what has to be kept so that new rows are coded in the same way.

    Parameters
    ----------
    inference
        `"encoder"`, `"fista"` or `"omp"`.
    penalty
        Of sparse inference; see :class:`FistaInference` and :class:`OmpInference`.
    n_atoms
        Most features of a row in matching pursuit.
    used
        Mask of the features that sparse inference may use; None for all.
    """

    inference: str = "encoder"
    penalty: float | None = None
    n_atoms: int | None = None
    used: BoolArray | None = None

    @classmethod
    def from_params(cls, params: Mapping[str, Any]) -> CodingRule:
        """The rule that is stored with a model; the encoder when none is."""
        name, penalty = params.get("inference") or "encoder", params.get("penalty")
        if name == "encoder" or penalty is None:
            return cls()
        n_atoms, used = params.get("n_atoms"), params.get("used")
        return cls(
            str(name),
            float(penalty),
            None if n_atoms is None else int(n_atoms),
            None if used is None else np.asarray(used, dtype=bool),
        )

    def params(self) -> dict[str, Any]:
        """Plain values to store."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def apply(self, dictionary: Dictionary) -> FistaInference | OmpInference:
        """Sparse inference with a dictionary."""
        if self.penalty is None:
            msg = "The encoder is no sparse inference."
            raise ValueError(msg)
        if self.inference == "fista":
            return FistaInference(dictionary, self.penalty)
        return OmpInference(dictionary, self.penalty, self.n_atoms or len(dictionary.atoms))

    def for_weights(self, weights: SaeWeights, device: torch.device) -> FistaInference | OmpInference | None:
        """Sparse inference with the decoder of a model; None for its encoder."""
        return None if self.penalty is None else self.apply(Dictionary(weights, device, self.used))
