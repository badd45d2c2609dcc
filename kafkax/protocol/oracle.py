"""The slow codec: walks a declaration field by field, as the protocol guide describes it.

The compiled codec is proven against it, byte for byte, and it explains what is wrong with a message that can't be encoded.
"""

from __future__ import annotations

import struct as binary
from typing import TYPE_CHECKING, Any, TypeVar
from uuid import UUID

from kafkax.errors import ErrorCode, KafkaError, ProtocolError
from kafkax.protocol.schema import Field, Struct
from kafkax.protocol.varint import read_uvarint, uvarint

if TYPE_CHECKING:
    from kafkax.protocol.message import Message

__all__ = ["decode", "decode_start", "encode"]

_M = TypeVar("_M", bound="Message")
_NUMBERS = {"bool": ">?", "int8": ">b", "int16": ">h", "uint16": ">H", "int32": ">i", "int64": ">q", "float64": ">d"}
_MAX_STRING = 32767


def decode(cls: type[_M], data: bytes, version: int) -> _M:
    """Read a message that fills ``data`` exactly.

    Raises:
        ProtocolError: the bytes don't parse, or bytes are left over.
    """
    reader = _Reader(data, version, cls.flexible(version))
    message = cls()
    reader.fill(message)
    if reader.remaining:
        raise ProtocolError(f"{reader.remaining} bytes are left over")
    return message


def decode_start(cls: type[_M], data: bytes, version: int) -> _M:
    """Like :func:`decode`, but whatever follows the message is left alone."""
    message = cls()
    _Reader(data, version, cls.flexible(version)).fill(message)
    return message


class _Reader:
    def __init__(self, data: bytes, version: int, flexible: bool) -> None:
        self.data = data
        self.position = 0
        self.version = version
        self.flexible = flexible

    @property
    def remaining(self) -> int:
        return len(self.data) - self.position

    def take(self, size: int) -> bytes:
        if size > self.remaining:
            raise ProtocolError(f"{size} bytes wanted at {self.position}, {self.remaining} remain")
        self.position += size
        return self.data[self.position - size : self.position]

    def uvarint(self) -> int:
        try:
            value, self.position = read_uvarint(self.data, self.position)
        except IndexError:
            raise ProtocolError("the bytes end within a variable-length integer") from None
        return value

    def length(self, kind: str) -> int:
        """A length or count, -1 for null."""
        if self.flexible:
            return self.uvarint() - 1
        layout = ">h" if kind == "string" else ">i"
        return int(binary.unpack(layout, self.take(binary.calcsize(layout)))[0])

    def fill(self, target: Struct) -> None:
        fields = [field for field in target.__fields__ if field.versions.covers(self.version)]
        for field in fields:
            if field.tag is None:
                setattr(target, field.name, self.value(field))
        if self.flexible:
            self.tagged(target, {field.tag: field for field in fields if field.tag is not None})

    def tagged(self, target: Struct, known: dict[int, Field]) -> None:
        for _ in range(self.uvarint()):
            tag, size = self.uvarint(), self.uvarint()
            end = self.position + size
            if size > self.remaining:
                raise ProtocolError(f"tag {tag}: {size} bytes, {self.remaining} remain")
            if tag in known:
                setattr(target, known[tag].name, self.value(known[tag]))
                if self.position != end:
                    raise ProtocolError(f"{known[tag].name}: its size is wrong")
            else:
                target.unknown_tags = {**(target.unknown_tags or {}), tag: self.take(size)}

    def value(self, field: Field) -> Any:
        if field.kind == "struct":
            return self.struct(field)
        if field.kind in ("array", "string", "bytes", "records"):
            size = self.length(field.kind)
            if size < 0:
                if not field.nullable.covers(self.version):
                    raise ProtocolError(f"{field.name}: null is not allowed")
                return None
            return self.array(field, size) if field.kind == "array" else self.block(field.kind, size)
        return self.fixed(field.kind)

    def fixed(self, kind: str) -> Any:
        if kind == "uuid":
            return UUID(bytes=self.take(16))
        layout = _NUMBERS[kind]
        return binary.unpack(layout, self.take(binary.calcsize(layout)))[0]

    def block(self, kind: str, size: int) -> Any:
        raw = self.take(size)
        if kind != "string":
            return memoryview(raw) if kind == "records" else raw
        if size > _MAX_STRING:
            raise ProtocolError(f"string of {size} bytes")
        try:
            return raw.decode()
        except UnicodeDecodeError:
            raise ProtocolError(f"string before byte {self.position} is not UTF-8") from None

    def struct(self, field: Field) -> Struct | None:
        assert field.struct is not None
        if field.nullable.covers(self.version) and self.fixed("int8") < 0:
            return None
        made = field.struct()
        self.fill(made)
        return made

    def array(self, field: Field, count: int) -> list[Any]:
        if count > self.remaining:
            raise ProtocolError(f"{field.name}: {count} elements in {self.remaining} bytes")
        element = Field(field.element, "0+", struct=field.struct)
        return [self.value(element) for _ in range(count)]


