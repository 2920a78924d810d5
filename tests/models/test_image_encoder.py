from __future__ import annotations

import pickle
import sys
import warnings
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch.nn.functional import interpolate

import saescape as sae
from saescape.imaging._encode import encode_batches
from saescape.imaging.encoders._resolve import describe_encoder, dimension_names, open_encoder, resolve_encoder
from saescape.models import ImageEncoder

CROPS = torch.from_numpy(np.random.default_rng(0).random((6, 4, 16, 16), dtype=np.float32))
NAMES = ["DNA", "ER", "RNA", "AGP"]
CPU = torch.device("cpu")


class Net(torch.nn.Module):
    """Convolution, batch norm, vector."""

    def __init__(self, n_channels=3):
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(n_channels)
            self.conv = torch.nn.Conv2d(n_channels, 5, 3, stride=2, padding=1)
            self.features = torch.nn.Sequential(torch.nn.ReLU(), torch.nn.Conv2d(5, 6, 3, padding=1))
            self.unused = torch.nn.Conv2d(1, 1, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.features(self.conv(x)).mean((2, 3))


class Transformer(torch.nn.Module):
    """Tokens of 4 x 4 patches after some that belong to no position."""

    def __init__(self, n_prefix):
        super().__init__()
        self.n_prefix = n_prefix

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        patches = x.unfold(2, 4, 4).unfold(3, 4, 4).mean((4, 5)).flatten(2).transpose(1, 2)
        return torch.cat([torch.full((len(x), self.n_prefix, x.shape[1]), 99.0), patches], dim=1)


def script(net, path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.script(net).save(path)
    return path


def equal(found, expected, atol=1e-6):
    torch.testing.assert_close(found, expected.detach(), rtol=1e-5, atol=atol)


def test_layer_is_the_output_of_the_submodule():
    net = Net(4)
    equal(ImageEncoder(net)(CROPS), net(CROPS))
    equal(ImageEncoder(net, layer="conv")(CROPS), net.conv(CROPS))
    equal(pickle.loads(pickle.dumps(ImageEncoder(net, layer="conv")))(CROPS), net.conv(CROPS))
    equal(ImageEncoder(net, layer="features.0")(CROPS), torch.relu(net.conv(CROPS)))
    assert not net.conv._forward_hooks
    later = []
    net.features[1].register_forward_hook(lambda *_: later.append(1))
    ImageEncoder(net, layer="features.0")(CROPS)
    assert not later


@pytest.mark.parametrize(
    ("arguments", "error", "match"),
    [
        ({"layer": "feature.0"}, ValueError, r"is no part of Net; it has \['features.0'"),
        ({"layer": 2}, TypeError, "numbers are for the stages of timm"),
        ({"channels": "both"}, ValueError, "`channels` must be one of"),
        ({"channels": []}, TypeError, "list of channels"),
        ({"channels": [True, 1]}, TypeError, "names or positions"),
        ({"precision": "float16"}, ValueError, "`precision`"),
        ({"input_size": (3, 4, 5)}, ValueError, "height and width"),
        ({"mean": [0.5, 0.5]}, ValueError, r"`mean` must be one number or 3 \(channels of the encoder\), found 2"),
        ({"std": 0}, ValueError, "`std` must be finite positive"),
        ({"source": 3}, TypeError, "found int"),
        ({"source": "model.pt"}, FileNotFoundError, "no file .*model.pt"),
        ({"source": np.mean, "layer": "conv"}, TypeError, "cannot be read from a callable"),
        ({"source": np.mean, "weights": "a.pt"}, TypeError, "`weights` needs a torch module"),
        ({"weights": "a.pt"}, FileNotFoundError, "no file 'a.pt'|no file .*/a.pt"),
    ],
)
def test_wrong_arguments(arguments, error, match):
    with pytest.raises(error, match=match):
        ImageEncoder(**{"source": Net(), **arguments})


def test_layer_that_is_never_reached():
    with pytest.raises(ValueError, match="`layer='unused'` is never used"):
        ImageEncoder(Net(4), layer="unused")(CROPS)


def test_each_channel_alone():
    net = Net(3)
    encoder = ImageEncoder(net, channels="each", layer="conv").for_channels(NAMES)
    expected = torch.cat([net.conv(CROPS[:, [i, i, i]]) for i in range(4)], dim=1)
    equal(encoder(CROPS), expected)
    assert encoder.output_names(20)[4:6] == ["DNA_4", "ER_0"]
    assert len(encoder.output_names(20)) == 20


def test_mean_and_chosen_channels():
    net = Net(3)
    equal(ImageEncoder(net, channels="mean")(CROPS), net(CROPS.mean(1, keepdim=True).expand(-1, 3, -1, -1)))
    equal(ImageEncoder(net, channels=[2, 0, 0])(CROPS), net(CROPS[:, [2, 0, 0]]))
    equal(ImageEncoder(net, channels=["AGP", "ER", "DNA"]).for_channels(NAMES)(CROPS), net(CROPS[:, [3, 1, 0]]))
    with pytest.raises(ValueError, match=r"no channel 'AGB', they have .* Did you mean 'AGP'\?"):
        ImageEncoder(net, channels=["AGB", "ER", "DNA"]).for_channels(NAMES)
    with pytest.raises(ValueError, match="no channel 4"):
        ImageEncoder(net, channels=[0, 1, 4]).for_channels(NAMES)
    with pytest.raises(ValueError, match="position 4, but crops have 4"):
        ImageEncoder(net, channels=[0, 1, 4])(CROPS)
    with pytest.raises(ValueError, match="names of the crops are unknown|those of the crops are unknown"):
        ImageEncoder(net, channels=["ER", "ER", "ER"])(CROPS)


def test_channels_that_do_not_fit():
    with pytest.raises(ValueError, match=r"got 4 channels: \['DNA', .* takes 3. Choose `channels='each'`"):
        ImageEncoder(Net(3)).for_channels(NAMES)(CROPS)
    with pytest.raises(ValueError, match="expected \\['a'\\]"):
        ImageEncoder(Net(3)).for_channels(["a"])(CROPS)
    with pytest.raises(ValueError, match="give `in_channels`"):
        ImageEncoder(lambda x: x.mean((2, 3)), channels="each")(CROPS)
    with pytest.raises(ValueError, match=r"must be \(n, C, h, w\)"):
        ImageEncoder(Net(3))(CROPS[0])
    # errors of the network itself stay as they are
    with pytest.raises(RuntimeError, match="mat1 and mat2"):
        ImageEncoder(torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3, 2)))(CROPS)


