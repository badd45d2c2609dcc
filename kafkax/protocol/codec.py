"""Compiles a declaration into a Python encoder and decoder for one version.

Each is one function, straight-line code with one loop per array, generated and compiled when a version is first used.
What makes it quick: neighbouring fields of fixed size, and the length that follows them, are one ``struct`` call; structs
are made without their constructor; nothing is looked up by name.

Decoding trusts nothing.  A position only grows, and reading past the end always fails: ``unpack_from`` and indexing check
their bounds, a slice that ends past the data puts the position past the end, where every later read and the final
comparison with the size fail.  A count is compared with the bytes that remain, at the smallest size of an element,
before its loop starts.

Encoding assumes good values.  Where that fails, :meth:`Message.encode_parts` has :mod:`kafkax.protocol.oracle` encode
again, which says what is wrong.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable
from functools import cache
from typing import TYPE_CHECKING, Any
from uuid import UUID, SafeUUID

from kafkax.errors import ProtocolError
from kafkax.protocol.schema import ZERO_UUID, Field, Struct
from kafkax.protocol.varint import read_uvarint, uvarint

if TYPE_CHECKING:
    from kafkax.protocol.message import Message

__all__ = ["REFUSALS", "compile_decoder", "compile_encoder", "decoder_source", "encoder_source"]

FORMATS = {
    "bool": "?",
    "int8": "b",
    "int16": "h",
    "uint16": "H",
    "int32": "i",
    "int64": "q",
    "float64": "d",
    "uuid": "16s",
}
REFUSALS = (struct.error, TypeError, ValueError, AttributeError, OverflowError)
"""What a compiled encoder raises for a value that doesn't fit its field or the version."""

_MAX_STRING = 32767
_UUID_CACHE = 8192


class _Uuids(dict[bytes, UUID]):
    """UUIDs by their bytes: topic ids come again and again, and building one costs more than reading the rest of a struct."""

    def __missing__(self, raw: bytes) -> UUID:
        if len(raw) != 16:
            raise IndexError("uuid past the end")
        if len(self) >= _UUID_CACHE:
            self.clear()
        made = object.__new__(UUID)
        object.__setattr__(made, "int", int.from_bytes(raw, "big"))
        object.__setattr__(made, "is_safe", SafeUUID.unknown)
        self[raw] = made
        return made


def _long_length(data: Any, position: int, low: int, limit: int) -> tuple[int, int]:
    """The rest of a length of which ``low`` was the first byte, and the position after it."""
    value, end = read_uvarint(data, position - 1)
    if value > limit:
        raise ProtocolError(f"length {value - 1} is above {limit - 1}")
    return value, end


def _unknown_tag(target: Struct, tag: int, value: bytes) -> None:
    if target.unknown_tags is None:
        target.unknown_tags = {}
    target.unknown_tags[tag] = value


def _tagged_section(tags: Iterable[tuple[int, Any]]) -> bytes:
    """The tagged fields, without their count, in the order of their numbers."""
    return b"".join(uvarint(tag) + uvarint(len(value)) + value for tag, value in sorted(tags))


def _long_string(size: int) -> bytes:
    if size > _MAX_STRING:
        raise ValueError(f"string of {size} bytes")
    return uvarint(size + 1 >> 7)


def _fail(what: str) -> None:
    raise ProtocolError(what)


def _refuse() -> None:
    raise ValueError


_SCOPE: dict[str, Any] = {
    "StructError": struct.error,
    "Struct": struct.Struct,
    "ProtocolError": ProtocolError,
    "new": object.__new__,
    "UUIDS": _Uuids({bytes(16): ZERO_UUID}),
    "long_length": _long_length,
    "long_string": _long_string,
    "read_uvarint": read_uvarint,
    "uvarint": uvarint,
    "unknown_tag": _unknown_tag,
    "tagged_section": _tagged_section,
    "join": b"".join,
    "fail": _fail,
    "refuse": _refuse,
}


@cache
def _layouts(kind: str) -> list[struct.Struct]:
    """Layouts of up to 15 numbers; short lists (replicas, partitions) are the rule."""
    return [struct.Struct(f">{n}{FORMATS[kind]}" if n else ">") for n in range(16)]


