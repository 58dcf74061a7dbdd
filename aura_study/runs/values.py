"""Values of parameters as people write them, and which are allowed, in words.

``schema`` is a property of a JSON schema.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from aura_study.errors import StudyError

Schema = Mapping[str, Any]
MOST_VALUES = 100_000
"""Of a range."""
RANGE = re.compile(r"(-?\d{1,18}):(-?\d{1,18})(?::(\d{1,18}))?")
LONG = re.compile(r"[+-]?\d[\d_]{18,}")
EXPONENT = re.compile(r"[+-]?\d{1,18}(?:\.\d{0,18})?[eE]\+?\d{1,2}")


def read_value(name: str, value: Any, schema: Schema) -> Any:
    """What was written for a parameter, as its type wants it: a list's text in parts, ``1e2`` as 100 for an integer."""
    kinds = _kinds(schema)
    if "array" in kinds and isinstance(value, str) and value:
        value = listed(name, value)
    integral = "integer" in kinds and "string" not in kinds
    if kinds & {"integer", "number"} and "string" not in kinds:
        _refuse_long(name, value)
    if integral and isinstance(value, list):
        return [number for part in value for number in spelt_out(name, part)]
    return whole(value) if integral else value


def _refuse_long(name: str, value: Any) -> None:
    for part in value if isinstance(value, list) else [value]:
        text = f"{part:#x}" if isinstance(part, int) and abs(part) >= 10**18 else part
        if isinstance(text, str) and (LONG.fullmatch(text) or text is not part):
            raise StudyError(f"{name} = {text[:20]}...: an integer of more than 18 digits is taken for a slip")


def listed(name: str, text: str) -> list[Any]:
    """The parts of ``A,B`` or ``[A, B]``.

    Raises:
        StudyError: an empty part, or a list that cannot be read.
    """
    if text.startswith("["):
        content = _read_list(name, text)
        return content if isinstance(content, list) else [content]
    parts = [part.strip() for part in text.split(",")]
    if "" in parts:
        raise StudyError(f"parameter {name!r} has an empty value; write {name}=VALUE[,VALUE...] or FIRST:STOP")
    return list(parts)


def spelt_out(name: str, part: Any) -> Iterator[Any]:
    """One part of a list of integers: ``0:5`` as 0, 1, 2, 3, 4 and ``0:10:2`` as 0, 2, ..., 8; another as `whole`.

    Raises:
        StudyError: a range without values, or with too many.
    """
    match = RANGE.fullmatch(part) if isinstance(part, str) else None
    if not match:
        yield whole(part)
        return
    step = int(match[3] or 1)
    span = range(int(match[1]), int(match[2]), step) if step else range(0)
    if not span:
        raise StudyError(f"{name} = {part}: an empty range; write FIRST:STOP or FIRST:STOP:STEP, STOP left out")
    if len(span) > MOST_VALUES:
        raise StudyError(f"{name} = {part} has {len(span):,} values; at most {MOST_VALUES:,} are taken")
    yield from span


def whole(value: Any) -> Any:
    """``1e2`` as the integer that it is; anything else as it stands."""
    if isinstance(value, str) and EXPONENT.fullmatch(value) and float(value).is_integer():
        return int(float(value))
    return [whole(part) for part in value] if isinstance(value, list) else value


def parse_value(name: str, value: str) -> Any:
    """A value from the command line: none, a list or mapping in YAML's brackets, or text for the type to read.

    Raises:
        StudyError: brackets that cannot be read.
    """
    if value.startswith(("[", "{")):
        return _read_list(name, value)
    return None if value.lower() in ("none", "null") else value


def _read_list(name: str, text: str) -> Any:
    try:
        return plain_yaml(text)
    except ValueError as error:
        shown = text if len(text) < 80 else f"{text[:80]}..."
        raise StudyError(f"parameter {name!r}: cannot read {shown!r} as a list") from error


class _Loader(yaml.SafeLoader):
    """YAML without numbers to base 60: ``1:30`` is text, a range where one is taken and refused elsewhere."""

    def construct_yaml_int(self, node: Any) -> Any:
        return node.value if ":" in node.value else super().construct_yaml_int(node)

    def construct_yaml_float(self, node: Any) -> Any:
        return node.value if ":" in node.value else super().construct_yaml_float(node)


_Loader.add_constructor("tag:yaml.org,2002:int", _Loader.construct_yaml_int)
_Loader.add_constructor("tag:yaml.org,2002:float", _Loader.construct_yaml_float)


def plain_yaml(text: str) -> Any:
    """YAML of plain values; anchors are refused, for a few lines of them unfold into more than a machine can hold.

    Raises:
        ValueError: whatever is wrong with it; PyYAML has half a dozen other ways to say so.
    """
    try:
        if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text, yaml.SafeLoader)):
            raise ValueError("anchors and aliases are not used here")
        return _Loader(text).get_single_data()
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    except (yaml.YAMLError, AttributeError) as error:
        raise ValueError(str(error)) from error


def _kinds(schema: Schema) -> set[str]:
    """The JSON types that a property takes, those of a list's entries among them."""
    inner = [*schema.get("anyOf", ()), *([schema["items"]] if "items" in schema else ())]
    return {str(schema.get("type"))}.union(*map(_kinds, inner))


def allowed_values(schema: Schema, definitions: Schema) -> str:
    """The type and range of a property in words."""
    if "$ref" in schema:
        return allowed_values(definitions[schema["$ref"].rsplit("/", 1)[-1]], definitions)
    if "anyOf" in schema:
        return " or ".join(dict.fromkeys(allowed_values(option, definitions) for option in schema["anyOf"]))
    if "enum" in schema:
        return "one of " + ", ".join(str(value) for value in schema["enum"])
    if "const" in schema:
        return str(schema["const"])
    kind = schema.get("type")
    if kind == "array":
        return _allowed_list(schema, definitions)
    words = {"integer": "integer", "number": "number", "string": "text", "boolean": "true or false", "null": "none"}
    return ", ".join([words.get(str(kind), "any value"), *_bounds(schema)])


def _allowed_list(schema: Schema, definitions: Schema) -> str:
    if "prefixItems" in schema:
        return f"list of ({'; '.join(allowed_values(item, definitions) for item in schema['prefixItems'])})"
    text = f"list of ({allowed_values(schema.get('items', {}), definitions)})"
    lengths = [
        f"{word} {schema[key]}" for key, word in (("minItems", "at least"), ("maxItems", "at most")) if key in schema
    ]
    return text + (f" with {' and '.join(lengths)} entries" if lengths else "") + ", written A,B"


def _bounds(schema: Schema) -> Iterator[str]:
    words = {
        "minimum": "at least {}",
        "exclusiveMinimum": "above {}",
        "maximum": "at most {}",
        "exclusiveMaximum": "below {}",
        "minLength": "at least {} characters",
        "pattern": "matching {}",
    }
    for key, text in words.items():
        if key in schema:
            yield text.format(f"{schema[key]:g}" if isinstance(schema[key], int | float) else schema[key])
