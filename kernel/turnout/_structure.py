"""From plain TOML values to attrs classes, strictly: nothing coerced, nothing unknown, every problem at once.

cattrs dispatches on types; the hooks are ours, because its own turn `"false"` into True and `"abc"` into a tuple of
letters. Messages name types and keys, never values: a value may be a secret.
"""

import difflib
import enum
import math
import types
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, get_origin

import attrs
import cattrs

from turnout import _units
from turnout._problems import Misfit, Problem, Spot
from turnout._values import ByteCount, Metadata, Seconds, Secret
from turnout.errors import InvalidAsk

T = TypeVar("T")

Hook = Callable[[Any, Any], Any]

_NAMES: dict[Any, str] = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "a text",
    Secret: "a text",
    Path: "a path",
    Seconds: 'a duration such as "30s", "5m" or "1h30m"',
    ByteCount: 'a size such as "64KiB" or "32MiB"',
    Metadata: "a table",
    list: "an array",
    dict: "a table",
}


def structure(value: Any, cls: type[T]) -> T:
    """The value as an instance of `cls`; raises Misfit with every problem, paths counted from `value`."""
    return _converter.structure(value, cls)


def accepts(cls: type) -> tuple[str, ...]:
    """The keys that a table for this attrs class may hold, in the order of its fields."""
    return tuple(str(field.alias) for field in attrs.fields(cls) if field.init)


def _name_of(kind: Any) -> str:
    if kind in _NAMES:
        return _NAMES[kind]
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return "one of " + ", ".join(f'"{member.value}"' for member in kind)
    if get_origin(kind) is Literal:
        return "one of " + ", ".join(f'"{arm}"' for arm in get_args(kind))
    if _is_array(kind):
        return "an array"
    return "a table"


def _got(value: Any) -> str:
    return _NAMES.get(type(value), "a date or time")


def _refuse(kind: Any, value: Any) -> Misfit:
    wrong = f", got {_got(value)}" if _got(value) != _name_of(kind) else ""
    return Misfit([Problem((), f"expected {_name_of(kind)}{wrong}", secret=_mentions_secret(kind))])


def _mentions_secret(kind: Any) -> bool:
    return kind is Secret or any(_mentions_secret(arm) for arm in get_args(kind))


def _plain(kind: type) -> Hook:
    """A hook that takes a TOML value of exactly this type as it is."""

    def take(value: Any, _: Any) -> Any:
        if type(value) is not kind:
            raise _refuse(kind, value)
        return value

    return take


def _number(value: Any, _: Any) -> float:
    if type(value) not in {int, float}:
        raise _refuse(float, value)
    if not math.isfinite(value):
        raise Misfit([Problem((), "expected a finite number")])
    return float(value)


def _seconds(value: Any, _: Any) -> Seconds:
    found = _units.seconds(value) if type(value) is str else None
    if found is None:
        raise _refuse(Seconds, value)
    return found


def _byte_count(value: Any, _: Any) -> ByteCount:
    found = _units.byte_count(value) if type(value) is str else value
    if type(found) is not int or found < 0:
        raise _refuse(ByteCount, value)
    return ByteCount(found)


def _text_as(kind: Callable[[str], Any]) -> Hook:
    def take(value: Any, _: Any) -> Any:
        if type(value) is not str:
            raise _refuse(kind, value)
        return kind(value)

    return take


def _choice(value: Any, kind: Any) -> Any:
    """A member of an enum or a literal."""
    members = {arm: arm for arm in get_args(kind)} if get_origin(kind) is Literal else {m.value: m for m in kind}
    for known, member in members.items():
        if type(value) is type(known) and value == known:
            return member
    raise Misfit([Problem((), f"expected {_name_of(kind)}{_nearest(value, members)}")])


def _nearest(word: Any, known: Iterable[Any]) -> str:
    close = difflib.get_close_matches(str(word), [str(item) for item in known], n=1) if type(word) is str else []
    return f'; did you mean "{close[0]}"?' if close else ""


def _is_array(kind: Any) -> bool:
    return kind in {list, tuple} or get_origin(kind) in {list, tuple, Sequence, frozenset, set}


def _array(value: Any, kind: Any) -> Any:
    if type(value) is not list:
        raise _refuse(kind, value)
    arm = next(iter(get_args(kind)), Any)
    items = _gather((index, item, arm) for index, item in enumerate(value))
    made = get_origin(kind) or kind
    return (tuple if made is Sequence else made)(items.values())


def _mapping(value: Any, kind: Any) -> Any:
    if type(value) is not dict:
        raise _refuse(kind, value)
    arm = (get_args(kind) or (str, Any))[1]
    return _gather((key, item, arm) for key, item in value.items())


def _gather(parts: Iterable[tuple[Any, Any, Any]]) -> dict[Any, Any]:
    """Structure each (step, value, type); raises one Misfit for all that do not fit."""
    made: dict[Any, Any] = {}
    problems: list[Problem] = []
    for step, value, kind in parts:
        try:
            made[step] = _converter.structure(value, kind)
        except Misfit as misfit:
            problems += [problem.under(step) for problem in misfit.problems]
    if problems:
        raise Misfit(problems)
    return made


def _is_union(kind: Any) -> bool:
    return get_origin(kind) in {typing.Union, types.UnionType}


