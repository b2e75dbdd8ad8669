"""Domain XML in, domain XML out: all but the one interface stays byte for byte as the user wrote it.

expat finds the positions, and the change is spliced into the original text. Nothing is ever written back from a
parsed tree: that would lose comments, quotes, line ends and the order of attributes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from vmnet.domain.read import alias_of, encoded, marked, parse
from vmnet.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vmnet.domain.read import Domain, Interface, Span

DEFAULT_MODEL = "virtio"
_OF_OTHER_TYPES = ("source", "virtualport", "vlan", "port", "portForward", "actual")
"""What an interface of another type says of its connection, and libvirt refuses on an ethernet one."""
_ATTRIBUTE = re.compile(rb"\s+([^\s=/>]+)\s*=\s*(\"[^\"]*\"|'[^']*')")
_MODEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,31}")
_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;", "'": "&apos;", '"': "&quot;"}


@dataclass(frozen=True, slots=True)
class InterfaceSpec:
    """The interface as the domain shall have it."""

    tap: str
    mac: str
    mtu: int | None = None
    """Bytes; None leaves what is there."""
    model: str = ""
    """Empty leaves what is there, and is virtio on a new interface."""
    pod_interface: str = "eth0"
    """Whose place it takes: part of the alias that marks it."""
    name: str = ""
    """What else its alias shall say, where somebody looks for that; empty for the pod interface."""


def set_interface(text: str, wanted: InterfaceSpec) -> str:
    """Return the XML with the wanted interface in it: the marked one changed, else one added.

    A changed interface keeps everything that is not of the wanted: driver, boot order, address, link state …

    Raises:
        UsageError: the XML is none we take, or there is no place for the interface.
    """
    if wanted.model and not _MODEL.fullmatch(wanted.model):
        raise UsageError(f"interface model {wanted.model!r} is not a NIC model; use for instance virtio or e1000e")
    data = encoded(text)
    domain = parse(text)
    interface = marked(domain, wanted.pod_interface, wanted.tap)
    edits = list(_changes(data, interface, wanted)) if interface else [_addition(data, domain, wanted)]
    pieces, position = [], 0
    for start, end, new in sorted(edits, key=lambda edit: edit[:2]):
        pieces += [data[position:start], new]
        position = end
    return b"".join((*pieces, data[position:])).decode()


_Edit = tuple[int, int, bytes]
"""These bytes of the text, from and to, become those."""
_Parts = tuple[tuple[str, tuple[tuple[str, str], ...]], ...]
"""Child elements of an interface, and the attributes that matter of each."""


def _parts(wanted: InterfaceSpec, model: str) -> _Parts:
    parts: list[tuple[str, tuple[tuple[str, str], ...]]] = [
        ("mac", (("address", wanted.mac),)),
        ("target", (("dev", wanted.tap), ("managed", "no"))),
    ]
    if model:
        parts.append(("model", (("type", model),)))
    if wanted.mtu is not None:
        parts.append(("mtu", (("size", str(wanted.mtu)),)))
    return tuple(parts)


def _changes(data: bytes, interface: Interface, wanted: InterfaceSpec) -> Iterator[_Edit]:
    """Change the marked interface where it differs from the wanted one."""
    quote = _quote(data, interface.span)
    yield from _set_attribute(data, interface.span, "type", interface.type, "ethernet")
    gone = _OF_OTHER_TYPES if interface.type != "ethernet" else ()
    for child in interface.children:
        if child.name in gone:
            yield _behind_space(data, child.span.start), child.span.end, b""
    model = wanted.model or interface.model or DEFAULT_MODEL
    at, space = interface.span.inner, _line_start(data, interface.children[0].span.start)
    for name, attributes in _parts(wanted, model):
        there = interface.child(name)
        if there is None:
            yield at, at, space + _element(name, attributes, quote)
            continue
        at, space = there.span.end, _line_start(data, there.span.start)
        for attribute, value in attributes:
            was = there.get(attribute)
            if was.lower() != value:
                yield from _set_attribute(data, there.span, attribute, was, value)


def _addition(data: bytes, domain: Domain, wanted: InterfaceSpec) -> _Edit:
    """Add an interface behind the last one, else at the end of the devices."""
    devices = domain.devices
    if devices is None:
        raise UsageError("domain XML: the domain has no <devices>; add <devices/>")
    outer = _line_start(data, devices.start)
    last = domain.interfaces[-1].span if domain.interfaces else None
    at = last.end if last else _behind_space(data, devices.inner_end, devices.inner)
    if last:
        line = _line_start(data, last.start)
    elif at == devices.inner:
        line = outer + _unit(outer, b"") if outer else b""
    else:
        line = _indent_of_line(data, at, devices.inner)
    new = line + _interface(wanted, _quote(data, last or domain.root), line, _unit(line, outer))
    if devices.empty_tag:
        tag = data[devices.start : devices.inner].removesuffix(b"/>")
        return devices.start + len(tag), devices.end, b">" + new + outer + b"</devices>"
    if at == devices.inner == devices.inner_end:
        new += outer
    return at, at, new


def _interface(wanted: InterfaceSpec, quote: bytes, line: bytes, unit: bytes) -> bytes:
    parts = (
        *_parts(wanted, wanted.model or DEFAULT_MODEL),
        ("alias", (("name", f"ua-{wanted.name}" if wanted.name else alias_of(wanted.pod_interface)),)),
    )
    body = b"".join((line + unit if line else b"") + _element(name, values, quote) for name, values in parts)
    return b"<interface type=" + quote + b"ethernet" + quote + b">" + body + line + b"</interface>"


def _element(name: str, attributes: tuple[tuple[str, str], ...], quote: bytes) -> bytes:
    text = b"".join(b" %s=%s%s%s" % (key.encode(), quote, _escaped(value), quote) for key, value in attributes)
    return b"<%s%s/>" % (name.encode(), text)


def _escaped(value: str) -> bytes:
    # xml.sax.saxutils would do it too, and imports urllib and ssl: 40 ms that each hook of libvirt would pay.
    return "".join(_ENTITIES.get(character, character) for character in value).encode()


def _set_attribute(data: bytes, span: Span, name: str, was: str, value: str) -> Iterator[_Edit]:
    """Change one attribute of a start tag in place, in its own quotes, or add it behind the others."""
    if was == value:
        return
    end = data.index(b"<", span.start) + 1
    while data[end : end + 1] not in b" \t\r\n/>":
        end += 1
    for found in _ATTRIBUTE.finditer(data, end, span.inner):
        if found[1] == name.encode():
            yield found.start(2) + 1, found.end(2) - 1, _escaped(value)
            return
        end = found.end()
    quote = _quote(data, span)
    yield end, end, b" %s=%s%s%s" % (name.encode(), quote, _escaped(value), quote)


def _quote(data: bytes, span: Span) -> bytes:
    """Return the quote that the user writes: that of the element's first attribute."""
    found = _ATTRIBUTE.search(data, span.start, span.inner)
    return found[2][:1] if found else b"'"


def _behind_space(data: bytes, position: int, lowest: int = 0) -> int:
    """Return where the white space before `position` begins."""
    while position > lowest and data[position - 1] in b" \t\r\n":
        position -= 1
    return position


def _line_start(data: bytes, position: int) -> bytes:
    """Return the line break and indentation right before `position`; empty when other things stand there."""
    space = data[_behind_space(data, position) : position]
    begin = space.rfind(b"\n")
    if begin < 0:
        return b""
    return space[begin - 1 if space[begin - 1 : begin] == b"\r" else begin :]


def _indent_of_line(data: bytes, position: int, lowest: int) -> bytes:
    """Return the line break and indentation of the line that ends at `position`; empty when it began before."""
    begin = data.rfind(b"\n", lowest, position)
    if begin < 0:
        return b""
    line = data[begin + 1 : position]
    indent = line[: len(line) - len(line.lstrip(b" \t"))]
    return (b"\r\n" if data[begin - 1 : begin] == b"\r" else b"\n") + indent


def _unit(inner: bytes, outer: bytes) -> bytes:
    """Return one step of indentation."""
    step = inner[len(outer) :] if outer and inner.startswith(outer) else b""
    return step or (b"\t" if b"\t" in inner else b"  ")
