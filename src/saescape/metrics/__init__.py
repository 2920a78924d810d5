from __future__ import annotations

from ._cka import cka
from ._dead_fraction import dead_fraction
from ._effective_rank import effective_rank
from ._foscttm import foscttm
from ._fvu import fvu
from ._knn_recall import knn_recall
from ._l0 import l0
from ._label_entropy import label_entropy
from ._label_purity import label_purity
from ._label_transfer_accuracy import label_transfer_accuracy
from ._local_sd_ratio import local_sd_ratio
from ._mcc import mcc
from ._mmcs import mmcs
from ._monosemanticity import monosemanticity
from ._morans_i import morans_i
from ._participation_ratio import participation_ratio
from ._pw_mcc import pw_mcc
from ._r2_linear import r2_linear
from ._two_afc import two_afc

__all__ = [
    "cka",
    "dead_fraction",
    "effective_rank",
    "foscttm",
    "fvu",
    "knn_recall",
    "l0",
    "label_entropy",
    "label_purity",
    "label_transfer_accuracy",
    "local_sd_ratio",
    "mcc",
    "mmcs",
    "monosemanticity",
    "morans_i",
    "participation_ratio",
    "pw_mcc",
    "r2_linear",
    "two_afc",
]