def _union(value: Any, kind: Any) -> Any:
    """The first arm that fits. TOML has no null: an optional value is left out, so None is never an arm."""
    arms = [arm for arm in get_args(kind) if arm is not type(None)]
    misfits: list[Misfit] = []
    for arm in arms:
        try:
            return _converter.structure(value, arm)
        except Misfit as misfit:
            misfits.append(misfit)
    deep = [misfit for misfit in misfits if any(problem.path for problem in misfit.problems)]
    if len(arms) == 1 or len(deep) == 1:
        raise (deep or misfits)[0]
    expected = " or ".join(_name_of(arm) for arm in arms)
    raise Misfit([Problem((), f"expected {expected}, got {_got(value)}", secret=_mentions_secret(kind))])


def _json(value: Any, _: Any) -> Any:
    """Any value that JSON can say; dates and times are written as texts."""
    if type(value) is dict:
        return _mapping(value, Mapping[str, Any])
    if type(value) is list:
        return _array(value, list[Any])
    if type(value) is float and not math.isfinite(value):
        raise Misfit([Problem((), "expected a finite number")])
    if type(value) not in {str, int, float, bool}:
        raise Misfit([Problem((), "write dates and times as texts, in quotes")])
    return value


def _table_of(cls: type) -> Hook:
    attrs.resolve_types(cls)
    fields = {str(field.alias): field for field in attrs.fields(cls) if field.init}

    def build(value: Any, _: Any) -> Any:
        if type(value) is not dict:
            raise _refuse(cls, value)
        problems = [_unknown(key, fields) for key in value if key not in fields]
        problems += [
            Problem((key,), f"{key} is missing; it has no default", spot=Spot.TABLE)
            for key, field in fields.items()
            if key not in value and field.default is attrs.NOTHING
        ]
        parts = {key: value[key] for key in fields if key in value}
        made: dict[str, Any] = {}
        try:
            made = _gather((key, value[key], fields[key].type or Any) for key in parts)
        except Misfit as misfit:
            problems += misfit.problems
        if problems:
            raise Misfit(problems)
        try:
            return cls(**made)
        except (ValueError, TypeError) as error:
            raise Misfit(_judged(cls, made, parts, error)) from None

    return build


def _unknown(key: str, fields: Mapping[str, Any]) -> Problem:
    hint = _nearest(key, fields) or ("; known here: " + ", ".join(fields) if fields else "; no key is known here")
    return Problem((key,), f"unknown key{hint}", spot=Spot.KEY)


def _judged(cls: type, made: dict[str, Any], parts: dict[str, Any], error: Exception) -> list[Problem]:
    """Why a class refused its values. Its constructor stops at the first, so the other fields are asked one by one."""
    stand_in: Any = types.SimpleNamespace(**made)
    problems: list[Problem] = []
    for field in attrs.fields(cls):
        key = str(field.alias)
        if field.validator is None or key not in made:
            continue
        try:
            field.validator(stand_in, field, made[key])
        except (ValueError, TypeError) as refusal:
            problems.append(Problem((key,), _without_values(refusal, parts[key]), secret=_mentions_secret(field.type)))
    if problems:
        return problems
    argument = error.argument if isinstance(error, InvalidAsk) else ""
    path = (argument,) if argument in parts else ()
    return [Problem(path, _without_values(error, parts))]


def _without_values(error: Exception, value: Any) -> str:
    """The first line of a foreign message, the file's own texts masked in it."""
    message = str(error.args[0] if error.args else type(error).__name__).partition("\n")[0][:300]
    for text in sorted(_texts(value), key=len, reverse=True):
        for shown in (repr(text), f'"{text}"', text if len(text) > 5 else ""):
            message = message.replace(shown, "***") if shown else message
    return message


def _texts(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    nested = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [text for item in nested for text in _texts(item)]


def _metadata(value: Any, _: Any) -> Metadata:
    return Metadata(_mapping(value, Mapping[str, Any]))


def _is_mapping(kind: Any) -> bool:
    return kind in {dict, Mapping} or get_origin(kind) in {dict, Mapping}


def _is_choice(kind: Any) -> bool:
    return get_origin(kind) is Literal or (isinstance(kind, type) and issubclass(kind, enum.Enum))


def _is_open(kind: Any) -> bool:
    return kind is Any or kind is object


def _build_converter() -> cattrs.Converter:
    """The one converter. cattrs asks the predicates in the reverse order of registration."""
    converter = cattrs.Converter()
    families: dict[Callable[[Any], bool], Hook] = {
        _is_open: _json,
        _is_mapping: _mapping,
        _is_array: _array,
        _is_union: _union,
        _is_choice: _choice,
    }
    for predicate, hook in families.items():
        converter.register_structure_hook_func(predicate, hook)
    converter.register_structure_hook_factory(attrs.has, _table_of)
    kinds: dict[Any, Hook] = {
        bool: _plain(bool),
        int: _plain(int),
        str: _plain(str),
        float: _number,
        Seconds: _seconds,
        ByteCount: _byte_count,
        Secret: _text_as(Secret),
        Path: _text_as(Path),
        Metadata: _metadata,
    }
    for kind, hook in kinds.items():
        converter.register_structure_hook(kind, hook)
    return converter


_converter = _build_converter()
