"""The one place that touches scanpy's logger: levels and verbosity follow `scanpy.settings.verbosity`."""

from __future__ import annotations

from scanpy import logging as logg

__all__ = ["logg"]
