from __future__ import annotations


class ConvergenceWarning(UserWarning):
    """An iteration stopped at its limit; the message has the number reached and the parameter to change."""


class SignificanceWarning(UserWarning):
    """A result is not significant, not identifiable or not trustworthy for a stated reason."""
