"""Claims about superposition and decoding, each held against the threshold that was set before it was measured."""
