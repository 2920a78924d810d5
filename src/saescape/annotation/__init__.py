"""What sparse features stand for: genes, gene sets and labels that go with them, tested with groups as replicates."""

from __future__ import annotations
