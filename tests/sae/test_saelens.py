from __future__ import annotations

import json
import warnings
from dataclasses import replace

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from saescape.sae._saelens import from_saelens, saelens_config, saelens_tensors
from saescape.sae._weights import SaeWeights

D, M, K = 7, 24, 4
ARCHITECTURES = ("topk", "batchtopk", "matryoshka", "jumprelu", "relu", "gated")


def _weights(architecture):
    rng = np.random.default_rng(0)
    draw = lambda *shape: rng.normal(size=shape).astype(np.float32)  # noqa: E731
    weights = SaeWeights(draw(D, M), draw(M, D), draw(M), draw(D), architecture, K)
    if architecture in {"batchtopk", "matryoshka", "jumprelu"}:
        return replace(weights, threshold=np.abs(draw(M)))
    if architecture == "gated":
        return replace(weights, r_mag=0.3 * draw(M), b_mag=draw(M))
    return weights


def _ours(w, x):
    """Codes by the formulas of `SaeWeights`."""
    x = x.astype(np.float64)
    pre = (x - w.b_dec) @ w.W_enc + w.b_enc
    if w.architecture == "gated":
        return (pre > 0) * np.maximum(np.exp(w.r_mag) * (pre - w.b_enc) + w.b_mag, 0)
    if w.architecture == "topk":
        pre = np.where(pre >= np.sort(pre, 1)[:, [-w.k]], pre, 0)
    if w.threshold is not None:
        pre = np.where(pre > w.threshold, pre, 0)
    return np.maximum(pre, 0)


def _theirs(config, t, x):
    """Codes and reconstructions as SAELens documents them, written from its formulas."""
    sae_in = x.astype(np.float64) - t["b_dec"] * config["apply_b_dec_to_input"]
    norm = np.linalg.norm(t["W_dec"], axis=1)
    if config["architecture"] == "gated":
        gate = sae_in @ t["W_enc"] + t["b_gate"] > 0
        z = gate * np.maximum(sae_in @ (t["W_enc"] * np.exp(t["r_mag"])) + t["b_mag"], 0)
    else:
        pre = sae_in @ t["W_enc"] + t["b_enc"]
        if config.get("rescale_acts_by_decoder_norm"):
            pre = pre * norm
        z = np.maximum(pre, 0)
        if config["architecture"] == "topk":
            z = np.where(pre >= np.sort(pre, 1)[:, [-config["k"]]], z, 0)
        elif config["architecture"] == "jumprelu":
            z = z * (pre > t["threshold"])
    scaled = z / norm if config.get("rescale_acts_by_decoder_norm") else z
    return z, scaled @ t["W_dec"] + t["b_dec"]


@pytest.fixture
def x():
    return np.random.default_rng(1).normal(size=(200, D)).astype(np.float32) + 0.5


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_written_model_gives_the_same_codes_there(architecture, x):
    weights = _weights(architecture)
    config, tensors = saelens_config(weights), saelens_tensors(weights)
    codes, reconstruction = _theirs(json.loads(json.dumps(config)), tensors, x)
    expected = _ours(weights, x)
    assert 0.02 < (expected > 0).mean() < 0.6
    np.testing.assert_allclose(codes, expected, atol=1e-5)
    np.testing.assert_allclose(reconstruction, weights.decode(expected), atol=1e-4)
    # and back, where BatchTopK can only come back as what it is after training
    again = from_saelens(config, tensors)
    for name, array in weights.arrays().items():
        np.testing.assert_array_equal(again.arrays()[name], array)
    assert again.architecture == {"batchtopk": "jumprelu", "matryoshka": "jumprelu"}.get(architecture, architecture)
    assert again.k == K


def _foreign(architecture, **config):
    """A model that we would not write: every option of the other side that can be folded into weights."""
    tensors = saelens_tensors(_weights(architecture))
    config = saelens_config(_weights(architecture)) | config
    if architecture == "jumprelu":
        # SAELens' ReLU acts besides a negative threshold
        tensors["threshold"] = tensors["threshold"] - 1
    return config, tensors


