"""Sparse-autoencoder training side by side: time of a step, time of encoding, and what is recovered.

    python benchmarks/sae_training.py [--threads 1] [--rounds 5] [--settings A B] [--write]

Steps run in interleaved rounds in one process, so that load of the machine hits everybody alike: compare ratios of one
run, not milliseconds of two. Peers are timed when they are installed.
"""

from __future__ import annotations

import argparse
import datetime
import os
import platform
import time
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from scipy import sparse

import saescape as sae
from saescape._rows import RowSource
from saescape.sae._data import TrainingRows, hold_out_observations
from saescape.sae._defaults import make_plan
from saescape.sae._encode import encode_rows
from saescape.sae._fit import fit_rows, make_trainer
from saescape.sae._parameters import Standardizer
from saescape.sae._weights import SaeWeights

CPU = torch.device("cpu")
SETTINGS = {
    "A": {"n": 20_000, "d": 512, "n_true": 1024, "l0": 20, "m": 4096, "k": 32, "batch": 1024, "steps": 300},
    "B": {"n": 20_000, "d": 128, "n_true": 256, "l0": 8, "m": 1024, "k": 16, "batch": 512, "steps": 1000},
}
LINES: list[str] = []


def say(line: str = "") -> None:
    print(line, flush=True)
    LINES.append(line)


def planted(n: int, d: int, n_true: int, l0: float, offset: float = 1.0, seed: int = 0):
    """Sparse codes with power-law frequencies, unit directions, 5 % noise, and a constant offset in signal norms."""
    rng = np.random.default_rng(seed)
    dictionary = rng.standard_normal((n_true, d))
    dictionary /= np.linalg.norm(dictionary, axis=1, keepdims=True)
    frequency = np.arange(1, n_true + 1) ** -0.5
    frequency = np.minimum(frequency / frequency.sum() * l0, 0.5)
    codes = (rng.random((n, n_true)) < frequency) * (0.5 + rng.exponential(0.5, (n, n_true)))
    signal = codes @ dictionary
    noise = np.sqrt(0.05 * signal.var(0).sum() / d) * rng.standard_normal(signal.shape)
    direction = rng.standard_normal(d)
    shift = offset * direction / np.linalg.norm(direction) * np.sqrt(np.square(signal).sum(1).mean())
    return (signal + noise + shift).astype(np.float32), dictionary, sparse.csr_matrix(codes)


def ours(x, setting, architecture):
    rows = RowSource(x)
    plan = make_plan(
        len(x),
        x.shape[1],
        architecture=architecture,
        n_features=setting["m"],
        k=setting["k"],
        batch_size=setting["batch"],
    )
    standardizer = Standardizer("center", *rows.moments())
    data = TrainingRows(rows, np.zeros(len(x), dtype=bool), CPU)
    trainer = make_trainer(data, plan, standardizer, np.random.default_rng(0), endless=True)
    mean, inverse = standardizer.tensors(CPU)
    return trainer, lambda batch: trainer.step((batch - mean).mul_(inverse))


class Textbook:
    """Dense TopK autoencoder with autograd and the fused Adam of torch: what a page of PyTorch gives."""

    def __init__(self, x, setting):
        generator = torch.Generator().manual_seed(0)
        rows = torch.nn.functional.normalize(torch.randn(setting["m"], x.shape[1], generator=generator), dim=1)
        self.encoder, self.decoder = rows.clone().requires_grad_(), rows.clone().requires_grad_()
        self.b_enc = torch.zeros(setting["m"], requires_grad=True)
        self.b_dec = torch.from_numpy(x.mean(0)).requires_grad_()
        self.k = setting["k"]
        self.optimiser = torch.optim.Adam([self.encoder, self.decoder, self.b_enc, self.b_dec], lr=1e-3, fused=True)

    def step(self, batch):
        pre = torch.nn.functional.linear(batch - self.b_dec, self.encoder, self.b_enc)
        values, cols = pre.topk(self.k, -1)
        codes = torch.zeros_like(pre).scatter(1, cols, values.relu())
        loss = (codes @ self.decoder + self.b_dec - batch).square().sum(1).mean()
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()
        with torch.no_grad():
            self.decoder /= self.decoder.norm(dim=1, keepdim=True)


def encoder_product(x, setting):
    """The dense product alone: nothing with a dense encoder can be faster."""
    generator = torch.Generator().manual_seed(0)
    weights, bias = torch.randn(setting["m"], x.shape[1], generator=generator), torch.zeros(setting["m"])
    out = torch.empty(setting["batch"], setting["m"])
    return lambda batch: torch.addmm(bias, batch, weights.t(), out=out)


