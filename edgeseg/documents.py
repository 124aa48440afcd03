"""Documents on disk: closed pydantic models, read from and written as TOML or JSON."""

import json
import math
import sys
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from edgeseg.errors import InputFileError
from edgeseg.files import write_whole

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


class Document(BaseModel):
    """A closed, unchanging document: a key that it does not know is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def read_toml(path: Path) -> dict[str, Any]:
    """The tables of a TOML file; InputFileError where it is missing or broken."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InputFileError(f"{path} does not exist", fix="check the path") from error
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InputFileError(f"{path} is not TOML: {error}", fix="correct the file") from error


def parsed(kind: type[Any], values: dict[str, Any], path: Path) -> Any:
    """`values` as a document of `kind`; InputFileError with every place that is wrong."""
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        places = "; ".join(
            f"{'.'.join(map(str, item['loc'])) or 'the file'}: {item['msg']}"
            for item in error.errors()
        )
        raise InputFileError(f"{path}: {places}", fix="correct these keys") from error


def read_json(kind: type[Any], path: Path, *, fix: str) -> Any:
    """The document of `kind` at `path`; InputFileError with `fix` where it is none."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputFileError(f"{path} cannot be read: {error}", fix=fix) from error
    return parsed(kind, values, path)


def write_json(document: Document, path: Path) -> None:
    """Write `document` to `path`, keys sorted, all or nothing."""
    values = document.model_dump(mode="json", by_alias=True)
    write_whole(path, (json.dumps(values, indent=1, sort_keys=True) + "\n").encode())


def toml_text(values: dict[str, Any], prefix: str = "") -> str:
    """`values` as TOML; None is left out, tables come after plain keys."""
    plain, tables = [], []
    for key, value in values.items():
        if isinstance(value, dict):
            name = f"{prefix}{_key(key)}"
            tables.append(f"\n[{name}]\n{toml_text(value, f'{name}.')}")
        elif value is not None:
            plain.append(f"{_key(key)} = {_literal(value)}\n")
    return "".join(plain + tables)


def _key(key: str) -> str:
    bare = key.replace("_", "").replace("-", "")
    return key if bare.isascii() and bare.isalnum() else _literal(key)


def _literal(value: object) -> str:
    """`value` as JSON writes it, but for the two things that TOML writes differently."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