def test_callables_with_given_channels():
    encoder = ImageEncoder(lambda x: x.numpy().max((2, 3)), channels="each", in_channels=2)
    equal(encoder(CROPS), CROPS.amax((2, 3)).repeat_interleave(2, dim=1))


def test_size_and_normalisation():
    net = Net(4)
    mean, std = [0.1, 0.2, 0.3, 0.4], [0.5, 0.6, 0.7, 0.8]
    resized = interpolate(CROPS, (12, 20), mode="bilinear", antialias=True)
    expected = net((resized - torch.tensor(mean)[:, None, None]) / torch.tensor(std)[:, None, None])
    equal(ImageEncoder(net, input_size=(12, 20), mean=mean, std=std)(CROPS), expected)
    equal(ImageEncoder(net, mean=0.5)(CROPS), net(CROPS - 0.5))
    assert ImageEncoder(net, layer="conv", input_size=32)(CROPS).shape == (6, 5, 16, 16)
    with pytest.raises(ValueError, match="have 3 values, but the encoder gets 4 channels"):
        ImageEncoder(lambda x: x, mean=[1, 2, 3])(CROPS)


@pytest.mark.parametrize(("n_prefix", "given"), [(0, None), (1, None), (5, 5), (1, 1)])
def test_tokens_of_transformers_become_maps(n_prefix, given):
    found = ImageEncoder(Transformer(n_prefix), n_prefix_tokens=given)(CROPS)
    equal(found, torch.nn.functional.avg_pool2d(CROPS, 4))


def test_prefix_tokens_that_the_module_knows_of():
    net = Transformer(5)
    net.num_prefix_tokens = 5
    equal(ImageEncoder(net)(CROPS), torch.nn.functional.avg_pool2d(CROPS, 4))


def test_tokens_of_oblong_crops():
    equal(ImageEncoder(Transformer(1))(CROPS[..., :8]), torch.nn.functional.avg_pool2d(CROPS[..., :8], 4))
    with pytest.raises(ValueError, match="19 tokens for crops of 16 x 16, which is no grid .* `n_prefix_tokens`"):
        ImageEncoder(Transformer(3))(CROPS)


