from __future__ import annotations

import numpy as np
import pytest
import torch

from saescape.contrastive._loss import KeyQueue, contrastive_loss


def unit(rng, n, d=6):
    points = torch.from_numpy(rng.normal(size=(n, d)))
    return torch.nn.functional.normalize(points, dim=1)


@pytest.fixture
def views():
    rng = np.random.default_rng(0)
    return unit(rng, 5), unit(rng, 12)


def brute_force(queries, keys, temperature, positives):
    total = 0.0
    for i, q in enumerate(queries.numpy()):
        shares = np.exp(keys.numpy() @ q / temperature)
        total -= np.mean([np.log(shares[p] / shares.sum()) for p in positives[i]])
    return total / len(queries)


ALONE = -1 - torch.arange(12)


def test_own_key_is_the_positive_without_labels(views):
    loss, _ = contrastive_loss(*views, 0.3, ALONE[:5], ALONE)
    assert float(loss) == pytest.approx(brute_force(*views, 0.3, [[i] for i in range(5)]), abs=1e-10)


def test_all_keys_of_the_label_are_positives(views):
    labels = torch.tensor([0, 1, 1, -1, 2])
    key_labels = torch.tensor([0, 1, 1, -1, 2, 0, 0, 1, -2, -3, 3, 2])
    positives = [[0, 5, 6], [1, 2, 7], [1, 2, 7], [3], [4, 11]]
    loss, _ = contrastive_loss(*views, 0.1, labels, key_labels)
    assert float(loss) == pytest.approx(brute_force(*views, 0.1, positives), abs=1e-10)


def test_earlier_keys_of_a_crop_without_a_class_are_no_other_crops(views):
    queries, keys = views
    # keys 5 and 9 are older views of crop 0
    key_labels = ALONE.clone()
    key_labels[[5, 9]] = ALONE[0]
    loss, _ = contrastive_loss(queries, keys, 0.3, ALONE[:5], key_labels)
    kept = torch.tensor([0, 1, 2, 3, 4, 6, 7, 8, 10, 11])
    first = brute_force(queries[:1], keys[kept], 0.3, [[0]])
    others = brute_force(queries[1:], keys, 0.3, [[i] for i in range(1, 5)])
    assert float(loss) == pytest.approx((first + 4 * others) / 5, abs=1e-10)


def test_gradient_is_finite_with_left_out_keys(views):
    queries = views[0].clone().requires_grad_()
    labels = torch.tensor([-1, -1, 0, 0, -2])
    contrastive_loss(queries, views[0], 0.1, labels, labels)[0].backward()
    assert bool(torch.isfinite(queries.grad).all())


def test_identical_views_are_nearest():
    keys = torch.eye(4)
    _, top1 = contrastive_loss(keys, keys, 0.1, ALONE[:4], ALONE[:4])
    assert float(top1) == 1
    _, top1 = contrastive_loss(keys, keys.roll(1, 0), 0.1, ALONE[:4], ALONE[:4])
    assert float(top1) == 0


def test_queue_keeps_the_latest_keys_only():
    queue = KeyQueue(5)
    batches = [(torch.full((3, 2), float(i)), torch.full((3,), i)) for i in range(3)]
    for keys, labels in batches:
        queue.push(keys, labels)
    assert queue.labels.tolist() == [2, 2, 2, 1, 1]
    keys, labels = queue.with_current(*batches[0])
    assert labels.tolist() == [0, 0, 0, 2, 2, 2, 1, 1]
    assert keys[:, 0].tolist() == [0, 0, 0, 2, 2, 2, 1, 1]