@pytest.mark.parametrize(
    ("architecture", "options"),
    [
        ("topk", {"rescale_acts_by_decoder_norm": True}),
        ("topk", {"rescale_acts_by_decoder_norm": True, "apply_b_dec_to_input": False}),
        ("relu", {"apply_b_dec_to_input": False}),
        ("jumprelu", {"apply_b_dec_to_input": False}),
        ("gated", {"apply_b_dec_to_input": False}),
    ],
)
def test_options_of_saelens_are_folded_into_the_weights(architecture, options, x):
    config, tensors = _foreign(architecture, **options)
    codes, reconstruction = _theirs(config, tensors, x)
    read = from_saelens(config, tensors)
    np.testing.assert_allclose(_ours(read, x), codes, atol=1e-5)
    np.testing.assert_allclose(read.decode(codes), reconstruction, atol=1e-4)
    plain = _ours(from_saelens(config | dict.fromkeys(options, None) | {"apply_b_dec_to_input": True}, tensors), x)
    assert np.abs(plain - codes).max() > 0.1


@pytest.mark.parametrize("architecture", ["batchtopk", "matryoshka_batchtopk"])
def test_training_checkpoint_of_batchtopk(architecture, x):
    tensors = saelens_tensors(_weights("topk")) | {"topk_threshold": np.array(0.7)}
    config = {"architecture": architecture, "k": 3.6, "rescale_acts_by_decoder_norm": True}
    read = from_saelens(config, tensors)
    assert (read.architecture, read.k) == (architecture.partition("_")[0], 4)
    norms = np.linalg.norm(tensors["W_dec"], axis=1)
    pre = ((x - tensors["b_dec"]) @ tensors["W_enc"] + tensors["b_enc"]) * norms
    np.testing.assert_allclose(_ours(read, x), np.where(pre > 0.7, pre, 0), atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(read.W_dec, axis=1), 1, atol=1e-6)


def test_configurations_before_version_6():
    tensors = saelens_tensors(_weights("topk"))
    older = {"d_in": D, "d_sae": M, "architecture": "standard", "normalize_activations": "none"}
    topk = older | {"activation_fn_str": "topk", "activation_fn_kwargs": {"k": K}}
    assert (from_saelens(topk, tensors).architecture, from_saelens(topk, tensors).k) == ("topk", K)
    relu = from_saelens(older | {"activation_fn": "relu"}, tensors | {"scaling_factor": np.ones(M)})
    assert relu.architecture == "relu"
    # nothing says how many are active: the default for these sizes
    assert relu.k == 2
    log_threshold = {"log_threshold": np.linspace(-1, 1, M)}
    jumprelu = from_saelens(older | {"architecture": "jumprelu"}, tensors | log_threshold)
    np.testing.assert_allclose(jumprelu.threshold, np.exp(log_threshold["log_threshold"]), rtol=1e-6)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"architecture": "temporal"}, "architecture 'temporal' cannot be read; available: .*'gated'"),
        ({"architecture": None}, "architecture None cannot be read"),
        ({"architecture": "standard", "activation_fn": "tanh-relu"}, "architecture 'tanh-relu' cannot be read"),
        ({"normalize_activations": "layer_norm"}, "`normalize_activations` is 'layer_norm'"),
        ({"k": None, "metadata": {}}, "'topk' has no `k`"),
        ({"k": M + 1}, r"`k` must be between 1 and the features \(24\), found 25"),
        ({"k": "all"}, "`k` must be between 1 and .* found 'all'"),
        ({"d_in": 9}, r"`d_in` is 9, but `W_enc` has shape \(7, 24\)"),
        ({"architecture": "gated"}, r"missing are \['b_gate', 'b_mag', 'r_mag'\], not understood are \['b_enc'\]"),
        ({"architecture": "jumprelu"}, r"missing are \['threshold'\]"),
    ],
)
def test_what_cannot_be_read(change, message):
    config, tensors = _foreign("topk")
    with pytest.raises(ValueError, match=message):
        from_saelens(config | change, tensors)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"b_enc": np.zeros(3)}, r"`b_enc` must have shape \(24,\), found \(3,\)"),
        ({"W_enc": np.zeros(3)}, r"`W_enc` must have shape \(0, 0\), found \(3,\)"),
        ({"W_dec": np.zeros((D, M))}, r"`W_dec` must have shape \(24, 7\), found \(7, 24\)"),
        ({"b_dec": np.full(D, np.nan)}, "`b_dec` has non-finite values"),
        ({"scaling_factor": np.full(M, 2.0)}, r"not understood are \['scaling_factor'\]"),
        ({"W_dec": np.zeros((M, D))}, "rows of `W_dec` are zero"),
    ],
)
def test_bad_tensors(change, message):
    config, tensors = _foreign("topk", rescale_acts_by_decoder_norm=True)
    with pytest.raises(ValueError, match=message):
        from_saelens(config, tensors | change)


