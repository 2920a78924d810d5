from __future__ import annotations

import pytest
import torch

from saescape.sae._gradients import batch_gradients
from saescape.sae._parameters import Parameters
from saescape.sae._sparse import SparseOps, bag_embedding, bag_gather, dots_gather, dots_sampled
from saescape.sae.architectures import ARCHITECTURES, make_architecture
from saescape.sae.architectures._jumprelu import BANDWIDTH

N, D, M, K = 48, 20, 96, 6
PENALTY = 0.3
OPS = {"cpu": SparseOps(bag_embedding, dots_sampled), "any": SparseOps(bag_gather, dots_gather)}


class Jump(torch.autograd.Function):
    """`pre * H(pre - theta)` and `H(pre - theta)` with the pseudo-derivatives of arXiv 2407.14435."""

    @staticmethod
    def forward(ctx, pre, theta):
        ctx.save_for_backward(pre, theta)
        step = (pre > theta).to(pre)
        return pre * step, step

    @staticmethod
    def backward(ctx, d_code, d_step):
        pre, theta = ctx.saved_tensors
        width = BANDWIDTH * theta
        kernel = ((pre - theta).abs() < width / 2) / width
        return d_code * (pre > theta), (-kernel * (theta * d_code + d_step)).sum(0)


def _dense_codes(p, pre, name):
    """Codes and the architecture's own terms of the loss, as in the papers, on dense arrays."""
    if name in {"topk", "batchtopk", "matryoshka"}:
        flat = pre.flatten() if name != "topk" else pre
        values, cols = flat.topk(K if name == "topk" else K * N, -1)
        return torch.zeros_like(flat).scatter(-1, cols, values.relu()).view(N, M), 0.0
    if name == "relu":
        return pre.relu(), PENALTY * pre.relu().sum(1).mean()
    if name == "jumprelu":
        codes, step = Jump.apply(pre, p.extras["log_threshold"].exp())
        return codes, PENALTY * step.sum(1).mean()
    magnitude = p.extras["r_mag"].exp() * (pre - p.b_enc) + p.extras["b_mag"]
    return (pre > 0) * magnitude.relu(), PENALTY * pre.relu().sum(1).mean()


def _dense_loss(p, x, name, dead, k_aux, coefficient):
    pre = (x - p.b_dec) @ p.encoder.T + p.b_enc
    codes, loss = _dense_codes(p, pre, name)
    errors = [codes[:, :size] @ p.decoder[:size] + p.b_dec - x for size in make_architecture(name, K, M).prefixes]
    loss = loss + sum(error.square().sum(1).mean() for error in errors) / len(errors)
    if name == "gated":
        loss = loss + (pre.relu() @ p.decoder.detach() + p.b_dec.detach() - x).square().sum(1).mean()
    if dead is not None:
        among_dead = pre[:, dead]
        k = min(k_aux, len(dead))
        values, cols = among_dead.topk(k, -1)
        aux = torch.zeros_like(among_dead).scatter(1, cols, values.relu()) @ p.decoder[dead]
        share = min(len(dead) / k_aux, 1.0)
        loss = loss + coefficient * share * (aux + errors[-1].detach()).square().sum(1).mean()
    return errors[-1].square().sum(1).mean(), loss, codes


def _random_parameters(name, draw):
    extras = {
        "jumprelu": {"log_threshold": 0.2 * draw(M) - 0.5},
        "gated": {"r_mag": 0.3 * draw(M), "b_mag": 0.2 * draw(M)},
    }
    return Parameters(draw(M, D) / 4, draw(M, D) / 4, 0.1 * draw(M) - 0.5, draw(D), extras.get(name, {}))


@pytest.mark.parametrize("ops", OPS)
@pytest.mark.parametrize("n_dead", [0, 5, 40])
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_gradients_equal_autograd(name, n_dead, ops):
    generator = torch.Generator().manual_seed(0)
    draw = lambda *shape: torch.randn(*shape, generator=generator)  # noqa: E731
    p = _random_parameters(name, draw)
    x = draw(N, D)
    dead = torch.arange(3, 3 + n_dead) if n_dead else None

    copies = {key: tensor.clone().requires_grad_() for key, tensor in p.named().items()}
    leaves = Parameters(
        *(copies[key] for key in ("encoder", "decoder", "b_enc", "b_dec")), {key: copies[key] for key in p.extras}
    )
    error, total, codes = _dense_loss(leaves, x, name, dead, 16, 0.7)
    total.backward()

    architecture = make_architecture(name, K, M)
    centred = x - p.b_dec
    pre = centred @ p.encoder.T + p.b_enc
    active = architecture.select(pre, p.learned())
    penalty = torch.tensor(PENALTY) if architecture.penalised else None
    grads = batch_gradients(
        architecture, p, centred, pre, active, OPS[ops], penalty=penalty, dead=dead, k_aux=16, aux_coefficient=0.7
    )
    torch.testing.assert_close(grads.loss, error.detach())

    bounds = [0, 10, 64, M]
    cuts = grads.cuts(bounds)
    slices = [grads.rows(bounds[i], bounds[i + 1], cuts[i], cuts[i + 1]) for i in range(3)]
    rows = {"encoder": torch.cat([s[0] for s in slices]), "decoder": torch.cat([s[1] for s in slices])}
    assert set(grads.vectors) | set(rows) == set(copies)
    for key, grad in (grads.vectors | rows).items():
        torch.testing.assert_close(grad, copies[key].grad, rtol=1e-4, atol=1e-5)
    assert torch.equal(grads.fired, (codes > 0).any(0))
    assert int(grads.n_active) == int((codes > 0).sum()) > 0
