"""Lines of the report, and the numbers that the bars are held against."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

LINES: list[str] = []
#: measured numbers by (part, setting, trainer, what)
NUMBERS: dict[tuple[str, ...], float] = {}
FAILED: list[str] = []


def say(line: str = "") -> None:
    print(line, flush=True)
    LINES.append(line)


def table(*columns: str) -> None:
    row(*columns)
    say("|" + "---|" * len(columns))


def row(*cells: Any) -> None:
    say("| " + " | ".join(str(cell) for cell in cells) + " |")


def number(value: float, digits: int = 3) -> str:
    """A number with that many digits, or nothing for one that does not exist."""
    return "" if value != value else f"{value:.{digits}f}"


def failed(name: str, error: BaseException, n_columns: int) -> None:
    """A row that says what went wrong."""
    text = " ".join(f"{type(error).__name__}: {error}".split())[:90].replace("|", "/")
    row(name, f"failed: {text}", *[""] * (n_columns - 2))
    FAILED.append(name)


def write(path: Path) -> None:
    path.write_text("\n".join(LINES) + "\n", encoding="utf-8")
