"""`--config` and flags to settings: each mistake once, with the file and line it stands in."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from .errors import Problem, UsageError
from .policy.source import Place, Report, SourceFile, parse_yaml
from .settings import MIB, Settings

MAX_CONFIG_BYTES = MIB
FLAGS = {"upstreams": "--upstream"}  # the others are called as their settings are
KINDS = {"tuple_type": "must be a list", "model_type": "must be a table of settings"}
KEY_MARK = "[key]"  # pydantic's last step to a mapping's key that is wrong itself


def load_settings(config: Path | None, overrides: dict[str, Any]) -> Settings:
    """The config file with `overrides` (flags that were given) on top.

    Raises UsageError that names the file, the line and the setting, or the flag.
    """
    source = SourceFile("", {}, {}) if config is None else _read(config)
    try:
        return Settings.model_validate({**source.data, **overrides})
    except ValidationError as error:
        found = _without_consequences(error.errors())
        problems = [_problem(one, source, overrides) for one in found]
        problems.sort(key=lambda problem: problem.line)
        raise UsageError("\n".join(map(str, problems))) from None


def _read(config: Path) -> SourceFile:
    """As strict as a policy's files: no key comes twice, no anchors, no tags."""
    try:
        with config.open("rb") as opened:
            text = opened.read(MAX_CONFIG_BYTES + 1)
    except OSError as error:
        raise UsageError(f"{config}: cannot be read: {error.strerror}") from None
    if len(text) > MAX_CONFIG_BYTES:
        raise UsageError(f"{config}: over {MAX_CONFIG_BYTES} bytes")
    report = Report()
    source = parse_yaml(text, str(config), report)
    if source is None or report.has_errors:
        raise UsageError("\n".join(map(str, report.problems)))
    if not isinstance(source.data, dict):
        raise UsageError(f"{config}: must be a mapping of settings")
    return source


def _without_consequences(errors: Iterable[ErrorDetails]) -> Iterator[ErrorDetails]:
    """What is wrong itself. A list whose only item is bad counts as empty besides, and a setting
    under a misspelt name as missing: both are said already."""
    found = list(errors)
    meant = {(*one["loc"][:-1], _meant(one)) for one in found if one["type"] == "extra_forbidden"}
    for one in found:
        loc = one["loc"]
        if one["type"] == "missing" and loc in meant:
            continue
        if one["type"] == "too_short" and any(
            len(other["loc"]) > len(loc) and other["loc"][: len(loc)] == loc for other in found
        ):
            continue
        yield one


def _problem(error: ErrorDetails, source: SourceFile, flags: Mapping[str, object]) -> Problem:
    loc = tuple(part for part in error["loc"] if part != KEY_MARK)
    message = _said(error)
    if loc and loc[0] in flags:
        name = str(loc[0])
        return Problem(FLAGS.get(name, f"--{name.replace('_', '-')}"), 0, "", message)
    place = Place(source, loc)
    if not source.name:
        return Problem(place.text, 0, "", message)
    is_there = loc[:1] in source.lines  # what is missing at the top has no line
    return Problem(source.name, place.line if is_there else 0, place.text, message)


def _said(error: ErrorDetails) -> str:
    if error["type"] == "extra_forbidden":
        close = _meant(error)
        return "no such setting" + (f"; did you mean {close}?" if close else "")
    if error["type"] == "missing":
        name = str(error["loc"][-1])
        is_flag = len(error["loc"]) == 1
        where = f" ({FLAGS.get(name, f'--{name}')}, or in the --config file)" if is_flag else ""
        return f"must be set{where}"
    # What pydantic puts before our own words says nothing.
    return KINDS.get(error["type"]) or error["msg"].removeprefix("Value error, ")


def _meant(error: ErrorDetails) -> str | None:
    """The setting that a name which is none was probably meant to be."""
    loc = error["loc"]
    close = get_close_matches(str(loc[-1])[:80], _names_beside(loc), n=1)
    return close[0] if close else None


def _names_beside(loc: tuple[int | str, ...]) -> set[str]:
    """The settings that there are where `loc` is not."""
    model: type[BaseModel] | None = Settings
    for part in loc[:-1]:
        if model is not None and part in model.model_fields:
            model = _model_in(model.model_fields[str(part)].annotation)
    return set() if model is None else set(model.model_fields)


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """The settings inside `tuple[X, ...]`, `X | None` and the like."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    found = [_model_in(part) for part in get_args(annotation)]
    return next((one for one in found if one is not None), None)
