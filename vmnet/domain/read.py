"""A domain's XML, read: what vmnet needs of it, and where in the text its interfaces stand.

It may come from anybody: what is too large or too deep, or has a DOCTYPE, is refused in one line.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING
from xml.parsers import expat

from vmnet.errors import UsageError

if TYPE_CHECKING:
    from typing import BinaryIO

NAMESPACE = "urn:vmnet:domain:1"
"""Of `<vmnet:network>` in a domain's metadata."""
ALIAS = "ua-vmnet-"
"""libvirt leaves aliases alone that begin with "ua-"."""
_ESCAPES = {"_": "_5f", ".": "_2e"}
"""An underscore is escaped so that every alias is one interface's; it comes first."""
LARGEST = 1 << 20
"""Bytes of a domain's XML; libvirt's own are a few thousand."""
_CHUNK = 16 * 1024
DEEPEST = 64
"""Levels of nesting; libvirt's own have ten."""
_START_TAG = re.compile(rb"<[^\s/>]+(?:\s+[^\s=/>]+\s*=\s*(?:\"[^\"]*\"|'[^']*'))*\s*/?>")


@dataclass(frozen=True, slots=True)
class Span:
    """Where an element stands in the UTF-8 text, in bytes: from `<` to behind the last `>`."""

    start: int
    inner: int
    """Behind its start tag."""
    inner_end: int
    """At its end tag; for `<x/>` the same as `inner` and `end`."""
    end: int

    @property
    def empty_tag(self) -> bool:
        """Whether it is written `<x/>`."""
        return self.inner == self.end


@dataclass(frozen=True, slots=True)
class Child:
    """An element directly inside an interface."""

    name: str
    attributes: tuple[tuple[str, str], ...]
    span: Span

    def get(self, attribute: str) -> str:
        """Return an attribute's value; empty when it has none."""
        return dict(self.attributes).get(attribute, "")


@dataclass(frozen=True, slots=True)
class Interface:
    """An `<interface>` of the domain. Numbers that are none are None, MACs are in lower case."""

    type: str
    children: tuple[Child, ...]
    span: Span

    def child(self, name: str) -> Child | None:
        """Return the first child of that name."""
        return next((child for child in self.children if child.name == name), None)

    def _of(self, name: str, attribute: str) -> str:
        child = self.child(name)
        return child.get(attribute) if child else ""

    @property
    def mac(self) -> str:
        """`<mac address=…>`; empty when it has none."""
        return self._of("mac", "address").lower()

    @property
    def mtu(self) -> int | None:
        """`<mtu size=…>`, bytes."""
        return _number(self._of("mtu", "size"))

    @property
    def tap(self) -> str:
        """`<target dev=…>`; empty when it has none."""
        return self._of("target", "dev")

    @property
    def managed(self) -> bool:
        """Whether libvirt is to make and remove the tap itself, as it does unless told `managed='no'`."""
        return self._of("target", "managed") != "no"

    @property
    def queues(self) -> int | None:
        """`<driver queues=…>`."""
        return _number(self._of("driver", "queues"))

    @property
    def model(self) -> str:
        """`<model type=…>`; empty when it has none."""
        return self._of("model", "type")

    @property
    def alias(self) -> str:
        """`<alias name=…>`; empty when it has none."""
        return self._of("alias", "name")


@dataclass(frozen=True, slots=True)
class Network:
    """`<vmnet:network …/>` in the metadata: what the domain wants of vmnet. Empty where it does not say."""

    netns: str = ""
    interface: str = ""
    """The pod interface; empty for eth0, or the one with the default route."""
    binding: str = ""
    tap: str = ""
    mac: str = ""
    """The MAC of the domain's interface that is meant, in lower case."""
    attributes: tuple[tuple[str, str], ...] = ()
    """All of them, as written."""


@dataclass(frozen=True, slots=True)
class Domain:
    """What vmnet reads of a domain's XML."""

    name: str
    uuid: str
    interfaces: tuple[Interface, ...]
    networks: tuple[Network, ...]
    root: Span
    devices: Span | None

    @property
    def network(self) -> Network | None:
        """The first `<vmnet:network>`, or None."""
        return self.networks[0] if self.networks else None


def decoded(data: bytes) -> str:
    """Return the text of a file; what follows the largest size we take may be cut off.

    Raises:
        UsageError: it is not UTF-8.
    """
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        if len(data) > LARGEST:
            return data.decode(errors="replace")
        raise UsageError(f"domain XML: not UTF-8 at byte {error.start}") from None


