from __future__ import annotations

from os import PathLike
from typing import TYPE_CHECKING, Any, Literal

from saescape._validate import check_choice, check_integer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Self

    import torch


class ImageEncoder:
    """Any network or function as an encoder of crops.

    It says which layer to read, how the channels of the images become those that the network takes, and how crops are
    resized and normalised. Give it to :func:`saescape.pp.image_to_adata` as `encoder`, or call it on a batch.

    Parameters
    ----------
    source
        A :class:`torch.nn.Module`; a callable that takes float32 `(n, C, h, w)`; the path of a TorchScript file
        (`.pt`, `.pth`, `.ts`) or of one that :meth:`ContrastiveEncoder.save` wrote (`.safetensors`); or `"timm:NAME"`,
        an architecture of timm (extra `timm`). It returns `(n, d)`, maps `(n, d, h', w')`, or the tokens
        `(n, t, d)` of a transformer, which become maps.
    layer
        Name of the submodule whose output is used instead (its first call; what follows is not computed). For timm
        also the number of a stage; None is the last stage with its norm, before pooling.
    channels
        `"match"`: crops have the channels that the encoder takes. `"each"`: each channel is replicated to the
        encoder's channels and encoded alone, and the results are put side by side as `<channel>_0`, ...
        `"mean"`: so is the mean of all channels, once. Or a list of channels, by name or position, one for each input
        of the encoder (red, green, blue for one made for photographs); a channel may occur twice.
    in_channels
        Channels that the encoder takes, for `"each"` and `"mean"`. None takes those of its first convolution.
    input_size
        Side, or height and width, to which crops are resized (bilinear, antialiased). None leaves them as they are,
        except for timm models of one fixed size.
    mean, std
        Input is normalised to `(x - mean) / std`: numbers, or one per channel of the encoder, in the units that
        `normalize` of :func:`saescape.pp.image_to_adata` gives, which are 0 to 1 by default. None normalises as timm
        says for its models, and not at all for others.
    n_prefix_tokens
        Tokens before those of positions (class, registers), which are dropped. None takes what the module says
        (`num_prefix_tokens`), else one if that leaves a grid, else none.
    weights
        Local file of weights for a module or a timm model: safetensors, or one of :func:`torch.save`. Nothing is
        downloaded. A module is copied, not changed.
    precision
        `"bfloat16"` runs the network under autocast: faster on GPUs, with about three significant digits. Results are
        float32 in any case.

    Raises
    ------
    FileNotFoundError
        When there is no such file.
    ImportError
        When timm is wanted and cannot be imported; the message says what to install.
    TypeError
        When `source` is none of these, or `layer` or `weights` do not apply to it.
    ValueError
        For a file of another kind, weights that do not belong to the architecture, or a layer that does not exist.

    Warns
    -----
    UserWarning
        When a timm model has random weights.

    Notes
    -----
    A module is in evaluation mode while it runs and left as it was found. A crop gets the same result alone and in any
    batch (up to rounding), else :func:`saescape.pp.image_to_adata` raises. Encoding each channel alone costs one run
    per channel. An encoder can be pickled when its source can; one from a file or of timm is pickled as its path
    and read again where it is unpickled.

    Examples
    --------
    >>> import torch
    >>> import saescape as sae
    >>> net = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3, stride=2), torch.nn.ReLU(), torch.nn.Flatten())
    >>> encoder = sae.models.ImageEncoder(net, layer="1", channels="each").for_channels(["DNA", "ER"])
    >>> encoder(torch.zeros(5, 2, 16, 16)).shape
    torch.Size([5, 16, 7, 7])
    >>> encoder.output_names(16)[7:9]
    ['DNA_7', 'ER_0']
    """

    def __init__(
        self,
        source: torch.nn.Module | Callable[[torch.Tensor], Any] | str | PathLike[str],
        *,
        layer: str | int | None = None,
        channels: Literal["match", "each", "mean"] | Sequence[str | int] = "match",
        in_channels: int | None = None,
        input_size: int | tuple[int, int] | None = None,
        mean: float | Sequence[float] | None = None,
        std: float | Sequence[float] | None = None,
        n_prefix_tokens: int | None = None,
        weights: str | PathLike[str] | None = None,
        precision: Literal["float32", "bfloat16"] = "float32",
    ) -> None:
        from saescape.imaging.encoders._channels import check_channels
        from saescape.imaging.encoders._prepare import check_normalisation, check_size
        from saescape.imaging.encoders._source import absolute

        check_choice("precision", precision, ["float32", "bfloat16"])
        if in_channels is not None:
            check_integer("in_channels", in_channels)
        if n_prefix_tokens is not None:
            check_integer("n_prefix_tokens", n_prefix_tokens, 0)
        # absolute, as a worker that unpickles the encoder may run elsewhere
        self._given = (absolute(source), absolute(weights), layer)
        self._channels = check_channels(channels)
        self._channel_names: list[str] | None = None
        self.precision = precision
        self._load()
        self.in_channels = in_channels or self._source.in_channels
        self.input_size = check_size(input_size) or self._source.input_size
        self.mean, self.std = check_normalisation(mean, std, self._source, self.in_channels)
        self.n_prefix_tokens = n_prefix_tokens
        if n_prefix_tokens is None:
            self.n_prefix_tokens = getattr(self._source.module, "num_prefix_tokens", None)

    def _load(self) -> None:
        from saescape.imaging.encoders._source import open_source
        from saescape.imaging.encoders._tap import find_layer

        source, weights, layer = self._given
        self._source = open_source(source, weights, layer)
        self._part = find_layer(self._source.module, layer) if isinstance(layer, str) else None

    @property
    def module(self) -> torch.nn.Module | None:
        """The network; None when the source is a callable without one."""
        return self._source.module

    @property
    def config(self) -> dict[str, str]:
        """Settings by name, as text."""
        settings = {
            "name": self._source.name,
            "layer": self._given[2],
            "channels": self._channels if isinstance(self._channels, str) else list(self._channels),
            "in_channels": self.in_channels,
            "input_size": self.input_size,
            "mean": self.mean,
            "std": self.std,
            "n_prefix_tokens": self.n_prefix_tokens,
            "precision": self.precision,
        }
        return {name: str(value) for name, value in settings.items() if value is not None}

    def for_channels(self, names: Sequence[str]) -> Self:
        """Encoder of crops whose channels have these names; it shares the network.

        Parameters
        ----------
        names
            Names of the channels of crops, in their order.

        Raises
        ------
        ValueError
            When a channel that was chosen by name or position is not among them.
        """
        from saescape.imaging.encoders._channels import positions_of

        # not by `copy`, which would read files again
        bound = object.__new__(type(self))
        bound.__dict__.update(self.__dict__)
        bound._channel_names = [str(name) for name in names]
        if not isinstance(self._channels, str):
            positions_of(self._channels, bound._channel_names)
        return bound

    def output_names(self, n_dims: int) -> list[str] | None:
        """Names of `n_dims` dimensions; None where they have none of their own.

        Parameters
        ----------
        n_dims
            Number of dimensions returned.
        """
        if self._channels != "each" or self._channel_names is None:
            return None
        per_channel = n_dims // len(self._channel_names)
        return [f"{name}_{i}" for name in self._channel_names for i in range(per_channel)]

    def __call__(self, crops: torch.Tensor) -> torch.Tensor:
        """Encode a batch, on its device.

        Parameters
        ----------
        crops
            float32 `(n, C, h, w)`.

        Returns
        -------
        float32 `(n, d)`, or maps `(n, d, h', w')`.

        Raises
        ------
        ValueError
            When the channels do not fit the encoder, or its tokens are no grid.
        """
        import torch

        from saescape.imaging.encoders._channels import inputs_of, positions_of
        from saescape.imaging.encoders._evaluating import evaluating
        from saescape.imaging.encoders._prepare import prepared

        if crops.ndim != 4:
            msg = f"`crops` must be (n, C, h, w), found shape {tuple(crops.shape)}."
            raise ValueError(msg)
        if self._channel_names is not None and len(self._channel_names) != crops.shape[1]:
            msg = f"`crops` have {crops.shape[1]} channels, expected {self._channel_names}."
            raise ValueError(msg)
        chosen = self._channels
        positions = None if isinstance(chosen, str) else positions_of(chosen, self._channel_names)
        with evaluating(self, crops.device), torch.no_grad():
            inputs = inputs_of(prepared(crops, self.input_size), chosen, positions, self.in_channels)
            return torch.cat([self._encode(one) for one in inputs], dim=1)

    def _encode(self, crops: torch.Tensor) -> torch.Tensor:
        import torch

        from saescape.imaging.encoders._maps import as_maps
        from saescape.imaging.encoders._prepare import normalised
        from saescape.imaging.encoders._tap import output_of_layer

        crops = normalised(crops, self.mean, self.std)
        function = self._source.function
        try:
            with torch.autocast(crops.device.type, torch.bfloat16, enabled=self.precision == "bfloat16"):
                if self._part is None:
                    output = function(crops)
                else:
                    output = output_of_layer(function, self._part, str(self._given[2]), crops)
        except RuntimeError as error:
            if self.in_channels in {None, crops.shape[1]} or "out of memory" in str(error):
                raise
            names = f": {self._channel_names}" if self._channel_names else ""
            msg = (
                f"`encoder` got {crops.shape[1]} channels{names} and failed; its first convolution takes "
                f"{self.in_channels}. Choose `channels='each'`, 'mean' or a list of {self.in_channels} channels in "
                "`saescape.models.ImageEncoder`."
            )
            raise ValueError(msg) from error
        return as_maps(output, (crops.shape[2], crops.shape[3]), self.n_prefix_tokens).float()

    def __repr__(self) -> str:
        settings = ", ".join(f"{name}={value}" for name, value in self.config.items() if name != "name")
        return f"ImageEncoder({self._source.name}, {settings})"

    def __getstate__(self) -> dict[str, Any]:
        from saescape.imaging.encoders._source import as_bytes

        state = self.__dict__.copy()
        source, weights, layer = self._given
        # files, scripted modules and random weights of timm are read again, and are the same
        if isinstance(source, str | PathLike):
            del state["_source"], state["_part"]
        elif (scripted := as_bytes(source)) is not None:
            del state["_source"], state["_part"]
            state["_given"] = (scripted, weights, layer)
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        import warnings

        from saescape.imaging.encoders._source import from_bytes

        self.__dict__.update(state)
        if "_source" in state:
            return
        source, weights, layer = self._given
        if isinstance(source, bytes):
            self._given = (from_bytes(source), weights, layer)
        with warnings.catch_warnings():
            # said when the encoder was made
            warnings.filterwarnings("ignore", message=".*has random weights", category=UserWarning)
            self._load()
