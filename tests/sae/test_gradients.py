from __future__ import annotations

import pytest
import torch

from saescape.sae._gradients import batch_gradients
from saescape.sae._parameters import Parameters
from saescape.sae._selection import make_selector
from saescape.sae._sparse import SparseOps, bag_embedding, bag_gather, dots_gather, dots_sampled

N, D, M, K = 48, 20, 96, 6
OPS = {"cpu": SparseOps(bag_embedding, dots_sampled), "any": SparseOps(bag_gather, dots_gather)}


def _dense_loss(p, x, architecture, dead, k_aux, coefficient):
    """The loss as written in the papers, on dense arrays."""
    pre = (x - p.b_dec) @ p.encoder.T + p.b_enc
    if architecture == "topk":
        values, cols = pre.topk(K, -1)
        codes = torch.zeros_like(pre).scatter(1, cols, values.relu())
    else:
        values, flat = pre.flatten().topk(K * N)
        codes = torch.zeros(N * M).scatter(0, flat, values.relu()).view(N, M)
    error = codes @ p.decoder + p.b_dec - x
    loss = error.square().sum(1).mean()
    if dead is None:
        return loss, loss
    among_dead = pre[:, dead]
    k = min(k_aux, len(dead))
    values, cols = among_dead.topk(k, -1)
    aux = torch.zeros_like(among_dead).scatter(1, cols, values.relu()) @ p.decoder[dead]
    residual = -error.detach()
    share = min(len(dead) / k_aux, 1.0)
    return loss, loss + coefficient * share * (aux - residual).square().sum(1).mean()


@pytest.mark.parametrize("ops", OPS)
@pytest.mark.parametrize("n_dead", [0, 5, 40])
@pytest.mark.parametrize("architecture", ["topk", "batchtopk"])
def test_gradients_equal_autograd(architecture, n_dead, ops):
    generator = torch.Generator().manual_seed(0)
    draw = lambda *shape: torch.randn(*shape, generator=generator)  # noqa: E731
    p = Parameters(draw(M, D) / 4, draw(M, D) / 4, 0.1 * draw(M), draw(D))
    x = draw(N, D)
    dead = torch.arange(3, 3 + n_dead) if n_dead else None

    leaves = Parameters(*(getattr(p, name).clone().requires_grad_() for name in p.__annotations__))
    plain, total = _dense_loss(leaves, x, architecture, dead, 16, 0.7)
    total.backward()

    centred = x - p.b_dec
    pre = centred @ p.encoder.T + p.b_enc
    active = make_selector(architecture, K).select(pre)
    grads = batch_gradients(p, centred, pre, active, OPS[ops], dead=dead, k_aux=16, aux_coefficient=0.7)
    torch.testing.assert_close(grads.loss, plain.detach())

    bounds = [0, 10, 64, M]
    cuts = grads.cuts(bounds)
    slices = [grads.rows(bounds[i], bounds[i + 1], cuts[i], cuts[i + 1]) for i in range(3)]
    got = {
        "encoder": torch.cat([s[0] for s in slices]),
        "decoder": torch.cat([s[1] for s in slices]),
        "b_enc": grads.b_enc,
        "b_dec": grads.b_dec,
    }
    for name, grad in got.items():
        torch.testing.assert_close(grad, getattr(leaves, name).grad, rtol=1e-4, atol=1e-5)
    fired = torch.zeros(M, dtype=torch.bool)
    fired[active.cols[active.values > 0]] = True
    assert torch.equal(grads.fired, fired)
    assert int(grads.n_active) == int((active.values > 0).sum())
