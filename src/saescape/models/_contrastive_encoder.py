from __future__ import annotations

import copy
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from saescape._device import resolve_device
from saescape._docs import doc_params
from saescape._logging import logg
from saescape._random import as_generator, child_seed, rng_param
from saescape._validate import check_integer, check_real

from ._contrastive_input import Design

if TYPE_CHECKING:
    from os import PathLike
    from typing import Self

    import torch

    from saescape._typing import FloatArray, Rng
    from saescape.contrastive._train import Recipe

MIN_CROPS = 32


@doc_params
class ContrastiveEncoder(TransformerMixin, BaseEstimator):
    r"""Small convolutional network trained on the crops it will describe, without labels or with them.

    Two random views of a crop (turned, flipped, shifted, with other gain and noise) shall be more alike than views of
    different crops: momentum contrast :cite:p:`He2020`. With labels, all crops of one label shall be alike
    :cite:p:`Khosla2020`. The result is signed maps with an eighth of the crop's side, whose positions are tokens for
    :func:`saescape.tl.sae_fit`; their mean describes the crop. A crop's map does not depend on other crops.

    Training does not always pay: compare with ``max_epochs=0`` and with named features. On blood cells of new fields it
    raised the accuracy of nearest neighbours with labels, without them not in every split; the named features of
    :func:`saescape.pp.image_to_adata` were as good. On simulated neurons named features and the filter bank told
    numbers of motifs far better (R2 about 0.5) than the network with or without training (about 0.2).

    Parameters
    ----------
    n_dims
        Dimensions of the maps.
    temperature
        :math:`\tau` of the loss.
    momentum
        Share of the key network that each step keeps.
    queue_size
        Keys of earlier batches to compare with; None for eight times the crops, at most 65,536.
    max_epochs
        Passes over the crops; None for five, and more until there are 400 steps. 0 leaves the network untrained.
    batch_size
        Crops per step, at least: what is left over in an epoch is spread over its steps.
    lr
        Peak learning rate of stochastic gradient descent.
    turns, flips
        Whether views are turned by multiples of 90 degrees (180 if crops are oblong) and mirrored.
    shift
        Largest shift of a view, as a share of the side.
    intensity
        SD of the logarithm of each channel's gain, and of its offset in SDs of the channel. The representation becomes
        blind to brightness to this extent; 0 keeps it.
    noise
        SD of the noise of a view, in SDs of the channel.
    {rng}
    {device}
    {show_progress_bar}

    Attributes
    ----------
    history_ : pandas.DataFrame
        Per epoch (0 is before training) `loss`, `top1` (share of crops whose other view or label is nearest), and of up
        to 512 of the crops `effective_rank` and `sd` of the pooled unit vectors and, with labels, `knn`: balanced
        accuracy of the 10 nearest crops of other groups (innermost groups; other crops without groups). The crops are
        those trained on, so only the `knn` of epoch 0 says something about new ones.
    n_channels_ : int
        Channels of the crops.
    n_sampled_ : pandas.DataFrame or None
        With labels or groups, for each combination `n_crops`, `share_of_draws` that it gets in an epoch, and `n_drawn`,
        the crops that were drawn at all. Crops that never were are also logged as a warning.

    Notes
    -----
    .. math:: L = -\frac1b \sum_i \frac1{|P(i)|} \sum_{p \in P(i)}
       \log \frac{\exp(q_i \cdot k_p / \tau)}{\sum_{a \in A(i)} \exp(q_i \cdot k_a / \tau)}

    with keys :math:`k` of the batch's other views and of the queue. With a label, :math:`P(i)` are all keys of that
    label and :math:`A(i)` all keys (:cite:t:`Khosla2020`, eq. 2). Without, :math:`P(i)` is the other view of the same
    crop, and :math:`A(i)` leaves out its earlier views (:cite:t:`He2020`, eq. 1, where the queue is too short to meet
    them). Filters are rescaled to unit length after every step, which replaces normalisation over the batch.

    A fitted encoder can be pickled, and given to :func:`saescape.pp.image_to_adata` as `encoder`. Runs on a CPU with
    the same number of threads repeat exactly.

    Examples
    --------
    >>> import numpy as np
    >>> import saescape as sae
    >>> rng = np.random.default_rng(0)
    >>> crops = rng.random((64, 2, 16, 16), dtype=np.float32)
    >>> encoder = sae.models.ContrastiveEncoder(n_dims=16, max_epochs=1, device="cpu").fit(crops)
    >>> encoder.transform(crops).shape
    (64, 16)
    >>> encoder.maps(crops).shape
    (64, 16, 2, 2)
    """

    def __init__(
        self,
        n_dims: int = 128,
        *,
        temperature: float = 0.1,
        momentum: float = 0.99,
        queue_size: int | None = None,
        max_epochs: int | None = None,
        batch_size: int = 64,
        lr: float = 0.1,
        turns: bool = True,
        flips: bool = True,
        shift: float = 0.06,
        intensity: float = 0.1,
        noise: float = 0.05,
        rng: Rng = 0,
        device: str | None = None,
        show_progress_bar: bool = False,
    ) -> None:
        self.n_dims = n_dims
        self.temperature = temperature
        self.momentum = momentum
        self.queue_size = queue_size
        self.max_epochs = max_epochs
        self.batch_size = batch_size
        self.lr = lr
        self.turns = turns
        self.flips = flips
        self.shift = shift
        self.intensity = intensity
        self.noise = noise
        self.rng = rng
        self.device = device
        self.show_progress_bar = show_progress_bar

    def fit(
        self, crops: Any, labels: Any = None, groups: Any = None, *, checkpoint: str | PathLike[str] | None = None
    ) -> Self:
        """Train the network.

        Parameters
        ----------
        crops
            `(n, C, h, w)`: array, memory map, zarr or dask array, such as :func:`saescape.get.crops` returns. They are
            standardised per channel by the mean and SD over all crops, which become part of the network.
        labels
            One label per crop, or None. Crops of one label attract each other; a missing label has only its own crop.
            Every label is drawn equally often; crops without one count as one label in this.
        groups
            Columns of nested groups, outermost first, in the order of the crops, such as
            ``adata.obs[["condition", "line", "plate"]]``: at each level all groups get as many draws, so that no plate
            dominates. Labels, if any, come before them; missing values are a group. Small groups repeat their crops,
            large ones show another random part in each epoch. Hold whole plates back for testing, for instance by
            :class:`sklearn.model_selection.GroupKFold`.
        checkpoint
            File that holds the run after each epoch. A killed run goes on from there with the same result, when it is
            called with the same crops, labels, groups and settings.

        Returns
        -------
        The fitted encoder.

        Raises
        ------
        ValueError
            For fewer than 32 crops, other shapes than `(n, C, h, w)`, values that are not finite, labels or groups of
            another length, a single label, a representation that collapses, or a checkpoint of another run.
        TypeError
            For crops that are not real numbers.
        """
        from tqdm.auto import tqdm

        from saescape.contrastive._crops import CropSource
        from saescape.contrastive._train import train
        from saescape.sae._checkpoint import Checkpoint

        source = CropSource(crops)
        if len(source) < MIN_CROPS:
            msg = f"`crops` must be at least {MIN_CROPS}, found {len(source)}."
            raise ValueError(msg)
        design = Design.of(labels, groups, len(source))
        recipe = self._recipe(len(source))
        run = None if checkpoint is None else Checkpoint(checkpoint)
        if run is not None:
            mean, sd = source.moments
            run.identify(
                shape=list(source.shape),
                mean=mean,
                sd=sd,
                params={k: v for k, v in self.get_params().items() if k not in {"device", "show_progress_bar", "rng"}},
                seed=recipe.seed,
                labels_and_groups=design.digest(),
            )
        with tqdm(total=recipe.n_epochs, desc="ContrastiveEncoder", disable=not self.show_progress_bar) as bar:
            network, history, seen = train(source, recipe, design.labels, design.groups, run, lambda: bar.update())
        n_missed = int((~seen).sum())
        if n_missed and recipe.n_epochs:
            logg.warning(
                f"{n_missed} of {len(source)} crops were never drawn, because groups are drawn equally often; "
                "`n_sampled_` says of which groups, and more `max_epochs` reach more of them"
            )
        self.network_ = network
        self.history_ = history
        self.n_sampled_ = design.table(seen)
        self.n_channels_ = source.shape[1]
        return self

    def transform(self, crops: Any) -> FloatArray:
        """Describe crops by the means of their maps.

        Parameters
        ----------
        crops
            `(n, C, h, w)`, scaled as those of the training.

        Returns
        -------
        `(n, n_dims)`, float32.
        """
        return np.concatenate([maps.mean((2, 3)).cpu().numpy() for maps in self._batches(crops)])

    def maps(self, crops: Any) -> FloatArray:
        """Describe each position of crops.

        Parameters
        ----------
        crops
            `(n, C, h, w)`, scaled as those of the training.

        Returns
        -------
        `(n, n_dims, h', w')` with h' and w' an eighth of the sides, rounded up; float32.
        """
        return np.concatenate([maps.cpu().numpy() for maps in self._batches(crops)])

    def __call__(self, crops: torch.Tensor) -> torch.Tensor:
        """Maps of a batch, on its device: what :func:`saescape.pp.image_to_adata` calls an encoder.

        Parameters
        ----------
        crops
            float32 `(n, C, h, w)`.

        Returns
        -------
        `(n, n_dims, h', w')`.
        """
        from saescape.contrastive._network import encode

        self._check_channels(crops.shape[1])
        return encode(self.network_.to(crops.device), crops, crops.device)

    def save(self, path: str | PathLike[str]) -> None:
        """Write the encoder to a safetensors file; what was at `path` is replaced once the new file is complete.

        Parameters
        ----------
        path
            File to write.
        """
        from saescape.contrastive._files import write_network

        check_is_fitted(self)
        params = {k: v for k, v in self.get_params().items() if k != "device"} | {"rng": rng_param(self.rng)}
        header = {"params": params, "n_channels": self.n_channels_, "version": version("saescape")}
        write_network(path, self.network_, header, self.history_, self.n_sampled_)

    @classmethod
    def load(cls, path: str | PathLike[str]) -> Self:
        """Read an encoder that :meth:`save` wrote. Nothing in the file is executed.

        Parameters
        ----------
        path
            File to read.

        Returns
        -------
        The fitted encoder.

        Raises
        ------
        FileNotFoundError
            When there is no such file.
        ValueError
            When it is not a file of this kind, or damaged.
        """
        from saescape.contrastive._files import read_network

        network, header, history, sampled = read_network(path)
        params = header["params"] | {"rng": header["params"]["rng"] if isinstance(header["params"]["rng"], int) else 0}
        encoder = cls(**{name: params[name] for name in cls._get_param_names() if name in params})
        encoder.network_, encoder.history_, encoder.n_sampled_ = network, history, sampled
        encoder.n_channels_ = int(header["n_channels"])
        return encoder

    def __getstate__(self) -> dict[str, Any]:
        # weights travel on the CPU: another machine may have no accelerator
        state = dict(super().__getstate__())
        if "network_" in state:
            state["network_"] = copy.deepcopy(self.network_).cpu()
        return state

    def _recipe(self, n: int) -> Recipe:
        from saescape.contrastive._augment import Views
        from saescape.contrastive._train import Recipe, default_epochs

        n_dims = check_integer("n_dims", self.n_dims, 8)
        batch_size = min(check_integer("batch_size", self.batch_size, 8), n)
        queue = self.queue_size
        epochs = self.max_epochs
        for name in ("shift", "intensity", "noise"):
            check_real(name, getattr(self, name), open_low=False)
        if not 0 <= self.momentum < 1:
            msg = f"`momentum` must be at least 0 and below 1, found {self.momentum}."
            raise ValueError(msg)
        return Recipe(
            n_dims=n_dims,
            temperature=check_real("temperature", self.temperature),
            momentum=float(self.momentum),
            queue_size=min(65_536, 8 * n) if queue is None else check_integer("queue_size", queue),
            n_epochs=default_epochs(n, batch_size) if epochs is None else check_integer("max_epochs", epochs, 0),
            batch_size=batch_size,
            lr=check_real("lr", self.lr),
            views=Views(self.turns, self.flips, self.shift, self.intensity, self.noise),
            seed=child_seed(as_generator(self.rng)),
            device=resolve_device(self.device),
        )

    def _batches(self, crops: Any) -> Any:
        from saescape.contrastive._crops import CropSource
        from saescape.contrastive._network import encode

        check_is_fitted(self)
        source = CropSource(crops)
        self._check_channels(source.shape[1])
        device = resolve_device(self.device)
        network = self.network_.to(device)
        for _, batch in source.batches():
            yield encode(network, batch, device)

    def _check_channels(self, n_channels: int) -> None:
        check_is_fitted(self)
        if n_channels != self.n_channels_:
            msg = f"the encoder was trained on {self.n_channels_} channels, found {n_channels}."
            raise ValueError(msg)
