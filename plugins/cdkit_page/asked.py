"""asked: what the page may be asked to draw. Anything else is refused, by name."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

LONGEST = 1000  # characters of a prompt

Name = Annotated[str, StringConstraints(min_length=1, max_length=200)]


class Asked(BaseModel):
    """One prompt, the runs that draw it from the same noise, and how. None: as the run's own spec says."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    prompt: Annotated[str, StringConstraints(max_length=LONGEST)]
    runs: Annotated[list[Name], Field(min_length=1, max_length=8)]
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    steps: Annotated[int, Field(ge=1, le=200)] | None = None
    guidance: Annotated[float, Field(ge=0, le=30, allow_inf_nan=False)] | None = None
    sampler: Name | None = None
    words: bool = True  # measure where each word acts, too


def read(body: bytes) -> Asked:
    """The request's JSON. ValueError, saying what is wrong, for anything that is not an Asked."""
    try:
        return Asked.model_validate_json(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ValueError(f"{where or 'the request'}: {first['msg']}") from error
