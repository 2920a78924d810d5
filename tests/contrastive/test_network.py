from __future__ import annotations

import torch

from saescape.contrastive._network import seeded_network, unit_filters_


def test_every_filter_has_unit_length():
    network, projection = seeded_network(3, 16, 0)
    with torch.no_grad():
        for parameter in [*network.parameters(), *projection.parameters()]:
            parameter.mul_(3)
    unit_filters_(network, projection)
    matrices = [p for p in [*network.parameters(), *projection.parameters()] if p.ndim > 1]
    assert len(matrices) == 1 + 3 * 2 + 2 + 2
    for weight in matrices:
        torch.testing.assert_close(weight.flatten(1).norm(dim=1), torch.ones(len(weight)))


def test_seed_alone_decides_and_the_global_generator_is_left_alone(global_state):
    first, second = (seeded_network(2, 16, 5)[0] for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
    other = seeded_network(2, 16, 6)[0]
    assert not torch.equal(first.stem.weight, other.stem.weight)


def test_maps_have_an_eighth_of_the_side_and_both_signs():
    network, projection = seeded_network(2, 16, 0)
    maps = network(torch.rand(5, 2, 20, 33, generator=torch.Generator().manual_seed(0))).detach()
    assert maps.shape == (5, 16, 3, 5)
    assert float(maps.min()) < 0 < float(maps.max())
    torch.testing.assert_close(projection(maps).norm(dim=1), torch.ones(5))


def test_channels_are_standardised_by_what_was_set():
    network, _ = seeded_network(1, 16, 0)
    crops = torch.rand(4, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    plain = network(crops).detach()
    network.set_scale([100.0], [50.0])
    torch.testing.assert_close(network(crops * 50 + 100).detach(), plain, atol=1e-4, rtol=1e-3)
