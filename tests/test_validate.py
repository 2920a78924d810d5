from __future__ import annotations

import numpy as np
import pytest
import torch

from saescape import _validate as validate
from saescape._device import resolve_device
from saescape._docs import doc_params
from saescape._random import as_generator, child_seed, rng_param, torch_generator
from saescape._threads import one_thread


def test_integers():
    assert validate.check_integer("k", np.int64(3), 1, 5) == 3
    with pytest.raises(ValueError, match=r"`k` must be between 1 and `n_features` \(256\), found 300"):
        validate.check_integer("k", 300, 1, 256, high_name="n_features")
    with pytest.raises(ValueError, match="`k` must be at least 1, found 0"):
        validate.check_integer("k", 0)
    for value in (1.0, True, "3", None):
        with pytest.raises(TypeError, match="`k` must be an integer"):
            validate.check_integer("k", value)


def test_reals():
    assert validate.check_real("lr", 1e-3) == 1e-3
    for value in (0.0, -1, np.nan, np.inf):
        with pytest.raises(ValueError, match="`lr` must be greater than 0"):
            validate.check_real("lr", value)
    with pytest.raises(TypeError, match="`lr` must be a number"):
        validate.check_real("lr", "big")


def test_choices():
    with pytest.raises(ValueError, match=r"`pool` must be one of \['mean', 'max'\], found 'sum'"):
        validate.check_choice("pool", "sum", ["mean", "max"])


def test_extras_are_named():
    with pytest.raises(ImportError, match=r"pip install 'saescape\[enrich\]'"):
        validate.import_extra("a_module_that_is_not_there", "enrich")


def test_devices():
    assert resolve_device("cpu").type == "cpu"
    with pytest.raises(ValueError, match="must name a torch device"):
        resolve_device("gpu9")


def test_threads_are_restored():
    before = torch.get_num_threads()
    with one_thread():
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == before
    with pytest.raises(ZeroDivisionError), one_thread():
        _ = 1 / 0
    assert torch.get_num_threads() == before
    with one_thread(when=False):
        assert torch.get_num_threads() == before


def test_generators_are_seeded_and_local(global_state):
    assert child_seed(as_generator(1)) == child_seed(as_generator(1)) != child_seed(as_generator(2))
    generator = np.random.default_rng(3)
    assert as_generator(generator) is generator
    assert torch_generator(as_generator(1)).initial_seed() == torch_generator(as_generator(1)).initial_seed()
    assert rng_param(generator) == "generator"
    assert rng_param(3) == 3


def test_shared_parameter_texts_are_filled_in():
    @doc_params
    def function():
        """Do it.

        Parameters
        ----------
        {adata}
        {rng}
        other
            Text with `{braces}`.
        """

    assert "\nadata\n    Annotated data matrix" in function.__doc__
    assert "\nrng\n    Seed or generator." in function.__doc__
    assert "`{braces}`" in function.__doc__