def test_outputs_that_cannot_be_maps():
    with pytest.raises(TypeError, match="found tuple; choose a part of it by `layer=`"):
        ImageEncoder(lambda x: (x, x))(CROPS)
    with pytest.raises(ValueError, match="its channels seem to come last"):
        ImageEncoder(lambda x: x.permute(0, 2, 3, 1))(CROPS)


def test_bfloat16_is_close_and_float32_afterwards():
    net = Net(4)
    found = ImageEncoder(net, precision="bfloat16")(CROPS)
    assert found.dtype == torch.float32
    difference = (found - net(CROPS)).abs().max() / net(CROPS).abs().max()
    assert 0 < difference < 0.03


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"channels": "each", "layer": "conv"},
        {"precision": "bfloat16", "channels": [0, 1, 2]},
        {"channels": "mean", "input_size": 24, "layer": "features"},
    ],
)
def test_the_same_alone_and_in_any_batch(settings):
    encoder = ImageEncoder(Net(4 if not settings else 3), **settings)

    def vectors(order, size):
        pieces = [(order[i : i + size], CROPS.numpy()[order[i : i + size]]) for i in range(0, 6, size)]
        found = encode_batches(encoder, pieces, pool="mean", keep_tokens=False, device=CPU)
        return found.pooled[np.argsort(found.rows)]

    expected = vectors(np.arange(6), 6)
    atol = 1e-2 if "precision" in settings else 1e-6
    for order, size in ((np.arange(6), 1), (np.array([3, 1, 5, 0, 4, 2]), 4)):
        np.testing.assert_allclose(vectors(order, size), expected, rtol=1e-5, atol=atol)


def test_torchscript_file(tmp_path):
    net = Net(4)
    path = script(net, tmp_path / "net.pt")
    for source in (path, str(path)):
        encoder = ImageEncoder(source)
        equal(encoder(CROPS), net(CROPS))
        equal(pickle.loads(pickle.dumps(encoder))(CROPS), net(CROPS))
    assert encoder.in_channels == 4
    assert encoder.for_channels(NAMES).module is encoder.module
    with pytest.raises(TypeError, match="cannot be read from TorchScript"):
        ImageEncoder(path, layer="conv")
    with pytest.raises(TypeError, match="a file brings its own"):
        ImageEncoder(path, weights=path)
    # a module that was loaded by the user
    loaded = ImageEncoder(encoder.module)
    equal(pickle.loads(pickle.dumps(loaded))(CROPS), net(CROPS))
    path.unlink()
    with pytest.raises(FileNotFoundError):
        pickle.loads(pickle.dumps(encoder))


def test_relative_paths_are_found_from_elsewhere(tmp_path, monkeypatch):
    script(Net(4), tmp_path / "net.pt")
    monkeypatch.chdir(tmp_path)
    content = pickle.dumps(ImageEncoder("net.pt"))
    monkeypatch.chdir("/")
    assert pickle.loads(content)(CROPS).shape == (6, 6)


def test_files_of_another_kind(tmp_path):
    torch.save(Net().state_dict(), tmp_path / "weights.pt")
    with pytest.raises(ValueError, match="is not a TorchScript file. .* this path as `weights`"):
        ImageEncoder(tmp_path / "weights.pt")
    save_file(Net().state_dict(), tmp_path / "weights.safetensors")
    with pytest.raises(ValueError, match="weights without their architecture"):
        ImageEncoder(tmp_path / "weights.safetensors")
    (tmp_path / "broken.safetensors").write_bytes(b"abc")
    with pytest.raises(ValueError, match="not a safetensors file"):
        ImageEncoder(tmp_path / "broken.safetensors")
    (tmp_path / "net.onnx").write_bytes(b"abc")
    with pytest.raises(ValueError, match="neither TorchScript"):
        ImageEncoder(tmp_path / "net.onnx")


