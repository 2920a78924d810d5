"""Do all tasks: one after the other here, or side by side on the workers of a dask client."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

from ._blocks import cut_block
from ._workers import active_client, as_they_come

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ._blocks import Block
    from ._fields import Field
    from ._measure import Encoding, Measures, NamedFeatures
    from ._regions import Regions
    from ._results import Measured, Results
    from ._tasks import Piece, Task

    Measure = NamedFeatures | Encoding


def run_tasks(
    fields: list[Field],
    regions: list[Regions],
    tasks: list[Task],
    measure: Measure,
    results: Results,
    *,
    progress: bool,
) -> Measured:
    """Measure the observations of all tasks that `results` has not got yet."""
    from tqdm.auto import tqdm

    missing = results.missing(tasks)
    client = active_client()
    done = (
        _one_by_one(fields, regions, missing, measure)
        if client is None or len(missing) < 2
        else _on_workers(client, fields, regions, missing, measure)
    )
    with tqdm(total=len(tasks), initial=len(tasks) - len(missing), desc="image_to_adata", disable=not progress) as bar:
        for task, measures in done:
            results.add(task, measures)
            bar.update()
    return results.finish()


class LastOpened:
    """Opens fields on demand, and keeps the last one, for its pieces follow each other."""

    def __init__(self) -> None:
        self.number = -1
        self.pixels: Any = None
        self.found: Regions | None = None

    def cut(self, piece: Piece, field: Field, found: Regions) -> Block:
        """Read the pixels of a piece."""
        if self.number != piece.field:
            self.close()
            self.number, self.pixels, self.found = piece.field, field.open().pixels, found
        return cut_block(self.pixels, found, piece)

    def close(self) -> None:
        """Free what was read of the last field."""
        if self.found is not None:
            self.found.close()
        self.number, self.pixels, self.found = -1, None, None


def _one_by_one(
    fields: list[Field], regions: list[Regions], tasks: list[Task], measure: Measure
) -> Iterator[tuple[Task, Measures]]:
    opened = LastOpened()
    with measure.prepared():
        for task in tasks:
            blocks = (opened.cut(piece, fields[piece.field], regions[piece.field]) for piece in task.pieces)
            yield task, measure(blocks)
    opened.close()


def _on_workers(
    client: Any, fields: list[Field], regions: list[Regions], tasks: list[Task], measure: Measure
) -> Iterator[tuple[Task, Measures]]:
    """Pixels in files are read by the workers; those in memory are sent with the task, few tasks at a time."""
    # a copy, for workers may be threads of this process and an encoder changes while it runs
    everywhere = client.scatter(copy.deepcopy(measure), broadcast=True, hash=False)
    opened = LastOpened()
    sent: dict[int, Any] = {}

    def submit(task: Task) -> Any:
        if all(fields[field].on_disk for field in task.fields):
            for field in task.fields:
                if field not in sent:
                    sent[field] = client.scatter((fields[field], regions[field]), hash=False)
            sources = [sent[piece.field] for piece in task.pieces]
            return client.submit(_read_and_measure, everywhere, task.pieces, sources, pure=False)
        blocks = [opened.cut(piece, fields[piece.field], regions[piece.field]) for piece in task.pieces]
        return client.submit(_measure, everywhere, blocks, pure=False)

    yield from as_they_come(client, submit, tasks)
    opened.close()


def _measure(measure: Measure, blocks: list[Block]) -> Measures:
    return measure(blocks)


def _read_and_measure(measure: Measure, pieces: tuple[Piece, ...], sources: list[tuple[Field, Regions]]) -> Measures:
    """On a worker: open what the pieces need, and measure."""
    opened = LastOpened()
    measures = measure(opened.cut(piece, *source) for piece, source in zip(pieces, sources, strict=True))
    opened.close()
    return measures
