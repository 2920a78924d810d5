"""What is learned in equal numbers of steps on equal data, measured in the same way for everybody."""

from __future__ import annotations

import time
import warnings
from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy import sparse
from scipy.optimize import linear_sum_assignment

from saescape import metrics

from .data import batches, planted
from .ours import OURS, Fitted, encode_ours, fit_ours, our_lr, some_weights
from .peers import PEERS, build_peer, is_installed
from .report import NUMBERS, failed, number, row, say, table
from .timing import is_topk

if TYPE_CHECKING:
    from .data import Planted

_COLUMNS = (
    "",
    "rate",
    "offset",
    "held-out FVU",
    "L0",
    "L0 train",
    "dead",
    "MMCS",
    "MCC directions",
    "MCC codes",
    "CPU s",
)


def matched_cosine(directions: np.ndarray, dictionary: np.ndarray) -> float:
    """Mean cosine of the true directions with learned ones, matched one to one."""
    unit = directions / np.maximum(np.linalg.norm(directions, axis=1, keepdims=True), 1e-12)
    cosine = dictionary @ unit.T
    return float(cosine[linear_sum_assignment(-cosine)].mean())


@torch.no_grad()
def _codes(peer, x: np.ndarray) -> tuple[sparse.csr_matrix, np.ndarray]:
    parts, back = [], []
    for start in range(0, len(x), 1000):
        codes = peer.codes(torch.from_numpy(x[start : start + 1000]))
        codes = codes.to_dense() if codes.is_sparse else codes
        parts.append(sparse.csr_matrix(codes.numpy()))
        back.append(peer.reconstruct(codes).numpy())
    return sparse.vstack(parts, format="csr"), np.concatenate(back)


def _fit_peer(name: str, data: Planted, setting: dict, lr: float | None) -> Fitted:
    peer = build_peer(name, data.x, setting, lr)
    for batch in batches(data.x, setting["batch"], setting["steps"]):
        peer.step(batch)
    held_out, reconstruction = _codes(peer, data.held_out)
    return Fitted(_codes(peer, data.x)[0], held_out, reconstruction, peer.directions())


def _report(part: str, label: str, rate: str, offset: float, data: Planted, fitted: Fitted, seconds: float) -> None:
    variance = np.square(data.held_out - data.held_out.mean(0)).sum()
    values = {
        "fvu": np.square(data.held_out - fitted.reconstruction_held_out).sum() / variance,
        "l0": metrics.l0(fitted.codes_held_out),
        "l0 train": metrics.l0(fitted.codes),
        "dead": metrics.dead_fraction(fitted.codes),
        "mmcs": metrics.mmcs(fitted.directions, data.dictionary),
        "mcc": matched_cosine(fitted.directions, data.dictionary),
        "mcc codes": metrics.mcc(fitted.codes_held_out, data.codes_held_out),
    }
    for what, value in values.items():
        NUMBERS["quality", part, label, f"{what}, {rate}, {offset:g}x"] = float(value)
    row(label, rate, f"{offset:g}x", *(number(value) for value in values.values()), number(seconds, 1))


def measure_quality(part: str, setting: dict, offsets: list[float], *, who: str) -> None:
    """Fit everybody at the peers' own learning rates ("own") and at ours ("ours").

    Parameters
    ----------
    offsets
        Constant shifts of the data in units of the signal's norm. Peers get the first, their TopK also the second.
    who
        `"all"`, `"topk"` (of ours and of the peers) or `"ours"` (our TopK alone).
    """
    planned = f"{setting['n_true']} true directions, {setting['l0']:g} active, {setting['n']:,} rows"
    say(f"\n### Recovery, {part}: {planned}\n")
    say(f"{setting['steps']} steps of {setting['batch']} rows, m {setting['m']}, k {setting['k']}.\n")
    table(*_COLUMNS)
    for i, offset in enumerate(offsets):
        data = planted(setting, offset)
        _baseline(part, offset, data, setting)
        for name in OURS:
            if who == "all" or name == "saescape topk":
                _one(part, name, "own", offset, data, setting, None)
        for name in PEERS:
            if who == "ours" or i > 1 or not (is_topk(name) or (who == "all" and i == 0)):
                continue
            if not is_installed(name):
                row(name, "not installed", *[""] * (len(_COLUMNS) - 2))
                continue
            _one(part, name, "own", offset, data, setting, None)
            if not name.endswith("signum"):
                # signum steps have another meaning
                _one(part, name, "ours", offset, data, setting, our_lr(setting))


def _baseline(part: str, offset: float, data: Planted, setting: dict) -> None:
    random = np.random.default_rng(1).standard_normal((setting["m"], setting["d"]))
    weights = some_weights(setting["d"], setting["m"], setting["k"], data.x.mean(0), random)
    codes = encode_ours(data.held_out, weights)
    fitted = Fitted(encode_ours(data.x, weights), codes, weights.decode(codes), random)
    _report(part, "random directions", "", offset, data, fitted, float("nan"))


def _one(part: str, name: str, rate: str, offset: float, data: Planted, setting: dict, lr: float | None) -> None:
    start = time.process_time()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if name in PEERS:
                fitted = _fit_peer(name, data, setting, lr)
            else:
                fitted = fit_ours(data.x, data.held_out, setting, OURS[name])
            _report(part, name, rate, offset, data, fitted, time.process_time() - start)
    except Exception as error:  # noqa: BLE001
        failed(name, error, len(_COLUMNS))
