"""The contrastive loss against a queue of keys."""

from __future__ import annotations

import torch


class KeyQueue:
    """The latest keys and their labels, oldest first to go; it holds real keys only, so it begins empty."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.keys: torch.Tensor | None = None
        self.labels: torch.Tensor | None = None

    def with_current(self, keys: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Keys and labels to compare with: the batch's own first, then the queue."""
        if self.keys is None or self.labels is None:
            return keys, labels
        return torch.cat([keys, self.keys]), torch.cat([labels, self.labels])

    def push(self, keys: torch.Tensor, labels: torch.Tensor) -> None:
        """Put the batch's keys in front."""
        keys, labels = self.with_current(keys, labels)
        self.keys, self.labels = keys[: self.size].detach().clone(), labels[: self.size].clone()


def contrastive_loss(
    queries: torch.Tensor, keys: torch.Tensor, temperature: float, labels: torch.Tensor, key_labels: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    r"""Loss of unit `queries` `(b, d)` against unit `keys` `(K, d)`, key i being the other view of query i.

    .. math:: L = -\frac1b \sum_i \frac1{|P(i)|} \sum_{p \in P(i)} \log
       \frac{\exp(q_i \cdot k_p / \tau)}{\sum_{a \in A(i)} \exp(q_i \cdot k_a / \tau)}

    A label from 0 is a class: P(i) are all keys of the query's class and A(i) all keys (Khosla et al. 2020, eq. 2, over
    a queue as in He et al. 2020). A negative label stands for one crop without a class: P(i) is its own key, and A(i)
    leaves out its other keys in batch and queue, which are no other crop (InfoNCE). Also returns the share of queries
    whose most similar key in A(i) is in P(i).
    """
    similarity = queries @ keys.T / temperature
    same = labels[:, None] == key_labels[None]
    own = torch.arange(len(queries), device=queries.device)
    positive = same & (labels >= 0)[:, None]
    positive[own, own] = True
    similarity = similarity.masked_fill(same & ~positive, -torch.inf)
    log_share = similarity - similarity.logsumexp(1, keepdim=True)
    loss = -(log_share.masked_fill(~positive, 0).sum(1) / positive.sum(1)).mean()
    return loss, positive[own, similarity.argmax(1)].float().mean()