def encoded(text: str) -> bytes:
    """Return the bytes in which positions are counted.

    Raises:
        UsageError: it is too large, or no text that UTF-8 can hold.
    """
    if len(text) > LARGEST:
        raise UsageError(f"domain XML: larger than {LARGEST} bytes; a domain is a few thousand")
    try:
        data = text.encode()
    except UnicodeEncodeError:
        raise UsageError("domain XML: not UTF-8 text") from None
    if len(data) > LARGEST:
        raise UsageError(f"domain XML: larger than {LARGEST} bytes; a domain is a few thousand")
    return data


def parse(text: str) -> Domain:
    """Read a domain's XML.

    Raises:
        UsageError: it is no domain, or such as only an attacker would write; in one line.
    """
    return _Reader(encoded(text)).domain()


def uuid_in(stream: BinaryIO) -> str:
    """Return the UUID of the domain whose XML the stream holds; empty where that does not come.

    Only as much is read as it takes: libvirt writes the UUID near the beginning, and whatever follows, however
    large, deep or broken, is not looked at.
    """
    reader = _UuidReader()
    left = LARGEST
    while left and not reader.ended and (data := stream.read(min(left, _CHUNK))):
        left -= len(data)
        reader.feed(data)
    return reader.uuid


class _UuidReader:
    """One run of expat, up to the end of the domain's `<uuid>`."""

    def __init__(self) -> None:
        self.uuid = ""
        self.ended = False
        self._path: list[str] = []
        self._texts: list[str] = []
        self._parser = expat.ParserCreate(None, " ")
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        self._parser.CharacterDataHandler = self._text
        self._parser.StartDoctypeDeclHandler = self._doctype

    def feed(self, data: bytes) -> None:
        """Read on; `ended` once nothing more is to be read."""
        try:
            self._parser.Parse(data, False)
        except (expat.ExpatError, UsageError):
            self.ended = True  # behind the UUID it is no matter

    def _doctype(self, *_declared: object) -> None:
        raise UsageError("domain XML: a DOCTYPE has no place in a domain; remove it")

    def _start(self, name: str, _attributes: dict[str, str]) -> None:
        if len(self._path) >= DEEPEST:
            raise UsageError(f"domain XML: nested deeper than {DEEPEST} levels")
        self._path.append(name)

    def _end(self, _name: str) -> None:
        if self._path == ["domain", "uuid"] and not self.ended:
            self.uuid, self.ended = "".join(self._texts).strip(), True
        self._path.pop()

    def _text(self, text: str) -> None:
        if self._path == ["domain", "uuid"] and not self.ended:
            self._texts.append(text)


def alias_of(pod_interface: str) -> str:
    """Return the alias that marks the interface for a pod interface; libvirt allows no full stop in it."""
    return ALIAS + "".join(_ESCAPES.get(character, character) for character in pod_interface)


def pod_interface_of(alias: str) -> str:
    """Return the pod interface whose alias this is. One without escapes, as they once were, is the name itself."""
    name = alias.removeprefix(ALIAS)
    for character, escape in reversed(_ESCAPES.items()):
        name = name.replace(escape, character)
    return name


def _aliases_of(pod_interface: str) -> tuple[str, str]:
    """Return the alias for a pod interface, and the one that was once written."""
    return alias_of(pod_interface), f"{ALIAS}{pod_interface.replace('.', '_')}"


def marked(domain: Domain, pod_interface: str, tap: str) -> Interface | None:
    """Return the interface that is meant for this pod interface, or None.

    One bears the alias `ua-vmnet-IFNAME`, or has the MAC or tap that the metadata names, or asks for the tap.

    Raises:
        UsageError: several do.
    """
    said = [network for network in domain.networks if network.interface in ("", pod_interface)]
    taps = {tap, *(network.tap for network in said)} - {""}
    macs = {network.mac for network in said} - {""}
    found = [
        interface
        for interface in domain.interfaces
        if interface.alias in _aliases_of(pod_interface) or interface.tap in taps or interface.mac in macs
    ]
    if len(found) > 1:
        raise UsageError(
            f"domain XML: {len(found)} interfaces are marked for {pod_interface} "
            f"(alias {alias_of(pod_interface)}, tap {' or '.join(sorted(taps))}); mark one"
        )
    return found[0] if found else None


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 10 else None