def sparsify(x, setting):
    from sparsify.config import SparseCoderConfig
    from sparsify.sparse_coder import SparseCoder

    model = SparseCoder(x.shape[1], SparseCoderConfig(num_latents=setting["m"], k=setting["k"]))
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-3)

    def step(batch):
        model.set_decoder_norm_to_unit_norm()
        model(batch).fvu.backward()
        model.remove_gradient_parallel_to_decoder_directions()
        optimiser.step()
        optimiser.zero_grad()

    return step


def sae_lens(x, setting):
    import sae_lens
    from sae_lens.config import SAETrainerConfig
    from sae_lens.training.sae_trainer import SAETrainer

    config = sae_lens.TopKTrainingSAEConfig(
        k=setting["k"], use_sparse_activations=False, d_in=x.shape[1], d_sae=setting["m"], device="cpu", dtype="float32"
    )
    model = sae_lens.TopKTrainingSAE(config)
    training = SAETrainerConfig(
        total_training_samples=10**6, train_batch_size_samples=setting["batch"], device="cpu", lr=1e-3, lr_end=1e-4
    )
    trainer = SAETrainer(cfg=training, sae=model, data_provider=iter([]))

    def step(batch):
        trainer.step(batch)
        trainer.n_training_steps += 1

    return step


def dictionary_learning(x, setting):
    from dictionary_learning.trainers.top_k import TopKTrainer

    trainer = TopKTrainer(
        steps=10**4,
        activation_dim=x.shape[1],
        dict_size=setting["m"],
        k=setting["k"],
        layer=0,
        lm_name="x",
        seed=0,
        device="cpu",
        lr=1e-3,
    )
    count = iter(range(10**6))
    return lambda batch: trainer.update(next(count), batch)


PEERS = {"sparsify": sparsify, "sae_lens": sae_lens, "dictionary_learning": dictionary_learning}


def time_steps(name: str, setting: dict, n_rounds: int, n_steps: int) -> None:
    x, _, _ = planted(setting["n"], setting["d"], setting["n_true"], setting["l0"])
    steps = {
        "saescape topk": ours(x, setting, "topk")[1],
        "saescape batchtopk": ours(x, setting, "batchtopk")[1],
        "textbook dense autograd": Textbook(x, setting).step,
        "encoder product alone": encoder_product(x, setting),
    }
    for peer, build in PEERS.items():
        if find_spec(peer) is not None:
            steps[peer] = build(x, setting)
    rng = np.random.default_rng(0)
    batches = [torch.from_numpy(x[rng.choice(len(x), setting["batch"], replace=False)]) for _ in range(n_steps)]
    for step in steps.values():
        step(batches[0])
        step(batches[-1])
    times: dict[str, list[float]] = {label: [] for label in steps}
    cpu: dict[str, list[float]] = {label: [] for label in steps}
    for _ in range(n_rounds):
        for label, step in steps.items():
            for batch in batches:
                start, start_cpu = time.perf_counter(), time.process_time()
                step(batch)
                times[label].append(time.perf_counter() - start)
                cpu[label].append(time.process_time() - start_cpu)
    say(f"\n### Step, {name}: d {setting['d']}, m {setting['m']}, k {setting['k']}, batch {setting['batch']}\n")
    say("| | median ms | min ms | CPU median ms | ratio of medians to topk | ratio of CPU to topk | rows/s |")
    say("|---|---|---|---|---|---|---|")
    reference, reference_cpu = np.median(times["saescape topk"]), np.median(cpu["saescape topk"])
    for label in sorted(times, key=lambda item: float(np.median(times[item]))):
        median, median_cpu = float(np.median(times[label])), float(np.median(cpu[label]))
        say(
            f"| {label} | {1e3 * median:.1f} | {1e3 * min(times[label]):.1f} | {1e3 * median_cpu:.1f} | "
            f"{median / reference:.2f} | {median_cpu / reference_cpu:.2f} | {setting['batch'] / median:,.0f} |"
        )


def fit(x, setting, architecture="topk"):
    rows = RowSource(x)
    rng = np.random.default_rng(0)
    held_out = hold_out_observations(len(x), 1, x.shape[1], rng)
    n_train = int((~held_out).sum())
    plan = make_plan(
        len(x),
        x.shape[1],
        n_train=n_train,
        architecture=architecture,
        n_features=setting["m"],
        k=setting["k"],
        batch_size=setting["batch"],
        max_epochs=max(1, round(setting["steps"] * setting["batch"] / n_train)),
    )
    return fit_rows(rows, plan, rows.moments(), held_out, rng=rng, device=CPU)


def random_codes_mcc(x, dictionary, codes, setting) -> float:
    """Recovery with a random dictionary of the same size and sparsity: what training has to beat."""
    unit = (dictionary / np.linalg.norm(dictionary, axis=1, keepdims=True)).astype(np.float32)
    bias = np.zeros(len(unit), dtype=np.float32)
    weights = SaeWeights(np.ascontiguousarray(unit.T), unit, bias, x.mean(0), "topk", setting["k"])
    return sae.metrics.mcc(encode_rows(RowSource(x), weights, CPU).codes, codes)


