"""Scripts from JSON and back, and log entries to JSON: for an upstream in a process of its own.

Bytes are written as text; those that are no UTF-8 as lone surrogates (`surrogateescape`), which JSON can carry.
"""

import json
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import attrs
import cattrs
from cattrs.gen import make_dict_structure_fn, make_dict_unstructure_fn

from turnout_upstream._log import Ending, Request
from turnout_upstream._script import Cut, Play, Rule, Script


class ScriptError(ValueError):
    """A script is not JSON, or not a script; the message says where."""


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")


def _bytes(text: object, _: type[bytes]) -> bytes:
    if not isinstance(text, str):
        raise TypeError(f"expected a text, got {text!r}")
    return text.encode("utf-8", "surrogateescape")


def _object(hook: Callable[[Mapping[str, Any], Any], Any], value: object, cls: type) -> Any:
    if not isinstance(value, Mapping):
        raise TypeError(f"expected an object, got {value!r}")
    return hook(value, cls)


def _made_converter() -> cattrs.Converter:
    converter = cattrs.Converter(prefer_attrib_converters=True)
    converter.register_structure_hook(bytes, _bytes)
    converter.register_unstructure_hook(bytes, _text)
    for cls in (Cut, Play, Rule, Script):
        hook = make_dict_structure_fn(cls, converter, _cattrs_forbid_extra_keys=True)
        converter.register_structure_hook(cls, partial(_object, hook))
        converter.register_unstructure_hook(cls, make_dict_unstructure_fn(cls, converter, _cattrs_omit_if_default=True))
    for seen in (Request, Ending):
        converter.register_unstructure_hook(seen, make_dict_unstructure_fn(seen, converter))
        converter.register_structure_hook(seen, make_dict_structure_fn(seen, converter))
    return converter


_converter = _made_converter()


def script_to_json(script: Script) -> str:
    """The script as JSON, fields that have their default left out."""
    return json.dumps(_converter.unstructure(script), indent=2)


def script_from_json(text: str | bytes) -> Script:
    """A script from JSON; raises ScriptError."""
    try:
        return _converter.structure(json.loads(text), Script)
    except ValueError as error:
        raise ScriptError(f"the script is not JSON: {error}") from error
    except (cattrs.BaseValidationError, TypeError) as error:
        raise ScriptError("; ".join(cattrs.transform_error(error, path="script"))) from error


def entry_to_value(entry: Request | Ending) -> dict[str, Any]:
    """A log entry as JSON-ready values, with a `kind`."""
    plain: dict[str, Any] = _converter.unstructure(entry)
    return {"kind": type(entry).__name__.lower()} | plain


def entry_from_value(value: dict[str, Any]) -> Request | Ending:
    """A log entry from what `entry_to_value` gave."""
    cls = {"request": Request, "ending": Ending}[value["kind"]]
    return _converter.structure({name: value[name] for name in attrs.fields_dict(cls)}, cls)