@pytest.fixture
def sae_lens():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("sae_lens", exc_type=ImportError)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_saelens_itself_loads_what_is_written(architecture, x, tmp_path, sae_lens):
    import torch

    weights = _weights(architecture)
    (tmp_path / "cfg.json").write_text(json.dumps(saelens_config(weights)))
    save_file(saelens_tensors(weights), tmp_path / "sae_weights.safetensors")
    theirs = sae_lens.SAE.load_from_disk(tmp_path)
    with torch.no_grad():
        codes = theirs.encode(torch.from_numpy(x))
        reconstruction = theirs.decode(codes)
    np.testing.assert_allclose(codes.numpy(), _ours(weights, x), rtol=1e-6, atol=1e-5)
    np.testing.assert_allclose(reconstruction.numpy(), weights.decode(codes.numpy()), atol=1e-5)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("architecture", ["topk", "standard", "jumprelu", "gated", "batchtopk", "matryoshka_batchtopk"])
@pytest.mark.parametrize("apply_b_dec_to_input", [True, False])
def test_what_saelens_itself_writes_is_read(architecture, apply_b_dec_to_input, x, tmp_path, sae_lens):
    import torch

    names = {"topk": "TopK", "standard": "Standard", "jumprelu": "JumpReLU", "gated": "Gated"}
    names |= {"batchtopk": "BatchTopK", "matryoshka_batchtopk": "MatryoshkaBatchTopK"}
    name = names[architecture]
    more = {"k": K} if "topk" in architecture else {}
    more |= {"matryoshka_widths": [6, M]} if architecture.startswith("matryoshka") else {}
    config = getattr(sae_lens, f"{name}TrainingSAEConfig")(
        d_in=D, d_sae=M, apply_b_dec_to_input=apply_b_dec_to_input, **more
    )
    training = getattr(sae_lens, f"{name}TrainingSAE")(config)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in training.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
        if hasattr(training, "threshold"):
            training.threshold.abs_()
        if "batchtopk" in architecture:
            training.topk_threshold.fill_(0.6)
    training.save_inference_model(tmp_path / "inference")
    training.save_model(tmp_path / "checkpoint")
    theirs = sae_lens.SAE.load_from_disk(tmp_path / "inference")
    with torch.no_grad():
        codes = theirs.encode(torch.from_numpy(x))
        reconstruction = theirs.decode(codes)
    for folder in ("inference", "checkpoint"):
        tensors = load_file(tmp_path / folder / "sae_weights.safetensors")
        read = from_saelens(json.loads((tmp_path / folder / "cfg.json").read_text()), tensors)
        np.testing.assert_allclose(_ours(read, x), codes.numpy(), rtol=1e-6, atol=1e-5)
        np.testing.assert_allclose(read.decode(codes.numpy()), reconstruction.numpy(), rtol=1e-6, atol=1e-5)
