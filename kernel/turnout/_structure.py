"""From plain TOML values to attrs classes, strictly: nothing coerced, nothing unknown, every problem at once.

cattrs dispatches on types; the hooks are ours, because its own turn `"false"` into True and `"abc"` into a tuple of
letters. Messages name types and keys, never values: a value may be a secret.
"""

import enum
import math
import re
import types
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, get_origin

import attrs
import cattrs

from turnout._problems import Misfit, Problem, Spot, Step
from turnout._scalars import Hook, byte_count, choice, number, plain, seconds, text_as, unfit
from turnout._type_words import is_array, mentions_secret, mismatch, nearest, without_values
from turnout._values import ByteCount, Metadata, Seconds, Secret
from turnout.errors import InvalidAsk

T = TypeVar("T")


def structure(value: Any, cls: type[T]) -> T:
    """The value as an instance of `cls`; raises Misfit with every problem, paths counted from `value`.

    Raises whatever else the class raises, or cattrs does about a type that it cannot handle: bugs of its author.
    """
    return _converter.structure(value, cls)


def accepts(cls: type) -> tuple[str, ...]:
    """The keys that a table for this attrs class may hold, in the order of its fields."""
    return tuple(str(field.alias) for field in attrs.fields(cls) if field.init)


def _array(value: Any, kind: Any) -> Any:
    if type(value) is not list:
        raise unfit(kind, value)
    arms = [arm for arm in get_args(kind) if arm is not Ellipsis] or [Any]
    if len(arms) > 1 and len(arms) != len(value):
        raise Misfit([Problem((), f"expected {len(arms)} values, got {len(value)}", secret=mentions_secret(kind))])
    items = _gather((index, item, arms[index % len(arms)]) for index, item in enumerate(value))
    made = get_origin(kind) or kind
    return (tuple if made is Sequence else made)(items.values())


def _mapping(value: Any, kind: Any) -> Any:
    if type(value) is not dict:
        raise unfit(kind, value)
    arm = (get_args(kind) or (str, Any))[1]
    return _gather((key, item, arm) for key, item in value.items())


def _gather(parts: Iterable[tuple[Any, Any, Any]]) -> dict[Any, Any]:
    """Structure each (step, value, type); raises one Misfit for all that do not fit."""
    made, problems = _sorted_out(parts)
    if problems:
        raise Misfit(problems)
    return made


def _sorted_out(parts: Iterable[tuple[Any, Any, Any]]) -> tuple[dict[Any, Any], list[Problem]]:
    """What fits of each (step, value, type), by step, and the problems of the others."""
    made: dict[Any, Any] = {}
    problems: list[Problem] = []
    for step, value, kind in parts:
        try:
            made[step] = _converter.structure(value, kind)
        except Misfit as misfit:
            problems += [problem.under(step) for problem in misfit.problems]
    return made, problems


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
    raise Misfit([Problem((), mismatch(arms, value), secret=mentions_secret(kind))])


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
            raise unfit(cls, value)
        problems = [_unknown(key, fields) for key in value if key not in fields]
        problems += [
            Problem((key,), f"{key} is missing; it has no default", spot=Spot.TABLE)
            for key, field in fields.items()
            if key not in value and field.default is attrs.NOTHING
        ]
        parts = {key: value[key] for key in fields if key in value}
        made, unfit_ones = _sorted_out((key, part, fields[key].type or Any) for key, part in parts.items())
        if problems := problems + unfit_ones:
            raise Misfit(problems + _refusals(cls, made, parts))
        try:
            return cls(**made)
        except (ValueError, TypeError, ExceptionGroup) as error:
            raise Misfit(_refusals(cls, made, parts) or _told(error, parts, ())) from None

    return build


def _unknown(key: str, fields: Mapping[str, Any]) -> Problem:
    hint = nearest(key, fields) or ("; known here: " + ", ".join(fields) if fields else "; no key is known here")
    return Problem((key,), f"unknown key{hint}", spot=Spot.KEY)


def _refusals(cls: type, made: dict[str, Any], parts: dict[str, Any]) -> list[Problem]:
    """What the fields' validators refuse of the values that fit, each asked by itself: a class stops at the first."""
    stand_in: Any = types.SimpleNamespace()
    for field in attrs.fields(cls):
        key = str(field.alias)
        value = made[key] if key in made else attrs.NOTHING if key in parts else _default(field)
        if value is not attrs.NOTHING:
            setattr(stand_in, field.name, value)
    problems: list[Problem] = []
    for field in attrs.fields(cls):
        key = str(field.alias)
        if field.validator is None or key not in made:
            continue
        try:
            field.validator(stand_in, field, _converted(field, made[key]))
        except (ValueError, TypeError, ExceptionGroup) as refusal:
            problems += _told(refusal, parts, (key,), secret=mentions_secret(field.type))
        except AttributeError:
            continue  # it compares with a field that does not fit, and that is told
    return problems


def _default(field: Any) -> Any:
    """What a field has when the file is silent; NOTHING where that takes the whole instance."""
    if not isinstance(field.default, attrs.Factory):  # type: ignore[arg-type] # a class at run time
        return field.default
    return attrs.NOTHING if field.default.takes_self else field.default.factory()


def _converted(field: Any, value: Any) -> Any:
    """The value as a validator gets to see it. A converter that wants more than the value is passed over."""
    if field.converter is None or isinstance(field.converter, attrs.Converter):
        return value
    return field.converter(value)


def _told(error: Exception, parts: dict[str, Any], default: tuple[Step, ...], *, secret: bool = False) -> list[Problem]:
    """What a validator or a constructor said, or all that a group of it did: each where it says, or at `default`."""
    if not isinstance(error, ExceptionGroup):
        return [_refusal(error, parts, default, secret=secret)]
    told, others = error.split((ValueError, TypeError))
    if told is None or others is not None:
        raise error
    return [one for inner in told.exceptions for one in _told(inner, parts, default, secret=secret)]


def _refusal(error: Exception, parts: dict[str, Any], default: tuple[Step, ...], *, secret: bool) -> Problem:
    named = _steps(error.argument) if isinstance(error, InvalidAsk) else ()
    while named and not _reaches(parts, named):
        named = named[1:]
    return Problem(named or default, without_values(error, parts), secret=secret)


def _steps(argument: str) -> tuple[Step, ...]:
    """`limits.keys[0]` as steps."""
    return tuple(int(step) if step.isdecimal() else step for step in re.findall(r"[^.\[\]]+", argument))


def _reaches(value: Any, path: tuple[Step, ...]) -> bool:
    for step in path:
        known = range(len(value)) if isinstance(value, list) else value if isinstance(value, dict) else ()
        if step not in known:
            return False
        value = value[step]
    return True


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
        is_array: _array,
        _is_union: _union,
        _is_choice: choice,
    }
    for predicate, hook in families.items():
        converter.register_structure_hook_func(predicate, hook)
    converter.register_structure_hook_factory(attrs.has, _table_of)
    kinds: dict[Any, Hook] = {
        bool: plain(bool),
        int: plain(int),
        str: plain(str),
        float: number,
        Seconds: seconds,
        ByteCount: byte_count,
        Secret: text_as(Secret),
        Path: text_as(Path),
        Metadata: _metadata,
    }
    for kind, hook in kinds.items():
        converter.register_structure_hook(kind, hook)
    return converter


_converter = _build_converter()
