"""Shared docstring text, injected so that one argument is described in one place."""

from __future__ import annotations

from textwrap import dedent
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

F = TypeVar("F", bound="Callable[..., object]")

_TEXT = {
    "adata": """
        adata
            Annotated data matrix (cells, tiles or spots x variables).
        """,
    "use_rep": """
        use_rep
            Key of `.obsm` to use; 2-D `(n_obs, n_dims)` or 3-D tokens `(n_obs, n_positions, n_dims)`.
            With `use_rep` and `layer` both None, `.X` is used.
        """,
    "layer": """
        layer
            Key of `.layers` to use instead of `.X`. Not together with `use_rep`.
        """,
    "rng": """
        rng
            Seed or generator. The default gives the same result at every call; None draws fresh entropy.
            Global random states are never touched.
        """,
    "device": """
        device
            Torch device. None takes cuda, then mps, then cpu.
        """,
    "show_progress_bar": """
        show_progress_bar
            Show a progress bar (on standard error).
        """,
    "key_added": """
        key_added
            Name under which results are stored, used verbatim in every slot listed below in place of the default.
        """,
    "copy": """
        copy
            Return a changed copy instead of changing `adata` in place. A view is turned into an actual object
            when results are written to it, as scanpy does.
        """,
    "key": """
        key
            `key_added` of :func:`saescape.tl.sae_fit`; None for the default.
        """,
    "batch_key": """
        batch_key
            Column of `.obs` with the unit of independence (plate, donor, well).
        """,
    "annotation_rows": """
        features
            Feature or features; None for all.
        max_qvalue
            Largest false discovery rate; rows that were not tested are left out then. None for all.
        n_top
            Rows per feature; None for all.
        """,
    "ax": """
        ax
            Axes to draw on; a new figure when None.
        """,
    "show": """
        show
            Show the figure; None follows `scanpy.settings.autoshow`.
        """,
}


def doc_params(function: F) -> F:
    """Fill ``{name}`` lines of a docstring's Parameters section with the shared text."""
    # the first line starts right at the quotes and is not indented: dedent the rest on its own
    first, _, rest = (function.__doc__ or "").partition("\n")
    doc = f"{first}\n{dedent(rest)}"
    for name, text in _TEXT.items():
        doc = doc.replace(f"{{{name}}}\n", dedent(text).lstrip("\n"))
    function.__doc__ = doc
    return function
