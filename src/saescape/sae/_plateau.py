from __future__ import annotations

# evaluations that have to bring nothing, and how much is nothing (relative)
_PATIENCE = 5
_TOLERANCE = 1e-3


class Plateau:
    """Whether training still brings something: the training error or the held-out error, or both, go down.

    The held-out error alone does not decide, because on few cells it can rise while features still get better.
    """

    def __init__(self) -> None:
        self.errors: list[list[float]] = []

    def reached(self, *errors: float) -> bool:
        """Take note of the errors of an evaluation; True when none has improved over the last five."""
        self.errors.append([float(error) for error in errors])
        if len(self.errors) <= 2 * _PATIENCE:
            return False
        before, last = self.errors[:-_PATIENCE], self.errors[-_PATIENCE:]
        best_before, best_last = ([min(column) for column in zip(*part, strict=True)] for part in (before, last))
        return all(new > (1 - _TOLERANCE) * old for old, new in zip(best_before, best_last, strict=True))
