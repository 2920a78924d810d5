from __future__ import annotations

import json

import pandas as pd
import pytest
import torch
from safetensors.torch import save_file

from saescape.contrastive._files import HEADER, read_network, write_network
from saescape.contrastive._network import seeded_network

HISTORY = pd.DataFrame({"epoch": [0], "loss": [float("nan")]})


@pytest.fixture
def written(tmp_path):
    network, _ = seeded_network(2, 16, 0)
    path = tmp_path / "encoder.safetensors"
    sampled = pd.DataFrame({"plate": ["a", "b"], "n_crops": [3, 5]})
    write_network(path, network, {"params": {"n_dims": 16}, "n_channels": 2}, HISTORY, sampled)
    return path, network, sampled


def test_round_trip(written):
    path, network, sampled = written
    read, header, history, table = read_network(path)
    assert all(torch.equal(a, b) for a, b in zip(read.parameters(), network.parameters(), strict=True))
    assert header["n_channels"] == 2
    pd.testing.assert_frame_equal(history, HISTORY)
    pd.testing.assert_frame_equal(table, sampled)


@pytest.mark.parametrize(
    ("changed", "match"),
    [
        ({"n_channels": 3}, "does not fit its tensors"),
        ({"params": {}}, "does not fit its tensors .KeyError"),
        ({"format": 99}, "has format 99, this saescape reads up to"),
    ],
)
def test_damaged_headers_say_so(written, changed, match):
    path, network, _ = written
    header = {"format": 1, "params": {"n_dims": 16}, "n_channels": 2, "history": {}, "sampled": None} | changed
    save_file(dict(network.state_dict()), path, metadata={HEADER: json.dumps(header)})
    with pytest.raises(ValueError, match=match):
        read_network(path)


def test_other_safetensors_are_refused(tmp_path):
    path = tmp_path / "other.safetensors"
    save_file({"w": torch.ones(2)}, path)
    with pytest.raises(ValueError, match="does not hold an encoder"):
        read_network(path)


def test_a_pickle_is_not_opened(tmp_path):
    path = tmp_path / "encoder.safetensors"
    torch.save({"w": torch.ones(2)}, path)
    with pytest.raises(ValueError, match="cannot be read as an encoder"):
        read_network(path)
