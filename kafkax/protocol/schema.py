"""How a Kafka message is declared: one class per message, one line per field with the versions that carry it.

    class DeleteGroupsRequest(Request, key=42, versions="0-2", flexible="2+"):
        groups_names: list[str] = array(string, "0+")

The class is the message: its instances have slots, keyword constructors with Kafka's defaults, equality and a repr.
:class:`kafkax.protocol.message.Message` adds the versions, and ``encode`` and ``decode``.

Ranges are written as in Kafka's definitions: ``"3+"``, ``"2-5"``, ``"1"``; ``"none"`` for no version.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, TypeVar
from uuid import UUID

if TYPE_CHECKING:
    from typing_extensions import dataclass_transform
else:

    def dataclass_transform(**_: Any) -> Callable[[type], type]:
        return lambda cls: cls


__all__ = [
    "ZERO_UUID",
    "Field",
    "Struct",
    "Versions",
    "array",
    "binary",
    "boolean",
    "float64",
    "int8",
    "int16",
    "int32",
    "int64",
    "record_batches",
    "string",
    "struct",
    "uint16",
    "uuid",
]

ZERO_UUID = UUID(int=0)
"""The uuid that stands for "none" on the wire."""

_NEWEST = 32767
_T = TypeVar("_T")


class Versions(NamedTuple):
    """An inclusive range of versions; empty when ``first > last``."""

    first: int
    last: int

    @classmethod
    def parse(cls, text: str) -> Versions:
        """Read ``"3+"``, ``"2-5"``, ``"1"`` or ``"none"``."""
        if text == "none":
            return cls(0, -1)
        if text.endswith("+"):
            return cls(int(text[:-1]), _NEWEST)
        first, _, last = text.partition("-")
        return cls(int(first), int(last or first))

    def covers(self, version: int) -> bool:
        """Whether the range contains the version."""
        return self.first <= version <= self.last


_NO_VERSIONS = Versions(0, -1)
_UNSET: Any = object()
_ZERO: dict[str, Any] = {
    "bool": False,
    "int8": 0,
    "int16": 0,
    "uint16": 0,
    "int32": 0,
    "int64": 0,
    "float64": 0.0,
    "uuid": ZERO_UUID,
    "string": "",
    "bytes": b"",
    "records": None,
}


class Field:
    """One field of a struct.

    Attributes:
        name: the attribute's name.
        kind: ``bool``, ``int8`` to ``int64``, ``uint16``, ``float64``, ``uuid``, ``string``, ``bytes``, ``records``, ``array``
            or ``struct``.
        element: for an array the kind of its elements, otherwise ``""``.
        struct: the class, for a struct or an array of structs.
        versions: versions of the message that carry the field.
        nullable: versions in which it may be null.
        tag: its number in the tagged section, None for a field in the body.
        ignorable: whether a value that the version can't carry is dropped instead of refused.
    """

    __slots__ = ("_default", "element", "ignorable", "kind", "name", "nullable", "struct", "tag", "versions")

    def __init__(
        self,
        kind: str,
        versions: str,
        nullable: str = "none",
        default: Any = _UNSET,
        tag: int | None = None,
        ignorable: bool = False,
        element: str = "",
        struct: type[Struct] | None = None,
    ) -> None:
        self.name = ""
        self.kind = kind
        self.element = element
        self.struct = struct
        self.versions = Versions.parse(versions)
        self.nullable = Versions.parse(nullable)
        self.tag = tag
        self.ignorable = ignorable
        self._default = _ZERO.get(kind, _UNSET) if default is _UNSET else default

    def default(self) -> Any:
        """The value of a field that was not given: a new list or struct, or the constant."""
        if self._default is not _UNSET:
            return self._default
        return [] if self.kind == "array" else self.struct() if self.struct else None

    @property
    def mutable_default(self) -> bool:
        """Whether each message needs its own default (a list or a struct)."""
        return self._default is _UNSET


def boolean(versions: str, *, default: bool = False, tag: int | None = None, ignorable: bool = False) -> Any:
    """A bool, one byte."""
    return Field("bool", versions, default=default, tag=tag, ignorable=ignorable)


def int8(versions: str, *, default: int = 0, tag: int | None = None, ignorable: bool = False) -> Any:
    """A signed integer of one byte."""
    return Field("int8", versions, default=default, tag=tag, ignorable=ignorable)


def int16(versions: str, *, default: int = 0, tag: int | None = None, ignorable: bool = False) -> Any:
    """A signed integer of two bytes."""
    return Field("int16", versions, default=default, tag=tag, ignorable=ignorable)


def uint16(versions: str, *, default: int = 0, tag: int | None = None, ignorable: bool = False) -> Any:
    """An unsigned integer of two bytes."""
    return Field("uint16", versions, default=default, tag=tag, ignorable=ignorable)


def int32(versions: str, *, default: int = 0, tag: int | None = None, ignorable: bool = False) -> Any:
    """A signed integer of four bytes."""
    return Field("int32", versions, default=default, tag=tag, ignorable=ignorable)


def int64(versions: str, *, default: int = 0, tag: int | None = None, ignorable: bool = False) -> Any:
    """A signed integer of eight bytes."""
    return Field("int64", versions, default=default, tag=tag, ignorable=ignorable)


def float64(versions: str, *, default: float = 0.0, tag: int | None = None, ignorable: bool = False) -> Any:
    """An IEEE 754 double."""
    return Field("float64", versions, default=default, tag=tag, ignorable=ignorable)


def uuid(versions: str, *, tag: int | None = None, ignorable: bool = False) -> Any:
    """A uuid of 16 bytes; :data:`ZERO_UUID` when there is none."""
    return Field("uuid", versions, tag=tag, ignorable=ignorable)


def string(
    versions: str, *, nullable: str = "none", default: str | None = "", tag: int | None = None, ignorable: bool = False
) -> Any:
    """A string of at most 32767 bytes of UTF-8."""
    return Field("string", versions, nullable, default, tag, ignorable)


def binary(
    versions: str, *, nullable: str = "none", default: bytes | None = b"", tag: int | None = None, ignorable: bool = False
) -> Any:
    """Bytes."""
    return Field("bytes", versions, nullable, default, tag, ignorable)


def record_batches(versions: str, *, nullable: str = "none", tag: int | None = None, ignorable: bool = False) -> Any:
    """Record batches; a view into the frame after decoding."""
    return Field("records", versions, nullable, None, tag, ignorable)


def struct(
    cls: type[Struct],
    versions: str,
    *,
    nullable: str = "none",
    default: None = _UNSET,
    tag: int | None = None,
    ignorable: bool = False,
) -> Any:
    """A nested struct."""
    return Field("struct", versions, nullable, default, tag, ignorable, struct=cls)


def array(
    element: type[Struct] | Callable[..., Any],
    versions: str,
    *,
    nullable: str = "none",
    default: None = _UNSET,
    tag: int | None = None,
    ignorable: bool = False,
) -> Any:
    """A list of structs (give the class) or of plain values (give the function that declares them: ``array(int32, "0+")``)."""
    if isinstance(element, type):
        return Field("array", versions, nullable, default, tag, ignorable, element="struct", struct=element)
    return Field("array", versions, nullable, default, tag, ignorable, element=_KINDS[element])


_KINDS: dict[Callable[..., Any], str] = {
    boolean: "bool",
    int8: "int8",
    int16: "int16",
    uint16: "uint16",
    int32: "int32",
    int64: "int64",
    float64: "float64",
    uuid: "uuid",
    string: "string",
    binary: "bytes",
}


@dataclass_transform(kw_only_default=True)
class StructMeta(type):
    """Turns the field lines of a class body into ``__fields__`` and slots."""

    def __new__(
        mcs,
        name: str,
        bases: tuple[type, ...],
        namespace: dict[str, Any],
        *,
        versions: str = "",
        flexible: str = "none",
        key: int = -1,
    ) -> StructMeta:
        fields: dict[str, Field] = {}
        for attribute, value in list(namespace.items()):
            if isinstance(value, Field):
                if any(hasattr(base, attribute) for base in bases):
                    raise TypeError(f"{name}.{attribute}: the name is taken by a base class")
                value.name = attribute
                fields[attribute] = namespace.pop(attribute)
        namespace.setdefault("__slots__", tuple(fields))
        namespace["__fields__"] = tuple(fields.values())
        if versions:
            namespace["api_key"] = key
            namespace["min_version"], namespace["max_version"] = Versions.parse(versions)
            namespace["flexible_since"] = None if flexible == "none" else Versions.parse(flexible).first
            namespace["_encoders"], namespace["_decoders"] = {}, {}
        return super().__new__(mcs, name, bases, namespace)

    def __init__(cls, name: str, bases: tuple[type, ...], namespace: dict[str, Any], **_: Any) -> None:
        super().__init__(name, bases, namespace)


class Struct(metaclass=StructMeta):
    """A part of a message: constructed by keywords, compared by value, mutable.

    ``unknown_tags`` holds tagged fields that the declaration doesn't know, number to bytes; they are encoded again.
    """

    __slots__ = ("unknown_tags",)
    __fields__: ClassVar[tuple[Field, ...]]
    __hash__ = None  # type: ignore[assignment]

    if TYPE_CHECKING:
        unknown_tags: dict[int, bytes] | None = None
    else:

        def __init__(self, **values: Any) -> None:
            # The first instance of a class pays for compiling its constructor; importing a module of messages doesn't.
            cls = type(self)
            cls.__init__ = _constructor(cls)
            self.__init__(**values)

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return self.unknown_tags == other.unknown_tags and all(
            getattr(self, field.name) == getattr(other, field.name) for field in self.__fields__
        )

    def __repr__(self) -> str:
        values = ((field.name, getattr(self, field.name)) for field in self.__fields__)
        shown = [f"{name}=<{len(v)} bytes>" if isinstance(v, memoryview) else f"{name}={v!r}" for name, v in values]
        if self.unknown_tags:
            shown.append(f"unknown_tags={self.unknown_tags!r}")
        return f"{type(self).__name__}({', '.join(shown)})"


def _constructor(cls: type[Struct]) -> Callable[..., None]:
    """Compile ``__init__`` with one keyword per field."""
    scope: dict[str, Any] = {"unset": _UNSET}
    parameters, body = [], ["self.unknown_tags = unknown_tags"]
    for field in cls.__fields__:
        name = field.name
        if field.mutable_default:
            scope[f"new_{name}"] = field.struct if field.kind == "struct" else list
            parameters.append(f"{name}=unset")
            body.append(f"self.{name} = new_{name}() if {name} is unset else {name}")
        else:
            scope[f"default_{name}"] = field.default()
            parameters.append(f"{name}=default_{name}")
            body.append(f"self.{name} = {name}")
    lines = "\n    ".join(body)
    exec(f"def __init__(self, *, {''.join(p + ', ' for p in parameters)}unknown_tags=None):\n    {lines}\n", scope)
    constructor: Callable[..., None] = scope["__init__"]
    constructor.__qualname__ = f"{cls.__qualname__}.__init__"
    return constructor
