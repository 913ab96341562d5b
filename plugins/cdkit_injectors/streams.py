"""Which stream a method reads: exactly one, in a form that it offers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeAlias

from cdkit.parts import Stream, Widths
from torch import Tensor

Form: TypeAlias = Literal["tokens", "pooled", "spatial"]


def only(method: str, streams: Sequence[str], widths: Sequence[Widths], *forms: Form) -> tuple[Form, int]:
    """The first of `forms` that the one stream offers, and its width.

    Raises ValueError where there is not exactly one stream, or where it offers none of the forms.
    """
    if len(streams) != 1:
        given = ", ".join(repr(name) for name in streams) or "none"
        raise ValueError(
            f"{method} reads exactly one stream; got {len(streams)} ({given}); expected one entry a stream, "
            f"or one condition that joins them (`use: join`)"
        )
    for form in forms:
        width: int = getattr(widths[0], form)
        if width:
            return form, width
    raise ValueError(f"{method} needs {' or '.join(forms)}, but stream {streams[0]!r} offers {offers(widths[0])}")


def offers(widths: Widths) -> str:
    """Widths in words: "tokens of width 768 and pooled of width 768"."""
    return " and ".join(f"{form} of width {width}" for form, width in widths._asdict().items() if width) or "nothing"


def pooled_of(stream: Stream) -> Tensor:
    """The pooled vector (B, P); ValueError if the stream came without the one that it declared."""
    if stream.pooled is None:
        raise ValueError("the stream has no pooled vector, though its encoder declared a width for one")
    return stream.pooled