_NETWORK = f"{NAMESPACE} network"
_TEXTS = (("domain", "name"), ("domain", "uuid"))
_KEPT = (("domain",), ("domain", "devices"), ("domain", "devices", "interface"))
_CHILD = 4
"""The level of an interface's children."""


class _Reader:
    """One run of expat over the text. Nothing recurses: the depth is counted, and what is too deep is refused."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._path: list[str] = []
        self._open: list[tuple[int, int, dict[str, str]]] = []
        self._children: list[Child] = []
        self._interfaces: list[Interface] = []
        self._networks: list[Network] = []
        self._texts: dict[str, str] = {}
        self._root: Span | None = None
        self._devices: Span | None = None
        self._parser = expat.ParserCreate("utf-8", " ")
        self._parser.buffer_text = True
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        self._parser.CharacterDataHandler = self._text
        self._parser.StartDoctypeDeclHandler = self._doctype
        self._parser.XmlDeclHandler = self._declaration

    def domain(self) -> Domain:
        try:
            self._parser.Parse(self._data, True)
        except expat.ExpatError as error:
            raise UsageError(f"domain XML: {expat.ErrorString(error.code)} in line {error.lineno}") from None
        if self._root is None:
            raise UsageError("domain XML: it is empty")
        return Domain(
            name=self._texts.get("name", "").strip(),
            uuid=self._texts.get("uuid", "").strip(),
            interfaces=tuple(self._interfaces),
            networks=tuple(self._networks),
            root=self._root,
            devices=self._devices,
        )

    def _doctype(self, *_declared: object) -> None:
        raise UsageError("domain XML: a DOCTYPE has no place in a domain; remove it")

    def _declaration(self, _version: str, encoding: str | None, _standalone: int) -> None:
        if encoding and encoding.lower() not in ("utf-8", "utf8", "us-ascii") and not self._data.isascii():
            raise UsageError(f"domain XML: it is declared to be {encoding!r}; vmnet reads UTF-8")

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        path = self._path
        if not path and name != "domain":
            namespace, _, local = name.rpartition(" ")
            within = f" of namespace {namespace[:64]}" if namespace else ""
            raise UsageError(f"domain XML: the root is <{local[:64]}>{within}, not libvirt's <domain>")
        if len(path) >= DEEPEST:
            raise UsageError(f"domain XML: nested deeper than {DEEPEST} levels")
        path.append(name)
        if name == _NETWORK and path[:-1] == ["domain", "metadata"]:
            self._networks.append(_network(attributes))
        if self._is_kept():
            start = self._parser.CurrentByteIndex
            tag = _START_TAG.match(self._data, start)
            if tag is None:
                raise UsageError(f"domain XML: cannot read the tag <{name}> at byte {start}")
            self._open.append((start, tag.end(), attributes))

    def _is_kept(self) -> bool:
        path = tuple(self._path)
        return path in _KEPT or (len(path) == _CHILD and path[:-1] == _KEPT[-1])

    def _end(self, name: str) -> None:
        if self._is_kept():
            start, inner, attributes = self._open.pop()
            if self._data[inner - 2 : inner] == b"/>":
                span = Span(start, inner, inner, inner)
            else:
                at = self._parser.CurrentByteIndex
                span = Span(start, inner, at, self._data.index(b">", at) + 1)
            self._keep(name, attributes, span)
        self._path.pop()

    def _keep(self, name: str, attributes: dict[str, str], span: Span) -> None:
        level = len(self._path)
        if level == _CHILD:
            self._children.append(Child(name, tuple(attributes.items()), span))
        elif level == _CHILD - 1:
            self._interfaces.append(Interface(attributes.get("type", ""), tuple(self._children), span))
            self._children = []
        elif level == 2:
            self._devices = self._devices or span
        else:
            self._root = span

    def _text(self, text: str) -> None:
        if tuple(self._path) in _TEXTS:
            self._texts[self._path[-1]] = self._texts.get(self._path[-1], "") + text


def _network(attributes: dict[str, str]) -> Network:
    get = attributes.get
    return Network(
        netns=get("netns", ""),
        interface=get("interface", ""),
        binding=get("binding", ""),
        tap=get("tap", ""),
        mac=get("mac", "").lower(),
        attributes=tuple(attributes.items()),
    )
