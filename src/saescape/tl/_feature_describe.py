from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from saescape._docs import doc_params
from saescape._logging import logg
from saescape._random import as_generator
from saescape._validate import check_adata, check_copy, check_integer, require_key

from ._feature_genes_inputs import read_expression
from ._feature_inputs import add_columns, read_fitted, stored_result
from ._gw_links_inputs import read_batches

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from anndata import AnnData

    from saescape._typing import FloatArray, IntArray, Rng

    from ._feature_inputs import FittedFeatures


@doc_params
def feature_describe(
    adata: AnnData,
    *,
    key: str | None = None,
    describe: Callable[[dict[str, Any]], str] | None = None,
    batch_key: str | None = None,
    markers: Mapping[str, Sequence[str]] | None = None,
    n_genes: int = 5,
    rng: Rng = 0,
    copy: bool = False,
) -> AnnData | None:
    r"""Describe each sparse feature in a sentence, and score the description on cells held out.

    The sentence is made from what :func:`saescape.tl.feature_genes`, :func:`saescape.tl.feature_enrichment` and
    :func:`saescape.tl.feature_concepts` found, with the numbers behind it. No network is used.

    **Detection** asks whether the description tells where the feature is active (:cite:t:`Paulo2024`). Here a rule is
    the judge: a feature with a label is predicted to be active in the cells that have the label, one without where the
    mean z-score of its genes is above a threshold. Label, genes and threshold are chosen on one half of the groups and
    judged on the other, both ways. The score is the balanced accuracy; .5 is chance.

    Parameters
    ----------
    {adata}
    {key}
    describe
        Function that turns what is known about a feature into text, such as a call of a language model. It gets a dict
        with `feature`, `frac_active`, `label`, `label_key`, `f1`, `precision`, `recall`, `auc`, `number`, `spearman`,
        `genes`, `n_genes`, `genes_source`, `gene_set`, `gene_set_overlap`, `gene_set_size`, `gene_set_qvalue` and
        `nuisance`, None where nothing was found, and is called for each feature that is ever active. None takes the
        template. Text is stored as it is: what it claims beyond the rule is not scored.
    {batch_key}
        None splits cells, which flatters the score where cells of a donor resemble each other.
    markers
        Genes of features, to score descriptions of your own by their genes; other features get no score.
    n_genes
        Genes to name, and to predict with.
    {rng}
    {copy}

    Returns
    -------
    Returns `None` if `copy=False`, else an `AnnData`. Sets the following fields:

    `adata.uns['sae' | key]['features']` : :class:`pandas.DataFrame`
        `description`; `description_source` (`template`, or the name of the function); `detection`, NaN where there is
        no rule; `detection_rule` (`label`, `genes`, `markers` or empty).

    Raises
    ------
    KeyError
        If neither :func:`saescape.tl.feature_genes` nor :func:`saescape.tl.feature_concepts` was run, or `markers`
        names unknown features or genes.
    ValueError
        If results are older than the model, or there are fewer than 2 groups.
    TypeError
        If `describe` does not return text.

    Notes
    -----
    Genes are a rule only where their expression was measured. Negative examples are all inactive cells; a feature that
    fires in a part of a cell type is hard to tell by its label, and its score is low, rightly.

    Examples
    --------
    >>> import scanpy as sc
    >>> import saescape as sae
    >>> adata = sc.datasets.pbmc68k_reduced()
    >>> adata.obs["donor"] = [f"donor_{i % 4}" for i in range(adata.n_obs)]  # made up: these are of one donor
    >>> sae.tl.sae_fit(adata, 64, use_rep="X_pca", show_progress_bar=False)
    >>> sae.tl.feature_concepts(adata, "bulk_labels", batch_key="donor", n_perms=20)
    >>> sae.tl.feature_describe(adata, batch_key="donor")
    >>> adata.uns["sae"]["features"].loc["sae_0", "description"].startswith("sae_0 is active in")
    True
    """
    check_adata(adata)
    check_copy(adata, copy=copy)
    n_genes = check_integer("n_genes", n_genes)
    if describe is not None and not callable(describe):
        msg = f"`describe` must be a function of a dict, found {type(describe).__name__}."
        raise TypeError(msg)
    fitted = read_fitted(adata, key)
    batch_of = read_batches(adata, batch_key)
    if batch_of is not None and batch_of.max() < 1:
        msg = f"`batch_key={batch_key!r}` has a single group; two are needed to hold one out."
        raise ValueError(msg)
    slots = fitted.slots
    if slots.genes not in adata.uns and slots.concepts not in adata.uns:
        msg = (
            f"Neither {slots.genes!r} nor {slots.concepts!r} is in `adata.uns`; run `sae.tl.feature_genes(adata)` or "
            "`sae.tl.feature_concepts(adata, obs_keys)` first."
        )
        raise KeyError(msg)
    genes = _result(adata, fitted, slots.genes, "top_genes")
    enrichment = _result(adata, fitted, slots.enrichment, "gene_set")
    concepts = _result(adata, fitted, slots.concepts, "label")

    from saescape.annotation._describe import evidence, sentence
    from saescape.annotation._thresholds import halves

    start = logg.info(f"describing {len(fitted.names)} features")
    frac_active = np.diff(fitted.codes.tocsc().indptr) / adata.n_obs
    known = evidence(fitted.table, frac_active, genes, enrichment, concepts, n_genes)
    half_of = halves(np.zeros(adata.n_obs, dtype=np.int64), batch_of, as_generator(rng))
    judge = _Judge(adata, fitted, half_of, batch_of, n_genes)
    if markers is not None:
        judge.by_markers(markers, genes)
    else:
        if concepts is not None:
            judge.by_label()
        if genes is not None:
            judge.by_genes(genes)
    text = [sentence(item) if describe is None or not item["frac_active"] else describe(dict(item)) for item in known]
    wrong = next((i for i, value in enumerate(text) if not isinstance(value, str)), None)
    if wrong is not None:
        msg = f"`describe` must return text, found {type(text[wrong]).__name__} for {known[wrong]['feature']!r}."
        raise TypeError(msg)

    adata = adata.copy() if copy else adata
    own = "template" if describe is None else getattr(describe, "__name__", type(describe).__name__)
    source = [own if item["frac_active"] else "template" for item in known]
    columns = {
        "description": np.array(text, dtype=object),
        "description_source": np.array(source, dtype=object),
        "detection": judge.detection,
        "detection_rule": judge.rule,
    }
    add_columns(adata, fitted.keys, columns)
    logg.info(
        "    finished",
        time=start,
        deep=f"added\n    `.uns[{fitted.keys.uns!r}]['features']`, columns `description`, `description_source`, "
        "`detection`, `detection_rule`",
    )
    return adata if copy else None