def minimum_size(kind: str, element: type[Struct] | None, version: int, flexible: bool) -> int:
    """The fewest bytes that a value of the kind can take; at least 1, so that the bytes that remain bound any count."""
    if kind in FORMATS:
        return struct.calcsize(">" + FORMATS[kind])
    if kind == "string":
        return 1 if flexible else 2
    if kind in ("bytes", "records", "array"):
        return 1 if flexible else 4
    total = int(flexible)
    for field in element.__fields__ if element else ():
        if field.versions.covers(version) and field.tag is None:
            small = field.kind == "struct" and field.nullable.covers(version)
            total += 1 if small else minimum_size(field.kind, field.struct, version, flexible)
    return max(1, total)


class _Source:
    """Lines of a function under construction, the objects they name, and the run of fixed-size values not yet written out."""

    def __init__(self, version: int, flexible: bool) -> None:
        self.version = version
        self.flexible = flexible
        self.lines: list[str] = []
        self.indent = 1
        self.scope = dict(_SCOPE)
        self.run: list[tuple[str, str]] = []
        self._count = 0

    def emit(self, line: str) -> None:
        self.lines.append("    " * self.indent + line)

    def name(self, prefix: str) -> str:
        """A variable name not used before."""
        self._count += 1
        return f"{prefix}{self._count}"

    def constant(self, prefix: str, value: Any) -> str:
        """The name under which the function sees an object."""
        for known, other in self.scope.items():
            if other is value:
                return known
        name = self.name(prefix)
        self.scope[name] = value
        return name

    def many(self, kind: str, n: str) -> str:
        """An expression for the ``struct.Struct`` of a list of ``n`` numbers."""
        self.scope.setdefault(f"MANY_{kind}", _layouts(kind))
        return f"(MANY_{kind}[{n}] if {n} < 16 else Struct(f'>{{{n}}}{FORMATS[kind]}'))"

    def run_format(self) -> str:
        """Close the run: the name of its ``struct.Struct``."""
        layout = ">" + "".join(code for code, _ in self.run)
        name = "S_" + layout[1:].replace("?", "z")
        self.scope.setdefault(name, struct.Struct(layout))
        return name


