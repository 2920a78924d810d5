"""Selection from values that are spread over processes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Callable

    from saescape.sae._communicator import Communicator

# a process sends this many times the share of the selection that falls to it on average
_MARGIN = 1.5


def largest_of_all(
    values: torch.Tensor, largest: Callable[[int], torch.Tensor], n_keep: int, communicator: Communicator
) -> tuple[torch.Tensor, float]:
    """Which of the `n_keep` largest values of all processes are here, and the smallest of all that are kept.

    Exact: every process sends its largest values, and more of them when those turn out to have been too few.

    Parameters
    ----------
    values
        Of this process, one-dimensional; all processes together have at least `n_keep`.
    largest
        Gives the positions of that many largest values of this process.
    """
    for n_sent in (min(n_keep, int(_MARGIN * n_keep / communicator.world_size) + 1), n_keep):
        where = largest(min(n_sent, values.numel()))
        sent = values.new_full((n_sent,), -torch.inf)
        sent[: where.numel()] = values[where]
        everyone = communicator.gather(sent)
        kept, index = everyone.view(-1).topk(n_keep, sorted=False)
        lowest = kept.min()
        # what a process did not send is at most the smallest value that it sent
        if bool((everyone.amin(1) <= lowest).all()):
            break
    mine = index[index // n_sent == communicator.rank] % n_sent
    return where[mine], float(lowest)
