from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage


@pytest.fixture(scope="session")
def field():
    """A (3, 200, 260) uint16 field with 40 blobs of which some touch each other or the border; ids 1..40."""
    rng = np.random.default_rng(1)
    labels = np.zeros((200, 260), dtype=np.int32)
    y, x = np.mgrid[:200, :260]
    for i in range(40):
        row, col = 18 + 38 * (i // 8) + rng.integers(-8, 8), 12 + 33 * (i % 8) + rng.integers(-8, 8)
        inside = ((y - row) / rng.uniform(6, 16)) ** 2 + ((x - col) / rng.uniform(6, 16)) ** 2 < 1
        labels[inside & (labels == 0)] = i + 1
    image = rng.poisson(200, (3, 200, 260)).astype(np.float64)
    image += rng.gamma(2, 500, (3, 41))[:, labels] * (labels > 0)
    image = ndimage.gaussian_filter(image, (0, 1, 1)) + rng.normal(0, 20, image.shape)
    return np.clip(image, 0, 65535).astype(np.uint16), labels