class _Decoder(_Source):
    def __init__(self, version: int, flexible: bool, as_view: bool) -> None:
        super().__init__(version, flexible)
        self.as_view = as_view
        self.after: list[str] = []

    def fixed(self, code: str, target: str, after: str = "") -> None:
        self.run.append((code, target))
        if after:
            self.after.append(after)

    def flush(self) -> None:
        if not self.run:
            return
        if len(self.run) == 1 and self.run[0][0] == "B":
            self.emit(f"{self.run[0][1]} = data[p]")
            self.emit("p += 1")
        else:
            name = self.run_format()
            self.emit(f"{', '.join(t for _, t in self.run)}{',' if len(self.run) == 1 else ''} = {name}.unpack_from(data, p)")
            self.emit(f"p += {self.scope[name].size}")
        for line in self.after:
            self.emit(line)
        self.run, self.after = [], []

    def length(self, code: str, limit: int) -> str:
        """Read a length or count, -1 for null; ends the run."""
        n = self.name("n")
        self.fixed("B" if self.flexible else code, n)
        self.flush()
        if self.flexible:
            self.emit(f"if {n} > 127: {n}, p = long_length(data, p, {n}, {limit + 1})")
            self.emit(f"{n} -= 1")
        return n

    def block(self, target: str, field: Field, read: str, code: str) -> None:
        """A string, bytes or records: a length and that many bytes."""
        n = self.length(code, _MAX_STRING if field.kind == "string" else 0x7FFFFFFF)
        q = self.name("q")
        if field.nullable.covers(self.version):
            self.emit(f"if {n} < 0: {target} = None")
            self.emit("else:")
            self.indent += 1
        else:
            self.emit(f"if {n} < 0: fail('{field.name}: null is not allowed')")
        self.emit(f"{q} = p + {n}")
        self.emit(f"{target} = {read.format(start='p', end=q)}")
        self.emit(f"p = {q}")
        if field.nullable.covers(self.version):
            self.indent -= 1

    @property
    def text(self) -> str:
        return "str(data[{start}:{end}], 'utf-8')" if self.as_view else "data[{start}:{end}].decode()"

    @property
    def raw(self) -> str:
        return "bytes(data[{start}:{end}])" if self.as_view else "data[{start}:{end}]"

    def value(self, target: str, field: Field) -> None:
        kind = field.kind
        if kind == "uuid":
            raw = self.name("u")
            self.fixed("16s", raw, f"{target} = UUIDS[{raw}]")
        elif kind in FORMATS:
            self.fixed(FORMATS[kind], target)
        elif kind == "string":
            self.block(target, field, self.text, "h")
        elif kind == "bytes":
            self.block(target, field, self.raw, "i")
        elif kind == "records":
            self.block(target, field, "data[{start}:{end}]", "i")
        elif kind == "array":
            self.array(target, field)
        else:
            self.nested(target, field)

    def nested(self, target: str, field: Field) -> None:
        assert field.struct is not None
        nullable = field.nullable.covers(self.version)
        if nullable:
            present = self.name("n")
            self.fixed("b", present)
            self.flush()
            self.emit(f"if {present} < 0: {target} = None")
            self.emit("else:")
            self.indent += 1
        else:
            self.flush()
        self.emit(f"{target} = {self.body(field.struct)}")
        if nullable:
            self.indent -= 1

    def array(self, target: str, field: Field) -> None:
        n = self.length("i", 0x7FFFFFFF)
        size = minimum_size(field.element, field.struct, self.version, self.flexible)
        remain = f"{n} > end - p" if size == 1 else f"{n} * {size} > end - p"
        nullable = field.nullable.covers(self.version)
        if nullable:
            self.emit(f"if {n} < 0: {target} = None")
            self.emit(f"elif {remain}: fail(f'{field.name}: {{{n}}} elements in {{end - p}} bytes')")
            self.emit("else:")
            self.indent += 1
        else:
            self.emit(f"if {n} < 0: fail('{field.name}: null is not allowed')")
            self.emit(f"if {remain}: fail(f'{field.name}: {{{n}}} elements in {{end - p}} bytes')")
        if field.element in FORMATS and field.element != "uuid":
            self.emit(f"{target} = list({self.many(field.element, n)}.unpack_from(data, p))")
            self.emit(f"p += {n} * {size}" if size > 1 else f"p += {n}")
        else:
            a = self.name("a")
            self.emit(f"{a} = {target} = []")
            self.emit(f"for _ in range({n}):")
            self.indent += 1
            if field.struct is not None:
                self.emit(f"{a}.append({self.body(field.struct)})")
            else:
                item = self.name("e")
                self.value(item, _element(field))
                self.flush()
                self.emit(f"{a}.append({item})")
            self.indent -= 1
        if nullable:
            self.indent -= 1

    def body(self, cls: type[Struct]) -> str:
        """Read a struct into a new variable, whose name is returned."""
        o = self.name("o")
        self.emit(f"{o} = new({self.constant('T', cls)})")
        self.emit(f"{o}.unknown_tags = None")
        tagged = []
        for field in cls.__fields__:
            present = field.versions.covers(self.version)
            if not present or field.tag is not None:
                self.emit(f"{o}.{field.name} = {_default_source(self, field)}")
            if present and field.tag is not None:
                tagged.append(field)
        for field in cls.__fields__:
            if field.versions.covers(self.version) and field.tag is None:
                self.value(f"{o}.{field.name}", field)
        if self.flexible:
            self.tagged(o, tagged)
        self.flush()
        return o

    def tagged(self, o: str, fields: list[Field]) -> None:
        n, tag, size, q = self.name("n"), self.name("t"), self.name("n"), self.name("q")
        self.fixed("B", n)
        self.flush()
        self.emit(f"if {n}:")
        self.indent += 1
        self.emit(f"if {n} > 127: {n}, p = long_length(data, p, {n}, 0x7fffffff)")
        self.emit(f"for _ in range({n}):")
        self.indent += 1
        self.emit(f"{tag}, p = read_uvarint(data, p)")
        self.emit(f"{size}, p = read_uvarint(data, p)")
        self.emit(f"{q} = p + {size}")
        self.emit(f"if {q} > end: fail(f'tag {{{tag}}}: {{{size}}} bytes, {{end - p}} remain')")
        word = "if"
        for field in fields:
            self.emit(f"{word} {tag} == {field.tag}:")
            self.indent += 1
            self.value(f"{o}.{field.name}", field)
            self.flush()
            self.emit(f"if p != {q}: fail('{field.name}: its size is wrong')")
            self.indent -= 1
            word = "elif"
        unknown = f"unknown_tag({o}, {tag}, {self.raw.format(start='p', end=q)}); p = {q}"
        self.emit(f"else: {unknown}" if fields else unknown)
        self.indent -= 2


