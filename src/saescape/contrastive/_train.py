"""Momentum-contrast training (He et al. 2020) of the small network."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from torch import nn

from ._augment import random_view
from ._loss import KeyQueue, contrastive_loss
from ._network import seeded_network, unit_filters_
from ._sampler import epoch_order
from ._watch import Watch

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from saescape._typing import BoolArray, IntArray
    from saescape.sae._checkpoint import Checkpoint

    from ._augment import Views
    from ._crops import CropSource
    from ._network import Projection, SmallNetwork

_SGD_MOMENTUM, _WEIGHT_DECAY, _CLIP = 0.9, 1e-4, 1.0
_WARM_UP = 0.05
_MIN_PASSES, _MIN_STEPS = 5, 400


@dataclass(frozen=True)
class Recipe:
    """How the network is trained; `momentum` is that of the second network, which makes the keys."""

    n_dims: int
    temperature: float
    momentum: float
    queue_size: int
    n_epochs: int
    batch_size: int
    lr: float
    views: Views
    seed: int
    device: torch.device


@dataclass
class Run:
    """The networks in training, and what has happened so far."""

    query: SmallNetwork
    key: SmallNetwork
    query_head: Projection
    key_head: Projection
    optimizer: torch.optim.SGD
    queue: KeyQueue
    seen: torch.Tensor
    epoch: int = 0
    history: list[dict[str, float]] = field(default_factory=list)


def default_epochs(n: int, batch_size: int) -> int:
    """Five passes, and as many more as make 400 steps."""
    return max(_MIN_PASSES, math.ceil(_MIN_STEPS / max(1, n // batch_size)))


def train(
    crops: CropSource,
    recipe: Recipe,
    labels: IntArray | None,
    groups: Sequence[IntArray],
    checkpoint: Checkpoint | None = None,
    step: Callable[[], object] = lambda: None,
) -> tuple[SmallNetwork, pd.DataFrame, BoolArray]:
    """Train on all crops; returns the network, the table of epochs, and which crops were drawn at all.

    With `labels` (codes, negative for unknown) crops of one label attract each other, and each label is drawn equally
    often, inside it each of the nested `groups`. A run with a checkpoint that exists goes on after its last whole
    epoch, with the same result.

    Raises
    ------
    ValueError
        If the representation collapses.
    """
    run = _begin(crops, recipe)
    if checkpoint is not None and checkpoint.exists:
        _restore(run, *checkpoint.load())
        for _ in range(run.epoch):
            step()
    watch = Watch(crops, labels, groups, np.random.default_rng(recipe.seed))
    if not run.history:
        run.history.append({"loss": math.nan, "top1": math.nan, **watch.measure(run.query, recipe.device)})
    while run.epoch < recipe.n_epochs:
        loss, top1 = _epoch(run, crops, recipe, labels, groups)
        run.epoch += 1
        measures = watch.measure(run.query, recipe.device)
        run.history.append({"loss": loss, "top1": top1, **measures})
        watch.check(measures, run.epoch)
        if checkpoint is not None:
            checkpoint.save(*_state(run))
        step()
    table = pd.DataFrame(run.history)
    table.insert(0, "epoch", np.arange(len(table)))
    return run.query.eval().cpu(), table, run.seen.numpy()


def _begin(crops: CropSource, recipe: Recipe) -> Run:
    query, query_head = seeded_network(crops.shape[1], recipe.n_dims, recipe.seed)
    key, key_head = seeded_network(crops.shape[1], recipe.n_dims, recipe.seed)
    mean, sd = crops.moments
    for network in (query, key):
        network.set_scale(mean, sd)
        network.to(recipe.device)
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    for head in (query_head, key_head):
        head.to(recipe.device)
    parameters = [*query.parameters(), *query_head.parameters()]
    optimizer = torch.optim.SGD(
        parameters, recipe.lr, momentum=_SGD_MOMENTUM, nesterov=True, weight_decay=_WEIGHT_DECAY
    )
    return Run(
        query,
        key,
        query_head,
        key_head,
        optimizer,
        KeyQueue(recipe.queue_size),
        torch.zeros(len(crops), dtype=torch.bool),
    )


def _epoch(
    run: Run, crops: CropSource, recipe: Recipe, labels: IntArray | None, groups: Sequence[IntArray]
) -> tuple[float, float]:
    # all chance of an epoch follows from the seed and its number, so that a run can go on after any of them
    rng = np.random.default_rng([recipe.seed, run.epoch])
    generator = torch.Generator().manual_seed(int(rng.integers(2**63 - 1)))
    order = epoch_order([*groups] if labels is None else [labels, *groups], len(crops), rng)
    run.seen[torch.from_numpy(order)] = True
    n_steps = max(1, len(order) // recipe.batch_size)
    run.query.train()
    # a crop without a label is told apart from all others by a negative code of its own
    codes = -1 - np.arange(len(crops))
    if labels is not None:
        codes = np.where(labels >= 0, labels, codes)
    losses, hits = [], []
    # every row of the order is used: batches differ by at most one crop
    for i, rows in enumerate(np.array_split(order, n_steps)):
        for group in run.optimizer.param_groups:
            group["lr"] = recipe.lr * _schedule(run.epoch + i / n_steps, recipe.n_epochs)
        batch = crops.read(rows).to(recipe.device)
        loss, top1 = _step(run, batch, torch.from_numpy(codes[rows]).to(recipe.device), recipe, generator)
        losses.append(loss * len(rows))
        hits.append(top1 * len(rows))
    return sum(losses) / len(order), sum(hits) / len(order)


def _step(
    run: Run, batch: torch.Tensor, codes: torch.Tensor, recipe: Recipe, generator: torch.Generator
) -> tuple[float, float]:
    sd = run.query.sd
    first, second = (
        random_view(batch, recipe.views, sd, generator).contiguous(memory_format=torch.channels_last) for _ in range(2)
    )
    queries = run.query_head(run.query(first))
    with torch.no_grad():
        keys = run.key_head(run.key(second))
    all_keys, all_codes = run.queue.with_current(keys, codes)
    loss, top1 = contrastive_loss(queries, all_keys, recipe.temperature, codes, all_codes)
    run.optimizer.zero_grad(set_to_none=True)
    loss.backward()
    nn.utils.clip_grad_norm_([*run.query.parameters(), *run.query_head.parameters()], _CLIP)
    run.optimizer.step()
    unit_filters_(run.query, run.query_head)
    with torch.no_grad():
        for own, other in ((run.key, run.query), (run.key_head, run.query_head)):
            for slow, fast in zip(own.parameters(), other.parameters(), strict=True):
                slow.lerp_(fast, 1 - recipe.momentum)
    run.queue.push(keys, codes)
    return float(loss.detach()), float(top1)


def _schedule(epoch: float, n_epochs: int) -> float:
    """Linear warm-up, then a half cosine to zero."""
    progress = epoch / n_epochs
    return min(1.0, (progress + 1e-3) / _WARM_UP) * 0.5 * (1 + math.cos(math.pi * progress))


def _modules(run: Run) -> dict[str, nn.Module]:
    return {"query": run.query, "key": run.key, "query_head": run.query_head, "key_head": run.key_head}


def _state(run: Run) -> tuple[dict[str, torch.Tensor], dict[str, object]]:
    tensors = {f"{name}.{part}": t for name, m in _modules(run).items() for part, t in m.state_dict().items()}
    tensors["seen"] = run.seen
    for i, parameter in enumerate(run.optimizer.param_groups[0]["params"]):
        tensors[f"momentum.{i}"] = run.optimizer.state[parameter]["momentum_buffer"]
    if run.queue.keys is not None and run.queue.labels is not None:
        tensors |= {"queue.keys": run.queue.keys, "queue.labels": run.queue.labels}
    return tensors, {"epoch": run.epoch, "history": run.history}


def _restore(run: Run, tensors: dict[str, torch.Tensor], numbers: dict[str, object]) -> None:
    for name, module in _modules(run).items():
        prefix = f"{name}."
        module.load_state_dict({k.removeprefix(prefix): t for k, t in tensors.items() if k.startswith(prefix)})
    for i, parameter in enumerate(run.optimizer.param_groups[0]["params"]):
        buffer = tensors[f"momentum.{i}"].to(parameter.device)
        run.optimizer.state[parameter]["momentum_buffer"] = buffer.to(memory_format=torch.preserve_format)
    if "queue.keys" in tensors:
        device = next(run.query.parameters()).device
        run.queue.keys, run.queue.labels = tensors["queue.keys"].to(device), tensors["queue.labels"].to(device)
    run.seen = tensors["seen"]
    run.epoch, run.history = int(numbers["epoch"]), list(numbers["history"])  # type: ignore[call-overload]
