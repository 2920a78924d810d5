"""What scikit-learn expects of a transformer, and `partial_fit` in the order of events of an online use."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import sklearn
from scipy import sparse
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC
from sklearn.utils.estimator_checks import parametrize_with_checks

from saescape.models import SparseAutoencoder

# no exception is needed
EXPECTED_FAILURES: dict[str, str] = {}
QUICK = {"k": 2, "max_epochs": 2}
pytestmark = [
    pytest.mark.filterwarnings("ignore::saescape._warnings.ConvergenceWarning"),
    pytest.mark.filterwarnings("ignore::saescape._warnings.SignificanceWarning"),
]


@parametrize_with_checks(
    [
        SparseAutoencoder(max_epochs=2, architecture=architecture)
        for architecture in ("matryoshka", "jumprelu", "gated", "relu")
    ],
    expected_failed_checks=lambda _: EXPECTED_FAILURES,
)
def test_scikit_learn_checks_of_the_other_architectures(estimator, check):
    check(estimator)


@pytest.fixture
def x(small):
    return small.X


def test_parameters_survive_clone_and_pickle(x):
    model = SparseAutoencoder(32, architecture="batchtopk", k=3, standardize="zscore", max_epochs=2, lr=1e-3, rng=5)
    assert clone(model).get_params() == model.get_params()
    model.fit(x)
    assert not hasattr(clone(model), "W_enc_")
    copied = pickle.loads(pickle.dumps(model))
    assert abs(copied.transform(x) - model.transform(x)).nnz == 0
    with pytest.raises(ValueError, match="Invalid parameter 'n_components'"):
        model.set_params(n_components=3)


def test_settings_are_checked_when_fitting_not_before(x):
    model = SparseAutoencoder(k=-1)
    with pytest.raises(ValueError, match="`k` must be"):
        model.fit(x)
    assert not hasattr(model, "n_features_in_")
    assert not hasattr(model, "W_enc_")


def test_names_of_columns_and_features(small):
    frame = small.to_df()
    model = SparseAutoencoder(16, **QUICK).fit(frame)
    assert model.feature_names_in_.tolist() == list(frame)
    assert model.get_feature_names_out().tolist() == [f"sae_{i}" for i in range(16)]
    with pytest.raises(ValueError, match="feature names should match"):
        model.transform(frame[frame.columns[::-1]])
    # codes are sparse, which tables are not
    with pytest.raises(ValueError, match="sparse matrix"):
        SparseAutoencoder(16, **QUICK).set_output(transform="pandas").fit_transform(frame)
    default = SparseAutoencoder(16, **QUICK).set_output(transform="default").fit_transform(frame)
    assert abs(default - model.transform(frame)).nnz == 0
    with sklearn.config_context(transform_output="default"):
        assert isinstance(model.transform(frame), sparse.csr_matrix)


def test_as_a_part_of_others(x, small):
    label = small.obs["group"].to_numpy()
    sae = SparseAutoencoder(32, **QUICK)
    search = GridSearchCV(
        make_pipeline(StandardScaler(), sae, LinearSVC(random_state=0)), {"sparseautoencoder__k": [1, 3]}, cv=2
    ).fit(x, label)
    assert search.best_score_ > 0.5
    columns = ColumnTransformer(
        [("sae", sae, slice(0, 12)), ("rest", "passthrough", slice(12, 20))], sparse_threshold=1
    )
    combined = columns.fit_transform(x)
    assert combined.shape == (300, 40)
    np.testing.assert_allclose(combined[:, 32:].toarray(), x[:, 12:])
    assert columns.get_feature_names_out()[0] == "sae__sae_0"


def test_fit_forgets_what_was_before(x):
    model = SparseAutoencoder(16, **QUICK).partial_fit(x[:, :7])
    model.fit(x)
    fresh = SparseAutoencoder(16, **QUICK).fit(x)
    np.testing.assert_array_equal(model.W_dec_, fresh.W_dec_)
    assert model.n_features_in_ == 20


@pytest.mark.parametrize("architecture", ["topk", "batchtopk", "matryoshka", "jumprelu", "gated", "relu"])
def test_partial_fit_on_rows_as_they_come(architecture, x):
    model = SparseAutoencoder(24, architecture=architecture, k=3)
    with pytest.raises(ValueError, match="minimum of 10 is required"):
        model.partial_fit(x[:9])
    assert not hasattr(model, "W_enc_")
    # as few as possible, then more, then one at a time
    model.partial_fit(x[:10])
    assert model.n_features_in_ == 20
    model.partial_fit(x[10:200]).partial_fit(sparse.csr_matrix(x[200:]))
    before = model.W_dec_.copy()
    for i in range(3):
        model.partial_fit(x[i : i + 1])
    assert len(model.history_) == 6
    assert not np.array_equal(model.W_dec_, before)
    assert np.isfinite(model.W_dec_).all()
    assert np.isfinite(model.W_enc_).all()
    assert model.metrics_["n_train"] == 1
    with pytest.raises(ValueError, match="X has 7 features, but SparseAutoencoder is expecting 20"):
        model.partial_fit(x[:, :7])
    # a refused call leaves the model as it was
    after = model.W_dec_.copy()
    bad = x.copy()
    bad[3, 2] = np.nan
    with pytest.raises(ValueError, match="NaN"):
        model.partial_fit(bad)
    np.testing.assert_array_equal(model.W_dec_, after)
    assert model.transform(x).shape == (300, 24)


def test_partial_fit_of_a_single_row_after_loading(x, tmp_path):
    SparseAutoencoder(24, k=3, max_epochs=20).fit(x).save(tmp_path / "m.safetensors")
    model = SparseAutoencoder.load(tmp_path / "m.safetensors")
    before = model.W_dec_.copy()
    # the scale of the rows is not in the file, and a single one does not tell it
    with pytest.raises(ValueError, match="At least 10 rows are needed.*n_samples = 1"):
        model.partial_fit(x[:1])
    np.testing.assert_array_equal(model.W_dec_, before)
    model.partial_fit(x[:50])
    assert not np.array_equal(model.W_dec_, before)
    model.partial_fit(x[:1])
    assert model.n_features_in_ == 20
    assert np.isfinite(model.transform(x).data).all()


def test_partial_fit_is_the_same_however_rows_are_held(x):
    models = [SparseAutoencoder(24, k=3).partial_fit(a).partial_fit(a) for a in (x, sparse.csc_matrix(x), x.tolist())]
    for model in models[1:]:
        np.testing.assert_array_equal(model.W_dec_, models[0].W_dec_)