def _element(field: Field) -> Field:
    """An array's element as a field of its own."""
    element = Field(field.element, "0+", struct=field.struct)
    element.name = field.name
    return element


def _default_source(source: _Source, field: Field) -> str:
    """An expression for a field's default."""
    if field.mutable_default:
        return "[]" if field.kind == "array" else f"{source.constant('T', field.struct)}()"
    default = field.default()
    if default is None or isinstance(default, (bool, int, str, bytes)):
        return repr(default)
    return source.constant("D", default)


class _Encoder(_Source):
    def __init__(self, version: int, flexible: bool) -> None:
        super().__init__(version, flexible)
        self.write = "w"

    def fixed(self, code: str, expression: str) -> None:
        self.run.append((code, expression))

    def flush(self) -> None:
        if not self.run:
            return
        name = self.run_format()
        self.emit(f"{self.write}({name}.pack({', '.join(e for _, e in self.run)}))")
        self.run = []

    def length(self, code: str, n: str, *, text: bool = False) -> None:
        """Write a length or count, -1 for null; ends the run."""
        if not self.flexible:
            self.fixed(code, n)
            self.flush()
            return
        self.fixed("B", f"{n} + 1 if {n} < 127 else {n} + 1 & 127 | 128")
        self.flush()
        self.emit(f"if {n} > 126: {self.write}({f'long_string({n})' if text else f'uvarint({n} + 1 >> 7)'})")

    def block(self, value: str, field: Field) -> None:
        b, n = self.name("b"), self.name("n")
        text = field.kind == "string"
        self.emit(f"{b} = {value}" + (".encode()" if text and not field.nullable.covers(self.version) else ""))
        if field.nullable.covers(self.version):
            self.emit(f"if {b} is None: {n} = -1; {b} = b''")
            self.emit(f"else: {b} = {b}.encode(); {n} = len({b})" if text else f"else: {n} = len({b})")
        else:
            self.emit(f"{n} = len({b})")
        self.length("h" if text else "i", n, text=text)
        self.emit(f"{self.write}({b})")

    def value(self, value: str, field: Field) -> None:
        kind = field.kind
        if kind == "uuid":
            self.fixed("16s", f"{value}.int.to_bytes(16, 'big')")
        elif kind in FORMATS:
            self.fixed(FORMATS[kind], value)
        elif kind in ("string", "bytes", "records"):
            self.block(value, field)
        elif kind == "array":
            self.array(value, field)
        else:
            self.nested(value, field)

    def nested(self, value: str, field: Field) -> None:
        assert field.struct is not None
        o = self.name("o")
        self.emit(f"{o} = {value}")
        nullable = field.nullable.covers(self.version)
        if nullable:
            self.fixed("b", f"-1 if {o} is None else 1")
            self.flush()
            self.emit(f"if {o} is not None:")
            self.indent += 1
        self.body(o, field.struct)
        if nullable:
            self.flush()
            self.emit("pass")
            self.indent -= 1

    def array(self, value: str, field: Field) -> None:
        a, n = self.name("a"), self.name("n")
        self.emit(f"{a} = {value}")
        if field.nullable.covers(self.version):
            self.emit(f"if {a} is None: {n} = -1; {a} = ()")
            self.emit(f"else: {n} = len({a})")
        else:
            self.emit(f"{n} = len({a})")
        self.length("i", n)
        if field.element in FORMATS and field.element != "uuid":
            self.emit(f"if {n} > 0: {self.write}({self.many(field.element, n)}.pack(*{a}))")
            return
        item = self.name("o" if field.struct else "e")
        self.emit(f"for {item} in {a}:")
        self.indent += 1
        if field.struct is not None:
            self.body(item, field.struct)
        else:
            self.value(item, _element(field))
        self.flush()
        self.emit("pass")
        self.indent -= 1

    def body(self, o: str, cls: type[Struct]) -> None:
        tagged = []
        for field in cls.__fields__:
            if not field.versions.covers(self.version):
                if not field.ignorable:
                    self.emit(f"if {o}.{field.name} != {_default_constant(self, field)}: refuse()")
            elif field.tag is not None:
                tagged.append(field)
            else:
                self.value(f"{o}.{field.name}", field)
        if self.flexible:
            self.tagged(o, tagged)

    def tagged(self, o: str, fields: list[Field]) -> None:
        t = self.name("t")
        if not fields:
            self.emit(f"{t} = {o}.unknown_tags")
            self.fixed("B", f"len({t}) if {t} else 0")
            self.flush()
            self.emit(f"if {t}: {self.write}(tagged_section({t}.items()))")
            return
        self.flush()
        self.emit(f"{t} = list({o}.unknown_tags.items()) if {o}.unknown_tags else []")
        outer = self.write
        for field in fields:
            value = f"{o}.{field.name}"
            self.emit(f"if {value} != {_default_constant(self, field)}:")
            self.indent += 1
            parts = self.name("x")
            self.write = f"{parts}.append"
            self.emit(f"{parts} = []")
            self.value(value, field)
            self.flush()
            self.emit(f"{t}.append(({field.tag}, join({parts})))")
            self.indent -= 1
        self.write = outer
        self.fixed("B", f"len({t})")
        self.flush()
        self.emit(f"if {t}: {self.write}(tagged_section({t}))")


