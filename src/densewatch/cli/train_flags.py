"""The options of `densewatch train`: made from the settings' schema, so that the two cannot part."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, get_args, get_origin

import typer
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from densewatch.training.settings import TrainSettings

_OTHER_NAMES = {"init": ("--model",)}
DATA_FIELDS = ("data", "val")
"""Fields that the command spells out itself, because each is a file and a folder."""


def with_setting_flags(command: Callable[..., None]) -> Callable[..., None]:
    """Give `command`, in place of its `**flags`, an option for every plain field of `TrainSettings`.

    An option that is not given arrives as None, or as False where it is a switch. Fields that are sections
    of their own, such as `augment`, get no option: `--set` reaches into them.
    """
    signature = inspect.signature(command, eval_str=True)
    own = [item for item in signature.parameters.values() if item.kind is not inspect.Parameter.VAR_KEYWORD]
    parameters = [item.replace(kind=inspect.Parameter.KEYWORD_ONLY) for item in own]
    command.__signature__ = signature.replace(  # type: ignore[attr-defined]
        parameters=[*parameters, *_setting_parameters()]
    )
    return command


def attribute_help(schema: type[BaseModel]) -> dict[str, str]:
    """Return what the section `Attributes:` of a docstring says of each attribute, on one line."""
    section = inspect.getdoc(schema) or ""
    _, _, section = section.partition("Attributes:\n")
    found = re.findall(r"^ {4}(\w+): (.+(?:\n {8}.+)*)", section, flags=re.MULTILINE)
    return {name: " ".join(text.split()).replace("`", "") for name, text in found}


def _setting_parameters() -> Iterator[inspect.Parameter]:
    help_of = attribute_help(TrainSettings)
    for name, field in TrainSettings.model_fields.items():
        if name in DATA_FIELDS or _is_section(field.annotation):
            continue
        kind = _option_type(field.annotation)
        option = typer.Option(
            f"--{name.replace('_', '-')}",
            *_OTHER_NAMES.get(name, ()),
            metavar=_metavar(field.annotation),
            help=_sentence(help_of.get(name, "")) + _default_in_words(field),
            show_default=False,  # typer's own default is None, which says that the option was not given
        )
        yield inspect.Parameter(
            name,
            inspect.Parameter.KEYWORD_ONLY,
            default=False if kind is bool else None,
            annotation=Annotated[bool if kind is bool else kind | None, option],
        )


def _is_section(annotation: Any) -> bool:
    annotation = _without_none(annotation)
    return get_origin(annotation) is dict or (
        isinstance(annotation, type) and issubclass(annotation, BaseModel)
    )


def _without_none(annotation: Any) -> Any:
    if isinstance(annotation, UnionType):
        (annotation,) = (item for item in get_args(annotation) if item is not NoneType)
    return annotation


def _option_type(annotation: Any) -> Any:
    """Return what typer parses; several values are one text, `256,320`, which pydantic checks later."""
    annotation = _without_none(annotation)
    return str if get_origin(annotation) is tuple else annotation


def _metavar(annotation: Any) -> str | None:
    annotation = _without_none(annotation)
    if get_origin(annotation) is Literal:
        return None
    if get_origin(annotation) is tuple:
        return "NAME,NAME,…" if get_args(annotation)[0] is str else "N,N,…"
    return {int: "N", float: "X", Path: "PATH", str: "TEXT"}.get(annotation)


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def _default_in_words(field: FieldInfo) -> str:
    if field.default is None or field.default is False or field.default == ():
        return ""
    if isinstance(field.default, tuple):
        return f"  [default: {','.join(str(item) for item in field.default)}]"
    return f"  [default: {field.default}]"