def _result(adata: AnnData, fitted: FittedFeatures, slot: str, column: str) -> dict[str, Any] | None:
    return stored_result(adata, slot, fitted.keys, column) if slot in adata.uns else None


class _Judge:
    """Detection score of each feature and the rule it comes from."""

    def __init__(
        self, adata: AnnData, fitted: FittedFeatures, half_of: IntArray, batch_of: IntArray | None, n_genes: int
    ) -> None:
        self._adata, self._fitted, self._half_of, self._batch_of = adata, fitted, half_of, batch_of
        self._n_genes = n_genes
        self.detection: FloatArray = np.full(len(fitted.names), np.nan)
        self.rule = np.full(len(fitted.names), "", dtype=object)

    def _take(self, values: FloatArray, rule: str) -> None:
        judged = np.isfinite(values)
        self.detection[judged], self.rule[judged] = values[judged], rule

    def by_label(self) -> None:
        from saescape.annotation._detection import detect_by_label

        keys = self._fitted.table["label_key"].to_numpy(dtype=object)
        for column in dict.fromkeys(name for name in keys if name):
            values = require_key(self._adata, "obs", column)
            labels = pd.factorize(values.astype(object), sort=False)[0].astype(np.int64)
            features = np.flatnonzero(keys == column)
            n_labels = int(labels.max()) + 1
            self._take(detect_by_label(self._fitted.codes, labels, n_labels, features, self._half_of), "label")

    def by_genes(self, genes: dict[str, Any]) -> None:
        """Features that have no label."""
        if genes["params"]["source"] == "measured":
            features = np.flatnonzero(self.rule == "")
            self._by_expression(genes, [str(gene) for gene in genes["genes"]], features, None, "genes")

    def by_markers(self, markers: Mapping[str, Sequence[str]], genes: dict[str, Any] | None) -> None:
        """Genes given by the user; expression is that of `tl.feature_genes` if it was measured, or `.X`."""
        place = {name: i for i, name in enumerate(self._fitted.names)}
        unknown = [name for name in markers if name not in place]
        if unknown:
            msg = f"`markers`: {unknown[:5]} are no features; they are named like {self._fitted.names[:2].tolist()}."
            raise KeyError(msg)
        names = list(dict.fromkeys(str(gene) for members in markers.values() for gene in members))
        column = {name: i for i, name in enumerate(names)}
        numbers = {place[name]: [column[str(gene)] for gene in members] for name, members in markers.items()}
        measured = genes if genes is not None and genes["params"]["source"] == "measured" else None
        features = np.array(sorted(numbers), dtype=np.int64)
        self._by_expression(measured, names, features, numbers, "markers")

    def _by_expression(
        self,
        genes: dict[str, Any] | None,
        names: list[str],
        features: IntArray,
        markers: Mapping[int, Sequence[int]] | None,
        rule: str,
    ) -> None:
        from saescape.annotation._detection import detect_by_genes

        if len(features) == 0 or not names:
            return
        params = {} if genes is None else genes["params"]
        try:
            expression = read_expression(
                self._adata,
                names,
                layer=params.get("layer"),
                use_raw=bool(params.get("use_raw", False)),
                use_rep=params.get("use_rep"),
                adata_ref=None,
                gw_key=None,
            )
        except KeyError as error:
            raise KeyError(str(error.args[0]).replace("`genes`", "`markers`", 1)) from None
        values = detect_by_genes(
            self._fitted.codes,
            expression.values,
            features,
            self._half_of,
            self._batch_of,
            n_genes=self._n_genes,
            min_cells=int(params.get("min_cells", 1)),
            markers=markers,
        )
        self._take(values, rule)
