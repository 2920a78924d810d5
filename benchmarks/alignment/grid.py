"""Which settings of which method are run on which data: documented ones, and a small grid to choose the best from."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .data import Pair

DOCUMENTED, GRID, OURS, OTHER, DIAGNOSTIC = "documented", "grid", "ours", "ours otherwise", "diagnostic"

_UNIT = {"rows": "unit"}
#: first what the peers' documentation gives (defaults of functions, POT's costs as in its examples), then the grid, in
#: order of importance; the number puts a method early or late in the queue
_SETTINGS: dict[str, tuple[int, list[dict[str, Any]]]] = {
    "POT quantized": (
        0,
        [{}, _UNIT, {"n_parts": 20, **_UNIT}, {"n_parts": 200, **_UNIT}, {"n_parts": 20}, {"n_parts": 200}],
    ),
    "POT low-rank": (3, [{"rank": 10}, {"rank": 50, **_UNIT}, {"rank": 50}]),
    "POT entropic": (
        0,
        [
            {},
            {"epsilon": 0.01, **_UNIT},
            {"epsilon": 0.005, **_UNIT},
            {"epsilon": 0.02, **_UNIT},
            *({"epsilon": e} for e in (0.01, 0.005)),
        ],
    ),
    "POT exact": (0, [{}, _UNIT]),
    "moscot": (0, [{}, _UNIT, {"epsilon": 0.001, **_UNIT}, {"cost": "cosine"}, {"rank": 50, "epsilon": 0.0, **_UNIT}]),
    "SCOT procedure": (
        2,
        [{}, {"epsilon": 0.005}, {"n_neighbors": 20, "epsilon": 0.005}, {"n_neighbors": 110, "epsilon": 0.001}],
    ),
    "POT proximal": (7, [{}, {"epsilon": 0.01, **_UNIT}]),
}
#: the coupling without its test, and what other metrics would give
_OTHERWISE: list[dict[str, Any]] = [
    {"n_nulls": 0},
    {"metric": "euclidean", "n_nulls": 0},
    {"metric": ["euclidean", "cosine", "geodesic"], "n_nulls": 0},
]
#: where a side has more cells than this, runs come later, and those of slow methods last
_LARGE = 1500
_SLOW = {"SCOT procedure", "POT proximal"}


@dataclass(frozen=True)
class Job:
    """One run: `rank` orders the queue, so that what matters most is measured first."""

    data: str
    method: str
    arguments: dict[str, Any] = field(default_factory=dict)
    kind: str = GRID
    rank: int = 0


def jobs(data: str, pair: Pair) -> list[Job]:
    found = [Job(data, "gw_map", {}, OURS, 6)]
    if pair.paired:
        found.append(Job(data, "gw_map from the truth", {}, DIAGNOSTIC, 1))
    found += [Job(data, "gw_map", arguments, OTHER, 1) for arguments in _OTHERWISE]
    for method, (first, settings) in _SETTINGS.items():
        late = (6 if method in _SLOW else 1) if max(len(pair.x), len(pair.y)) > _LARGE else 0
        found += [
            Job(data, method, arguments, GRID if i else DOCUMENTED, first + i + late)
            for i, arguments in enumerate(settings)
        ]
    return found


def label(arguments: dict[str, Any]) -> str:
    words = {"rows": lambda v: f"{v} rows", "solver": str, "cost": str, "n_neighbors": lambda v: f"k {v}"}
    words |= {"metric": lambda v: v if isinstance(v, str) else " + ".join(v), "n_nulls": lambda v: f"{v} nulls"}
    words |= {"n_parts": lambda v: f"{v} parts", "epsilon": lambda v: f"eps {v:g}", "rank": lambda v: f"rank {v}"}
    return ", ".join(words.get(key, lambda v, key=key: f"{key} {v}")(value) for key, value in arguments.items())