@pytest.mark.parametrize("form", ["safetensors", "torch", "nested", "prefixed"])
def test_weights_of_a_module(tmp_path, form):
    trained, fresh = Net(4), Net(4)
    with torch.no_grad():
        for value in trained.parameters():
            value.mul_(2)
    tensors = trained.state_dict() | {"fc.weight": torch.zeros(2, 2)}
    path = tmp_path / ("w.safetensors" if form in {"safetensors", "prefixed"} else "w.pth")
    if form == "prefixed":
        tensors = {f"module.backbone.{name}": value for name, value in tensors.items()}
    if path.suffix == ".safetensors":
        save_file(tensors, path)
    else:
        torch.save({"state_dict": tensors, "epoch": 3} if form == "nested" else tensors, path)
    encoder = ImageEncoder(fresh, weights=path)
    equal(encoder(CROPS), trained(CROPS))
    assert not torch.allclose(fresh(CROPS), trained(CROPS))


def test_weights_that_do_not_belong(tmp_path):
    path = tmp_path / "w.safetensors"
    save_file({"conv.weight": torch.zeros(5, 3, 3, 3)}, path)
    with pytest.raises(ValueError, match=r"lacks 5 of the 6 tensors .*conv.bias.*it has conv.weight"):
        ImageEncoder(Net(3), weights=path)
    save_file(Net(3).state_dict(), path)
    with pytest.raises(ValueError, match=r"conv.weight \(5, 3, 3, 3\) for \(5, 4, 3, 3\)"):
        ImageEncoder(Net(4), weights=path)
    path.write_bytes(b"abc")
    with pytest.raises(ValueError, match="cannot be read as tensors by name"):
        ImageEncoder(Net(4), weights=path)
    net = Net(4).state_dict()
    save_file({f"{role}.{name}": value.clone() for role in ("student", "teacher") for name, value in net.items()}, path)
    with pytest.raises(ValueError, match=r"several times \(student., teacher.\)"):
        ImageEncoder(Net(4), weights=path)
    torch.save([1, 2], tmp_path / "list.pt")
    with pytest.raises(ValueError, match="holds no tensors by name"):
        ImageEncoder(Net(4), weights=tmp_path / "list.pt")


def fake_timm(monkeypatch):
    """A package with one convolutional model and one of tokens."""

    class Model(Net):
        feature_info = ("stem", "last")
        pretrained_cfg = {"input_size": (3, 24, 24), "fixed_input_size": True, "mean": (0.5,) * 3, "std": (2.0,) * 3}

        def forward_intermediates(self, x, indices, norm, stop_early, output_fmt, intermediates_only):
            assert output_fmt == "NCHW"
            assert intermediates_only
            assert norm == (not stop_early)
            maps = [self.conv(x), self.features(self.conv(x))]
            return [maps[i] for i in indices]

    def create_model(name, pretrained, num_classes):
        assert not pretrained
        assert num_classes == 0
        if name == "tokens":
            return Transformer(1)
        if name != "net":
            msg = f"Unknown model ({name})"
            raise RuntimeError(msg)
        model = Model()
        torch.nn.init.normal_(model.conv.weight)
        return model

    timm = ModuleType("timm")
    timm.create_model, timm.list_models, timm.Model = create_model, lambda: ["net", "tokens"], Model
    monkeypatch.setitem(sys.modules, "timm", timm)
    return timm


def test_timm_model(monkeypatch, tmp_path):
    timm = fake_timm(monkeypatch)
    model = timm.Model()
    save_file(model.state_dict() | {"fc.weight": torch.zeros(2)}, tmp_path / "w.safetensors")
    x = (interpolate(CROPS, (24, 24), mode="bilinear", antialias=True)[:, :3] - 0.5) / 2
    for layer, expected in (
        (None, model.features(model.conv(x))),
        (0, model.conv(x)),
        (-1, model.features(model.conv(x))),
    ):
        encoder = ImageEncoder("timm:net", weights=tmp_path / "w.safetensors", channels=[0, 1, 2], layer=layer)
        equal(encoder(CROPS), expected)
        equal(pickle.loads(pickle.dumps(encoder))(CROPS), expected)
    named = ImageEncoder("timm:net", weights=tmp_path / "w.safetensors", channels=[0, 1, 2], layer="features.0")
    equal(named(CROPS), torch.relu(model.conv(x)))
    with pytest.raises(ValueError, match="`layer=2`: 'net' has the stages 0 to 1"):
        ImageEncoder("timm:net", weights=tmp_path / "w.safetensors", layer=2)