def encode(message: Message, version: int) -> bytes:
    """The message's bytes at a version.

    Raises:
        KafkaError: UNSUPPORTED_VERSION when the version can't carry a value that was set.
        TypeError: a value is of the wrong type.
        ValueError: a value doesn't fit its field.
    """
    return _Writer(type(message), version).struct(message, type(message).__name__)


class _Writer:
    def __init__(self, cls: type[Message], version: int) -> None:
        self.message = cls.__name__
        self.version = version
        self.flexible = cls.flexible(version)

    def struct(self, value: Struct, path: str) -> bytes:
        out = bytearray()
        tags = dict(value.unknown_tags or {})
        for field in value.__fields__:
            item, where = getattr(value, field.name), f"{path}.{field.name}"
            is_default = item == field.default()
            if not field.versions.covers(self.version):
                if not is_default and not field.ignorable:
                    raise self.unsupported(f"{where} = {item!r}")
            elif field.tag is None:
                out += self.value(field, item, where)
            elif not is_default:
                tags[field.tag] = self.value(field, item, where)
        if self.flexible:
            out += uvarint(len(tags))
            for tag, body in sorted(tags.items()):
                out += uvarint(tag) + uvarint(len(body)) + body
        return bytes(out)

    def unsupported(self, what: str) -> KafkaError:
        return KafkaError(ErrorCode.UNSUPPORTED_VERSION, f"{self.message} version {self.version} cannot carry {what}")

    def length(self, kind: str, size: int) -> bytes:
        if self.flexible:
            return uvarint(size + 1)
        return binary.pack(">h" if kind == "string" else ">i", size)

    def value(self, field: Field, item: Any, where: str) -> bytes:
        nullable = field.nullable.covers(self.version)
        if item is None:
            if nullable:
                return b"\xff" if field.kind == "struct" else self.length(field.kind, -1)
            if field.nullable.last >= 0 or field.kind == "records":
                raise self.unsupported(f"{where} = None")
            raise TypeError(f"{where}: None is not allowed")
        if field.kind == "struct":
            assert field.struct is not None
            if not isinstance(item, field.struct):
                raise TypeError(f"{where}: {field.struct.__name__} wanted, not {item!r}")
            return (b"\x01" if nullable else b"") + self.struct(item, where)
        if field.kind == "array":
            if not isinstance(item, (list, tuple)):
                raise TypeError(f"{where}: a list wanted, not {item!r}")
            element = Field(field.element, "0+", struct=field.struct)
            body = b"".join(self.value(element, each, f"{where}[{i}]") for i, each in enumerate(item))
            return self.length("array", len(item)) + body
        if field.kind in ("string", "bytes", "records"):
            return self.block(field.kind, item, where)
        return self.fixed(field.kind, item, where)

    def block(self, kind: str, item: Any, where: str) -> bytes:
        if kind == "string":
            if not isinstance(item, str):
                raise TypeError(f"{where}: a str wanted, not {item!r}")
            try:
                item = item.encode()
            except UnicodeEncodeError as error:
                raise ValueError(f"{where}: {error}") from None
            if len(item) > _MAX_STRING:
                raise ValueError(f"{where}: {len(item)} bytes, at most {_MAX_STRING} are allowed")
        elif not isinstance(item, (bytes, bytearray, memoryview)):
            raise TypeError(f"{where}: bytes wanted, not {item!r}")
        return self.length(kind, len(item)) + bytes(item)

    def fixed(self, kind: str, item: Any, where: str) -> bytes:
        if kind == "uuid":
            if not isinstance(item, UUID):
                raise TypeError(f"{where}: a UUID wanted, not {item!r}")
            return item.bytes
        try:
            return binary.pack(_NUMBERS[kind], item)
        except (binary.error, OverflowError) as error:
            raise ValueError(f"{where}: {item!r} is no {kind}: {error}") from None