def quality(name: str, setting: dict) -> None:
    say(f"\n### Recovery, {name}: {setting['n_true']} true directions, {setting['l0']} active, {setting['n']:,} rows\n")
    say("| architecture | offset | steps | held-out FVU | L0 | dead | MMCS | random | MCC of codes | random | CPU s |")
    say("|---|---|---|---|---|---|---|---|---|---|---|")
    for architecture, offset in [("topk", 0.0), ("topk", 1.0), ("topk", 5.0), ("batchtopk", 1.0)]:
        if name == "A" and (architecture, offset) != ("topk", 1.0):
            continue
        x, dictionary, codes = planted(setting["n"], setting["d"], setting["n_true"], setting["l0"], offset)
        start = time.process_time()
        result = fit(x, setting, architecture)
        seconds = time.process_time() - start
        random = np.random.default_rng(1).standard_normal(result.weights.W_dec.shape)
        metrics = result.metrics
        say(
            f"| {architecture} | {offset:g}x | {metrics['n_steps']:.0f} | {metrics['fvu']:.3f} | {metrics['l0']:.2f} | "
            f"{metrics['n_dead'] / metrics['n_features']:.3f} | "
            f"{sae.metrics.mmcs(result.weights.W_dec, dictionary):.3f} | {sae.metrics.mmcs(random, dictionary):.3f} | "
            f"{sae.metrics.mcc(result.encoded.codes, codes):.3f} | {random_codes_mcc(x, random, codes, setting):.3f} | "
            f"{seconds:.1f} |"
        )
        if architecture == "topk" and offset == 1.0:
            encoding(x, result.weights)


ENCODING: list[str] = []


def encoding(x, weights) -> None:
    rows = RowSource(x)
    encoder, bias = torch.from_numpy(np.ascontiguousarray(weights.W_enc.T)), torch.from_numpy(weights.b_enc)
    size = 1024
    out = torch.empty(size, weights.n_features)

    def product():
        for start in range(0, len(x) - size + 1, size):
            torch.addmm(bias, torch.from_numpy(x[start : start + size]), encoder.t(), out=out)

    def dense():
        parts = []
        for start in range(0, len(x), size):
            pre = torch.from_numpy(x[start : start + size]) @ encoder.t() + bias
            values, cols = pre.topk(weights.k, -1)
            parts.append(sparse.csr_matrix(torch.zeros_like(pre).scatter(1, cols, values.relu()).numpy()))
        sparse.vstack(parts)

    calls = {"to CSR": lambda: encode_rows(rows, weights, CPU), "product alone": product, "dense, then CSR": dense}
    times: dict[str, list[float]] = {label: [] for label in calls}
    for _ in range(3):
        for label, call in calls.items():
            start = time.process_time()
            call()
            times[label].append(time.process_time() - start)
    rate = {label: len(x) / float(np.median(seconds)) for label, seconds in times.items()}
    ENCODING.append(
        f"| {weights.n_dims} | {weights.n_features} | {rate['to CSR']:,.0f} | {rate['product alone']:,.0f} | "
        f"{rate['dense, then CSR']:,.0f} | {rate['to CSR'] / rate['product alone']:.2f} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=3, help="steps per round")
    parser.add_argument("--settings", nargs="*", default=["A", "B"])
    parser.add_argument("--write", action="store_true", help="write benchmarks/results/sae_training.md")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    say("# Sparse-autoencoder training\n")
    say(
        f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d}, {platform.machine()}, {os.cpu_count()} cores, "
        f"{args.threads} thread(s), Python {platform.python_version()}, torch {torch.__version__}, "
        f"numpy {np.__version__}, saescape {sae.__version__}. Written by `benchmarks/sae_training.py`. "
        f"Load (1 min) at the start: {os.getloadavg()[0]:.1f}; read ratios, not milliseconds.\n"
    )
    absent = [peer for peer in PEERS if find_spec(peer) is None]
    if absent:
        say(f"Peers not installed here, so absent from the tables: {', '.join(absent)}.")
    for name in args.settings:
        time_steps(name, SETTINGS[name], args.rounds, args.steps)
    for name in args.settings:
        quality(name, SETTINGS[name])
    say("\n### Encoding, rows per CPU second\n")
    say("| d | m | to CSR, with errors and counts | product alone | dense, then CSR | to CSR / product |")
    say("|---|---|---|---|---|---|")
    for line in ENCODING:
        say(line)
    if args.write:
        path = Path(__file__).parent / "results" / "sae_training.md"
        path.write_text("\n".join(LINES) + "\n")


if __name__ == "__main__":
    main()