def test_random_weights_of_timm_warn_and_are_always_the_same(monkeypatch):
    fake_timm(monkeypatch)
    state = torch.get_rng_state()
    with pytest.warns(UserWarning, match="'timm:net' has random weights"):
        encoder = ImageEncoder("timm:net", channels="mean")
    assert torch.equal(torch.get_rng_state(), state)
    torch.rand(3)
    equal(pickle.loads(pickle.dumps(encoder))(CROPS), encoder(CROPS))
    with pytest.raises(ValueError, match=r"cannot make 'nett' .* similar names: \['net'\]"):
        ImageEncoder("timm:nett")


def test_timm_model_without_stages(monkeypatch):
    fake_timm(monkeypatch)
    monkeypatch.setattr(Transformer, "forward_features", Transformer.forward, raising=False)
    with pytest.warns(UserWarning, match="random weights"):
        encoder = ImageEncoder("timm:tokens")
    equal(encoder(CROPS), torch.nn.functional.avg_pool2d(CROPS, 4))
    with pytest.raises(ValueError, match="has no numbered stages"):
        ImageEncoder("timm:tokens", layer=0)


@pytest.mark.parametrize("error", [ImportError("none"), RuntimeError("operator torchvision::nms does not exist")])
def test_timm_that_cannot_be_imported(monkeypatch, error):
    class Broken:
        def find_spec(self, name, *_):
            if name == "timm":
                raise error

    monkeypatch.delitem(sys.modules, "timm", raising=False)
    monkeypatch.setattr(sys, "meta_path", [Broken(), *sys.meta_path])
    with pytest.raises(
        ImportError, match=r"'timm:net' needs timm, .*: (none|operator .*)\)\. .*saescape\[timm\].* --index"
    ):
        ImageEncoder("timm:net")


def test_resolved_encoders_and_their_names(tmp_path):
    encode, names = resolve_encoder("filters", NAMES)
    assert encode(CROPS).shape[1] == len(names) == 52
    path = script(Net(4), tmp_path / "net.pt")
    for given in (path, str(path), Net(4), ImageEncoder(path)):
        encode, names = resolve_encoder(given, NAMES)
        equal(encode(CROPS), Net(4)(CROPS))
        assert dimension_names(encode, names, 2) == ["image_0", "image_1"]
    encode, names = resolve_encoder(ImageEncoder(Net(3), channels="each"), NAMES)
    assert dimension_names(encode, names, 8)[:3] == ["DNA_0", "DNA_1", "ER_0"]
    with pytest.raises(FileNotFoundError, match="written 'timm:NAME'"):
        open_encoder("resnet.pt")


def test_trained_encoders_by_object_and_path(tmp_path):
    crops = np.random.default_rng(0).random((300, 2, 16, 16), dtype=np.float32)
    encoder = sae.models.ContrastiveEncoder(n_dims=8, max_epochs=1).fit(crops)
    encoder.save(tmp_path / "e.safetensors")
    expected = encoder.transform(crops[:5])
    for given in (encoder, tmp_path / "e.safetensors"):
        encode, _ = resolve_encoder(given, ["a", "b"])
        found = encode_batches(encode, [(np.arange(5), crops[:5])], pool="mean", keep_tokens=False, device=CPU)
        np.testing.assert_allclose(found.pooled, expected, rtol=1e-4, atol=1e-5)
    assert describe_encoder(encode)["weights"] == describe_encoder(encoder)["weights"]


def test_description_tells_encoders_apart():
    one, same, other = Net(4), Net(4), Net(4)
    with torch.no_grad():
        other.conv.bias[0] += 1e-3
    digests = [describe_encoder(ImageEncoder(net))["weights"] for net in (one, same, other)]
    assert digests[0] == digests[1] != digests[2]
    found = describe_encoder(ImageEncoder(one, channels=[0, 1, 1, 2], input_size=12, precision="bfloat16"))
    assert (
        found.items()
        >= {
            "name": "Net",
            "channels": "[0, 1, 1, 2]",
            "input_size": "(12, 12)",
            "precision": "bfloat16",
        }.items()
    )
    assert repr(ImageEncoder(one)) == "ImageEncoder(Net, channels=match, in_channels=4, precision=float32)"
    assert describe_encoder(SimpleNamespace()) == {"name": "SimpleNamespace"}
