"""Work on the workers of a dask client."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

# tasks that wait at each thread of the workers
_WAITING = 2


def active_client() -> Any:
    """The dask client of this session, or None; dask's scheduler is not imported for it."""
    distributed = sys.modules.get("distributed")
    if distributed is None:
        return None
    try:
        return distributed.default_client()
    except ValueError:
        return None


def in_order(client: Any, function: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[Any]:
    """Results of a function of each item, in the order of the items; few are under way at a time."""
    running: list[Any] = []
    for item in items:
        running.append(client.submit(function, item, pure=False))
        if len(running) >= most_at_once(client):
            yield running.pop(0).result()
    for future in running:
        yield future.result()


def as_they_come(client: Any, submit: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[tuple[Any, Any]]:
    """Items with the results of the futures that `submit` makes of them, the first to be done first."""
    from distributed import as_completed

    waiting, running, completed = iter(items), {}, as_completed()

    def send_next() -> None:
        item = next(waiting, None)
        if item is not None:
            future = submit(item)
            running[future.key] = item
            completed.add(future)

    for _ in range(most_at_once(client)):
        send_next()
    for future in completed:
        item = running.pop(future.key)
        yield item, future.result()
        send_next()


def most_at_once(client: Any) -> int:
    """How many tasks may be under way, so that neither workers wait nor pixels pile up."""
    return _WAITING * max(1, sum(client.nthreads().values()))
