"""Long runs: stores that are continued, workers of a dask client."""

from __future__ import annotations

import dask.array as da
import numpy as np
import pytest
import tifffile
import torch

import saescape as sae
from saescape.imaging import _run, _scan

QUIET = {"show_progress_bar": False, "device": "cpu"}


@pytest.fixture(autouse=True)
def _own_process(request, monkeypatch):
    """Work in this process, unless the test asks for workers."""
    if "client" not in request.fixturenames:
        monkeypatch.setattr(_run, "active_client", lambda: None)
        monkeypatch.setattr(_scan, "active_client", lambda: None)


@pytest.fixture(scope="module")
def fields():
    """Four fields of 96 x 96 with 9 cells each."""
    rng = np.random.default_rng(0)
    labels = np.zeros((96, 96), dtype=np.int32)
    for i in range(9):
        y, x = divmod(i, 3)
        labels[y * 32 + 4 : y * 32 + 26, x * 32 + 4 : x * 32 + 20 + i] = i + 1
    images = {f"w{i}": rng.poisson(100 + 50 * (labels % 4), (2, 96, 96)).astype(np.uint16) for i in range(4)}
    return images, dict.fromkeys(images, labels)


@pytest.fixture
def files(fields, tmp_path):
    """The same in files."""
    images, labels = fields
    image_paths, label_paths = {}, {}
    for name in images:
        image_paths[name], label_paths[name] = tmp_path / f"{name}.tif", tmp_path / f"{name}_cells.tif"
        tifffile.imwrite(image_paths[name], images[name], photometric="minisblack", metadata={"axes": "CYX"})
        tifffile.imwrite(label_paths[name], labels[name])
    return image_paths, label_paths


class Breaking:
    """An encoder that stops after some batches, as a run that is killed."""

    def __init__(self, n_calls=np.inf):
        self.n_calls, self.n_crops = n_calls, 0

    def __call__(self, crops):
        if self.n_calls <= 0:
            msg = "killed"
            raise RuntimeError(msg)
        self.n_calls -= 1
        self.n_crops += len(crops)
        return torch.nn.functional.avg_pool2d(crops, 8)


def run(fields, **kwargs):
    return sae.pp.image_to_adata(*fields, **{"crop_size": 32, "chunks": 48, **QUIET, **kwargs})


def assert_same(found, expected):
    np.testing.assert_array_equal(found.X, expected.X)
    assert found.obs_names.equals(expected.obs_names)
    for column in expected.obs:
        assert found.obs[column].equals(expected.obs[column]), column
    if "tokens" in expected.obsm:
        np.testing.assert_array_equal(np.asarray(found.obsm["tokens"]), np.asarray(expected.obsm["tokens"]))


@pytest.mark.parametrize("tokens", [False, True])
def test_an_interrupted_run_continues(fields, tmp_path, tokens):
    path = tmp_path / "run.zarr"
    expected = run(fields, encoder=Breaking(), tokens=tokens)
    with pytest.raises(RuntimeError, match="killed"):
        run(fields, encoder=Breaking(9), tokens=tokens, store=path)
    again = Breaking()
    found = run(fields, encoder=again, tokens=tokens, store=path)
    assert_same(found, expected)
    # some were done before, and one crop of each block is encoded twice to see whether it depends on its batch
    assert 0 < again.n_crops < 36
    assert isinstance(found.obsm["tokens"], da.Array) if tokens else "tokens" not in found.obsm

    done = Breaking(0)
    assert_same(run(fields, encoder=done, tokens=tokens, store=path), expected)


def test_named_features_can_be_stored(fields, tmp_path):
    expected = run(fields)
    for _ in range(2):
        assert_same(run(fields, store=tmp_path / "run.zarr"), expected)


def test_another_call_does_not_continue(fields, tmp_path):
    images, labels = fields
    path = tmp_path / "run.zarr"
    run(fields, store=path)
    with pytest.raises(ValueError, match="belongs to another call: .*`normalize`"):
        run(fields, encoder="filters", normalize="dtype", store=path)
    with pytest.raises(ValueError, match="`pixels` differ"):
        run(({**images, "w3": images["w3"] + 1}, labels), store=path)
    with pytest.raises(ValueError, match="belongs to another call: `observations`"):
        run((images, {**labels, "w3": np.where(labels["w3"] == 4, 0, labels["w3"])}), store=path)


def test_weights_of_the_encoder_count(fields, tmp_path):
    path = tmp_path / "run.zarr"
    torch.manual_seed(0)
    first, second = (torch.nn.Conv2d(2, 3, 8, stride=8) for _ in range(2))
    run(fields, encoder=first, store=path)
    with pytest.raises(ValueError, match="`encoder` differ"):
        run(fields, encoder=second, store=path)


@pytest.fixture(scope="module")
def client():
    distributed = pytest.importorskip("distributed")
    with (
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None, memory_limit=0) as cluster,
        distributed.Client(cluster) as client,
    ):
        yield client


def n_transitions(client):
    """Counts what the scheduler does."""
    return client.run_on_scheduler(lambda dask_scheduler: dask_scheduler.transition_counter)


@pytest.mark.parametrize(
    ("encoder", "source"), [("features", "files"), ("filters", "arrays"), ("module", "files"), ("module", "dask")]
)
def test_workers_give_the_same(fields, files, client, source, encoder, monkeypatch):
    torch.manual_seed(0)
    module = torch.nn.Sequential(torch.nn.Conv2d(2, 3, 8, stride=8), torch.nn.Dropout(0.5))
    encoder = module if encoder == "module" else encoder
    with monkeypatch.context() as patch:
        patch.setattr(_run, "active_client", lambda: None)
        patch.setattr(_scan, "active_client", lambda: None)
        expected = run(fields, encoder=encoder)
    given = files if source == "files" else fields
    if source == "dask":
        given = ({name: da.from_array(image, chunks=(1, 50, 50)) for name, image in fields[0].items()}, fields[1])
    n_before = n_transitions(client)
    assert_same(run(given, encoder=encoder), expected)
    assert n_transitions(client) > n_before
    assert module.training


def test_errors_of_workers_arrive(fields, client):
    def encoder(crops):
        return crops.new_full((len(crops), 2), np.nan)

    with pytest.raises(ValueError, match="non-finite values"):
        run(fields, encoder=encoder)


def test_other_compartments_are_another_call(fields, tmp_path):
    nuclei = {name: np.where(np.arange(96) % 32 < 12, one, 0) for name, one in fields[1].items()}
    run(fields, compartments={"nucleus": nuclei}, store=tmp_path / "run.zarr")
    nuclei["w1"] = np.where(nuclei["w1"] == 5, 0, nuclei["w1"])
    with pytest.raises(ValueError, match="`compartments` differ"):
        run(fields, compartments={"nucleus": nuclei}, store=tmp_path / "run.zarr")
