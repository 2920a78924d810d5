"""The other trainers, driven as their own training loops drive them.

They pin versions of torch and pull in language models; beside a CPU build of torch they are installed with

    pip install --no-deps sae-lens dictionary-learning eai-sparsify overcomplete "transformer-lens<4"
    pip install -c constraints.txt transformers datasets einops natsort schedulefree
    pip install -c constraints.txt simple-parsing tenacity python-dotenv
    pip install --no-deps jaxtyping beartype fancy_einsum better_abc typeguard wadler-lindig sentencepiece wandb

What they only import for other purposes (vision models, plots, hooks into language models) is replaced by empty
modules below. Whoever is absent is reported as absent.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import warnings
from importlib.util import find_spec
from typing import TYPE_CHECKING
from unittest.mock import MagicMock

import torch

if TYPE_CHECKING:
    import numpy as np

os.environ.setdefault("WANDB_MODE", "disabled")
os.environ.setdefault("HF_HUB_OFFLINE", "1")


@contextlib.contextmanager
def _without(*names: str):
    """Import with empty modules in the place of those that are not there, or not wanted."""
    added = [name for name in names if name not in sys.modules]
    sys.modules.update({name: MagicMock() for name in added})
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for name in added:
            sys.modules.pop(name, None)


def _absent(*names: str) -> list[str]:
    return [name for name in names if find_spec(name) is None]


class Peer:
    """A trainer: `step` on raw rows, dense `codes` of new rows, `reconstruct` from them, `directions` by row."""

    package = ""

    def __init__(self, x: np.ndarray, setting: dict, lr: float | None = None, variant: str = "topk") -> None:
        self.variant, self.setting, self.lr, self.count = variant, setting, lr, 0
        torch.manual_seed(0)
        self.build(x)


class SaeLens(Peer):
    package = "sae_lens"

    def build(self, x: np.ndarray) -> None:
        with _without(*_absent("wandb", "plotly", "nltk", "babe", "plotly_express")):
            import sae_lens
            from sae_lens.config import SAETrainerConfig
            from sae_lens.training.sae_trainer import SAETrainer
        logging.getLogger("sae_lens").setLevel(logging.ERROR)
        m, k = self.setting["m"], self.setting["k"]
        name, more = {
            "topk": ("TopK", {"k": k}),
            "batchtopk": ("BatchTopK", {"k": float(k)}),
            "matryoshka": ("MatryoshkaBatchTopK", {"k": float(k), "matryoshka_widths": [m // 16, m // 8, m // 4, m]}),
            "gated": ("Gated", {}),
            "jumprelu": ("JumpReLU", {}),
            "relu": ("Standard", {}),
        }[self.variant]
        config = getattr(sae_lens, f"{name}TrainingSAEConfig")(d_in=x.shape[1], d_sae=m, device="cpu", **more)
        self.model = getattr(sae_lens, f"{name}TrainingSAE")(config)
        lr = 3e-4 if self.lr is None else self.lr
        rows = self.setting["batch"]
        training = SAETrainerConfig(
            total_training_samples=self.setting["steps"] * rows,
            train_batch_size_samples=rows,
            device="cpu",
            lr=lr,
            lr_end=lr / 10,
        )
        self.trainer = SAETrainer(cfg=training, sae=self.model, data_provider=iter([]))

    def step(self, batch: torch.Tensor) -> None:
        self.trainer.step(batch)
        self.trainer.n_training_steps += 1

    def codes(self, x: torch.Tensor) -> torch.Tensor:
        self.model.eval()
        if self.variant in {"batchtopk", "matryoshka"}:
            # what it is saved as: JumpReLU at the running threshold
            pre = self.model.encode_with_hidden_pre(x)[1]
            return pre * (pre > self.model.topk_threshold)
        return self.model.encode(x)

    def reconstruct(self, codes: torch.Tensor) -> torch.Tensor:
        return self.model.decode(codes.float())

    def directions(self) -> np.ndarray:
        return self.model.W_dec.detach().numpy()


class DictionaryLearning(Peer):
    package = "dictionary_learning"

    def build(self, x: np.ndarray) -> None:
        with _without(*_absent("nnsight", "wandb", "umap", "circuitsvis", "plotly", "zstandard")):
            from dictionary_learning.trainers import batch_top_k, gdm, jumprelu, matryoshka_batch_top_k, standard, top_k
        steps, k = self.setting["steps"], self.setting["k"]
        trainer, more = {
            "topk": (top_k.TopKTrainer, {"k": k, "threshold_start_step": steps // 2}),
            "batchtopk": (batch_top_k.BatchTopKTrainer, {"k": k, "threshold_start_step": steps // 2}),
            "matryoshka": (
                matryoshka_batch_top_k.MatryoshkaBatchTopKTrainer,
                {"k": k, "threshold_start_step": steps // 2, "group_fractions": [1 / 16, 1 / 16, 1 / 8, 3 / 4]},
            ),
            "gated": (gdm.GatedSAETrainer, {"sparsity_warmup_steps": steps // 5}),
            "jumprelu": (jumprelu.JumpReluTrainer, {"target_l0": k, "sparsity_warmup_steps": steps // 5}),
            "relu": (standard.StandardTrainer, {"sparsity_warmup_steps": steps // 5}),
        }[self.variant]
        if self.lr is not None:
            more["lr"] = self.lr
        self.trainer = trainer(
            steps=steps,
            activation_dim=x.shape[1],
            dict_size=self.setting["m"],
            layer=0,
            lm_name="none",
            seed=0,
            device="cpu",
            # its 1000 are refused for short runs
            warmup_steps=min(1000, steps // 10),
            **more,
        )

    def step(self, batch: torch.Tensor) -> None:
        self.trainer.update(self.count, batch)
        self.count += 1

    def codes(self, x: torch.Tensor) -> torch.Tensor:
        return self.trainer.ae.encode(x)

    def reconstruct(self, codes: torch.Tensor) -> torch.Tensor:
        return self.trainer.ae.decode(codes)

    def directions(self) -> np.ndarray:
        model = self.trainer.ae
        return (model.W_dec if hasattr(model, "W_dec") else model.decoder.weight.t()).detach().numpy()


class Sparsify(Peer):
    """Its model and the update of its trainer, which itself needs a language model."""

    package = "sparsify"

    def build(self, x: np.ndarray) -> None:
        with _without():
            from schedulefree import ScheduleFreeWrapper
            from sparsify.config import SparseCoderConfig
            from sparsify.sign_sgd import SignSGD
            from sparsify.sparse_coder import SparseCoder
        steps, m = self.setting["steps"], self.setting["m"]
        self.model = SparseCoder(x.shape[1], SparseCoderConfig(num_latents=m, k=self.setting["k"]))
        self.schedule = None
        if self.variant == "signum":
            lr = 5e-3 / (m / 2**14) ** 0.5
            self.optimiser = ScheduleFreeWrapper(SignSGD(self.model.parameters(), lr=lr), momentum=0.95)
            self.optimiser.train()
            return
        lr = 2e-4 / (m / 2**14) ** 0.5 if self.lr is None else self.lr
        self.optimiser = torch.optim.Adam(self.model.parameters(), lr=lr)
        shape = lambda t: min(1, (t + 1) / (0.1 * steps)) * max(0.0, 1 - t / steps)  # noqa: E731
        self.schedule = torch.optim.lr_scheduler.LambdaLR(self.optimiser, shape)

    def step(self, batch: torch.Tensor) -> None:
        if self.count == 0:
            self.model.b_dec.data = batch.mean(0).clone()
        self.count += 1
        self.model.set_decoder_norm_to_unit_norm()
        self.model(batch).fvu.backward()
        self.model.remove_gradient_parallel_to_decoder_directions()
        self.optimiser.step()
        self.optimiser.zero_grad()
        if self.schedule is not None:
            self.schedule.step()

    def codes(self, x: torch.Tensor) -> torch.Tensor:
        if self.schedule is None:
            self.optimiser.eval()
        values, cols, pre = self.model.encode(x)
        return torch.zeros_like(pre).scatter_(1, cols, values)

    def reconstruct(self, codes: torch.Tensor) -> torch.Tensor:
        return codes @ self.model.W_dec + self.model.b_dec

    def directions(self) -> np.ndarray:
        return self.model.W_dec.detach().numpy()


class Overcomplete(Peer):
    """The body of its `train_sae` with monitoring."""

    package = "overcomplete"

    def build(self, x: np.ndarray) -> None:
        with _without("overcomplete.models", "overcomplete.visualization"):
            from overcomplete.sae import BatchTopKSAE, TopKSAE
            from overcomplete.sae.trackers import DeadCodeTracker
        m, k = self.setting["m"], self.setting["k"]
        if self.variant == "topk":
            self.model = TopKSAE(x.shape[1], m, top_k=k, device="cpu")
        else:
            self.model = BatchTopKSAE(x.shape[1], m, top_k=k * self.setting["batch"], device="cpu")
        self.optimiser = torch.optim.Adam(self.model.parameters(), lr=5e-4 if self.lr is None else self.lr)
        self.tracker = DeadCodeTracker(m, "cpu")

    def step(self, batch: torch.Tensor) -> None:
        self.model.train()
        self.optimiser.zero_grad()
        _, codes, reconstruction = self.model(batch)
        loss = (batch - reconstruction).square().mean()
        self.tracker.update(codes)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimiser.step()
        loss.item()

    def codes(self, x: torch.Tensor) -> torch.Tensor:
        self.model.eval()
        return self.model.encode(x)[1]

    def reconstruct(self, codes: torch.Tensor) -> torch.Tensor:
        return self.model.decode(codes)

    def directions(self) -> np.ndarray:
        return self.model.get_dictionary().detach().numpy()


class Textbook(Peer):
    """Dense TopK with autograd and the fused Adam of torch: what a page of PyTorch gives."""

    package = "torch"

    def build(self, x: np.ndarray) -> None:
        rows = torch.nn.functional.normalize(torch.randn(self.setting["m"], x.shape[1]), dim=1)
        self.encoder, self.decoder = rows.clone().requires_grad_(), rows.clone().requires_grad_()
        self.b_enc = torch.zeros(len(rows), requires_grad=True)
        self.b_dec = torch.from_numpy(x.mean(0)).requires_grad_()
        named = [self.encoder, self.decoder, self.b_enc, self.b_dec]
        self.optimiser = torch.optim.Adam(named, lr=1e-3 if self.lr is None else self.lr, fused=True)

    def codes(self, x: torch.Tensor) -> torch.Tensor:
        pre = torch.nn.functional.linear(x - self.b_dec, self.encoder, self.b_enc)
        values, cols = pre.topk(self.setting["k"], -1)
        return torch.zeros_like(pre).scatter(1, cols, values.relu())

    def reconstruct(self, codes: torch.Tensor) -> torch.Tensor:
        return codes @ self.decoder + self.b_dec

    def step(self, batch: torch.Tensor) -> None:
        loss = (self.reconstruct(self.codes(batch)) - batch).square().sum(1).mean()
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()
        with torch.no_grad():
            self.decoder /= self.decoder.norm(dim=1, keepdim=True)

    def directions(self) -> np.ndarray:
        return self.decoder.detach().numpy()


_SAELENS_VARIANTS = ("topk", "batchtopk", "matryoshka", "gated", "jumprelu", "relu")
PEERS: dict[str, tuple[type[Peer], str]] = {
    "sparsify topk": (Sparsify, "topk"),
    "sparsify topk signum": (Sparsify, "signum"),
    "overcomplete topk": (Overcomplete, "topk"),
    "overcomplete batchtopk": (Overcomplete, "batchtopk"),
    **{f"SAELens {variant}": (SaeLens, variant) for variant in _SAELENS_VARIANTS},
    **{f"dictionary_learning {variant}": (DictionaryLearning, variant) for variant in _SAELENS_VARIANTS},
    "textbook topk": (Textbook, "topk"),
}


def is_installed(name: str) -> bool:
    return find_spec(PEERS[name][0].package) is not None


def build_peer(name: str, x: np.ndarray, setting: dict, lr: float | None = None) -> Peer:
    peer, variant = PEERS[name]
    return peer(x, setting, lr, variant)
