"""Links of image features to genes through a coupling: association, refitted nulls, modules of genes."""

from __future__ import annotations
