from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from ._communicator import ALONE
from ._initialise import initial_parameters
from ._trainer import Trainer
from .architectures import make_architecture

if TYPE_CHECKING:
    from ._communicator import Communicator
    from ._data import TrainingRows
    from ._defaults import Plan
    from ._parameters import Standardizer

_MIN_SAMPLE = 2_048


def make_trainer(
    data: TrainingRows,
    plan: Plan,
    standardizer: Standardizer,
    rng: np.random.Generator,
    *,
    endless: bool = False,
    communicator: Communicator = ALONE,
) -> Trainer:
    """A trainer whose decoder rows start from data."""
    on_cpu = torch.device("cpu")
    mean, inverse = standardizer.tensors(on_cpu)
    sample = (data.sample(max(plan.n_features, _MIN_SAMPLE), rng) - mean) * inverse
    b_dec = torch.from_numpy(standardizer.b_dec.astype(np.float32))
    architecture = make_architecture(plan.architecture, plan.k, plan.n_features)
    parameters = communicator.share(initial_parameters(sample, b_dec, architecture, rng))
    return Trainer(parameters.to(data.device), plan, endless=endless, communicator=communicator)