def _default_constant(source: _Source, field: Field) -> str:
    """An expression that compares equal to a field's default, made once."""
    if field.mutable_default and field.kind == "struct":
        return source.constant("D", field.default())
    return _default_source(source, field)


def _has_records(cls: type[Struct], version: int) -> bool:
    return any(
        field.kind == "records" or (field.struct is not None and _has_records(field.struct, version))
        for field in cls.__fields__
        if field.versions.covers(version)
    )


def decoder_source(cls: type[Message], version: int) -> tuple[str, dict[str, Any]]:
    """The source of ``decode(data, exact=True)`` for a version and the objects it refers to."""
    as_view = _has_records(cls, version)
    source = _Decoder(version, cls.flexible(version), as_view)
    wanted = "memoryview" if as_view else "bytes"
    source.emit(f"if type(data) is not {wanted}: data = {wanted}(data)")
    source.emit("end = len(data)")
    source.emit("p = 0")
    source.emit("try:")
    source.indent += 1
    o = source.body(cls)
    source.emit("if p > end: fail('the bytes end too early')")
    source.emit("if exact and p < end: fail(f'{end - p} bytes are left over')")
    source.emit(f"return {o}")
    source.indent -= 1
    source.emit("except (StructError, IndexError, OverflowError):")
    title = f"{cls.__name__} v{version}, byte {{p}} of {{end}}"
    source.emit(f"    raise ProtocolError(f'{title}: the bytes end too early') from None")
    source.emit("except UnicodeDecodeError:")
    source.emit(f"    raise ProtocolError(f'{title}: a string that is not UTF-8') from None")
    source.emit("except ProtocolError as error:")
    source.emit(f"    raise ProtocolError(f'{title}: {{error}}') from None")
    return "def decode(data, exact=True):\n" + "\n".join(source.lines) + "\n", source.scope


def encoder_source(cls: type[Message], version: int) -> tuple[str, dict[str, Any]]:
    """The source of ``encode(message) -> parts`` for a version and the objects it refers to."""
    source = _Encoder(version, cls.flexible(version))
    source.emit("parts = []")
    source.emit("w = parts.append")
    source.body("message", cls)
    source.flush()
    source.emit("return parts")
    return "def encode(message):\n" + "\n".join(source.lines) + "\n", source.scope


def compile_decoder(cls: type[Message], version: int) -> Callable[..., Any]:
    """A function from bytes, and whether the message must fill them, to the message."""
    text, scope = decoder_source(cls, version)
    exec(compile(text, f"<decode {cls.__name__} v{version}>", "exec"), scope)
    decode: Callable[..., Any] = scope["decode"]
    return decode


def compile_encoder(cls: type[Message], version: int) -> Callable[[Any], list[Any]]:
    """A function from message to the parts of its encoding; one of :data:`REFUSALS` says that it can't be encoded."""
    text, scope = encoder_source(cls, version)
    exec(compile(text, f"<encode {cls.__name__} v{version}>", "exec"), scope)
    encode: Callable[[Any], list[Any]] = scope["encode"]
    return encode
