"""The configuration file, YAML or JSON → what it says of one interface. The only importer of msgspec and PyYAML.

The types below are the file's language: they check it, and `schema` writes them down as deploy/config.schema.json.
Nothing here is loaded unless there is a file: the two libraries take 50 ms.
"""

from __future__ import annotations

import json
import re
from ipaddress import IPv6Network
from socket import AF_INET, AF_INET6, inet_ntop, inet_pton
from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec
import yaml
from msgspec import UNSET, Meta, Struct, UnsetType

from vmnet.errors import UsageError
from vmnet.model.links import FOREVER, is_link_local
from vmnet.model.settings import Boot, RawOption, Told
from vmnet.model.strict_json import loads
from vmnet.settings import config as checks
from vmnet.settings import patterns
from vmnet.settings.config import FromFile

if TYPE_CHECKING:
    from collections.abc import Callable

_Address = Annotated[str, Meta(pattern=patterns.IPV4)]
_Either = Annotated[str, Meta(pattern=patterns.EITHER)]
_Name = Annotated[str, Meta(pattern=patterns.DOMAIN, max_length=253)]
_Text = Annotated[str, Meta(pattern=patterns.TEXT, max_length=255)]


class _Table(Struct, forbid_unknown_fields=True, kw_only=True):
    """What has keys: exactly those that it names."""


class Dns(_Table):
    """Instead of the pod's resolv.conf. What is not given is the pod's."""

    servers: list[_Either] | UnsetType = UNSET
    search: list[_Name] | UnsetType = UNSET


class BootFrom(_Table):
    """Where firmware finds its program: options 66 (and siaddr), 67 (and the field file) and 60."""

    server: _Text = ""
    file: _Text = ""
    vendor_class: _Text = ""


class Option(_Table):
    """Any other DHCP option: its code, and its value in one way."""

    code: Annotated[int, Meta(ge=1, le=254)]
    text: _Text | UnsetType = UNSET
    hex: Annotated[str, Meta(pattern=patterns.HEX, max_length=3 * 1024)] | UnsetType = UNSET
    addresses: Annotated[list[_Address], Meta(min_length=1, max_length=255)] | UnsetType = UNSET
    uint8: Annotated[int, Meta(ge=0, le=0xFF)] | UnsetType = UNSET
    uint16: Annotated[int, Meta(ge=0, le=0xFFFF)] | UnsetType = UNSET
    uint32: Annotated[int, Meta(ge=0, le=0xFFFFFFFF)] | UnsetType = UNSET


class Interface(_Table):
    """A pod interface and what becomes of it. What has a flag or a variable too is overruled by these."""

    binding: Literal["bridge"] = "bridge"
    tap: str | UnsetType = UNSET
    owner: int | str | UnsetType = UNSET
    queues: Annotated[int, Meta(ge=1, le=checks.LARGEST_QUEUE_COUNT)] | UnsetType = UNSET
    mac: Annotated[str, Meta(pattern=patterns.MAC)] | UnsetType = UNSET
    mtu: Annotated[int, Meta(ge=checks.SMALLEST_MTU, le=checks.LARGEST_MTU)] | UnsetType = UNSET
    hostname: str | UnsetType = UNSET
    dhcp: Literal["on", "off", "external"] | UnsetType = UNSET
    lease_time: Annotated[int, Meta(ge=checks.SHORTEST_LEASE, lt=FOREVER)] | Literal["infinite"] | UnsetType = (
        UNSET
    )
    ipv6: Literal["on", "off"] | UnsetType = UNSET
    autonomous: Literal["on", "off"] = "off"
    nat64_prefix: Annotated[str, Meta(pattern=patterns.NAT64)] = ""
    isolation: Literal["strict", "dhcp-only", "off"] | UnsetType = UNSET
    allow_address: Annotated[list[str], Meta(min_length=1)] | UnsetType = UNSET
    allow_mac: Annotated[list[Annotated[str, Meta(pattern=patterns.MAC)]], Meta(min_length=1)] | UnsetType = UNSET
    server_user: int | str | UnsetType = UNSET
    sandbox: Literal["on", "off"] | UnsetType = UNSET
    dns: Dns | None = None
    ntp: list[_Either] | None = None
    boot: BootFrom | None = None
    ipv6_only_wait: Annotated[int, Meta(ge=300, le=0xFFFFFFFF)] | UnsetType = UNSET
    options: list[Option] | None = None


class File(_Table):
    """The whole file. A table or list without anything in it asks for nothing."""

    interfaces: dict[str, Interface | None] | None = None


_FLAGS = (
    *("tap", "owner", "queues", "mac", "mtu", "hostname", "dhcp", "lease_time", "ipv6"),
    *("isolation", "allow_address", "allow_mac", "server_user", "sandbox"),
)
"""What can be said by a flag too, as text."""
_CHECKS: dict[str, Callable[[str], object]] = {
    "tap": lambda text: checks.link_name(text, "tap"),
    "owner": checks.owner_ids,
    "mac": checks.mac_address,
    "hostname": checks.host_name,
    "allow_address": lambda text: checks.listed(text, checks.prefix),
    "allow_mac": lambda text: checks.listed(text, checks.mac_address),
    "server_user": checks.server_ids,
}
"""What the types do not say."""
_OF_THE_POD = "cannot be set: its value comes from the pod"
_OF_THE_SERVER = "cannot be set: the server writes it"
_NOT_FREE = {
    **dict.fromkeys((1, 3, 28, 121, 249), _OF_THE_POD),
    **dict.fromkeys((50, 51, 52, 53, 54, 55, 56, 57, 58, 59, 61, 80, 81, 82), _OF_THE_SERVER),
    6: "write dns.servers",
    12: "write hostname",
    15: "write dns.search",
    26: "write mtu",
    42: "write ntp",
    60: "write boot.vendor_class",
    66: "write boot.server",
    67: "write boot.file",
    108: "write ipv6_only_wait",
    119: "write dns.search",
}


def read(path: str, interface: str) -> FromFile:
    """Return what the file says of `interface`; without a name, of the only one it speaks of.

    A file that speaks of none asks for nothing.

    Raises:
        UsageError: no such file, not YAML or JSON, or something in it that the language does not have.
    """
    interfaces = _checked(path, _data(path, checks.small_file(path, "configuration file"))).interfaces
    if not interfaces:
        return FromFile()
    if not interface and len(interfaces) != 1:
        names = " and ".join(interfaces)
        raise UsageError(f"{path}: interfaces: it configures {names}; pick one with --interface")
    name = interface or next(iter(interfaces))
    if name not in interfaces:
        raise UsageError(f"{path}: interfaces.{name} is missing; it configures {', '.join(interfaces)}")
    said, place = interfaces[name] or Interface(), f"{path}: interfaces.{name}"
    texts = {flag: _text(value) for flag in _FLAGS if (value := getattr(said, flag)) is not UNSET}
    for flag, check in _CHECKS.items():
        _refuse_text(texts.get(flag), check, f"{place}.{flag}")
    _refuse_text(name, lambda text: checks.link_name(text, "interface"), place)
    return FromFile({"interface": name, **texts}, _told(said, place))


def _text(value: int | str | list[str]) -> str:
    """Write a value as the flag of that name takes it."""
    return ",".join(value) if isinstance(value, list) else str(value)


def _refuse_text(text: str | None, check: Callable[[str], object], place: str) -> None:
    """Refuse here what the flag of that name would refuse, for its error knows no place in a file."""
    try:
        if text is not None:
            check(text)
    except UsageError as error:
        raise UsageError(f"{place}: {error}") from error


def schema() -> str:
    """The language as a JSON Schema."""
    return json.dumps(msgspec.json.schema(File), indent=2) + "\n"


class _Loader(yaml.SafeLoader):
    """YAML without the words of YAML 1.1 that are none: `on` stays text, and so does 52:54:00:12:34:56."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012 # yaml's own form

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._aliases = 0

    def fetch_more_tokens(self) -> None:
        """Refuse depth before anything is made of it: PyYAML's time grows with its square."""
        if max(self.flow_level, len(self.indents)) > _DEEPEST:
            raise RecursionError(_TOO_DEEP)
        super().fetch_more_tokens()

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:  # noqa: ANN401 # yaml's own form
        """Refuse what multiplies: a file of 64 KiB may name a list of it thousands of times."""
        self._aliases += self.check_event(yaml.AliasEvent)
        if self._aliases > _MOST_ALIASES:
            raise ValueError(f"more than {_MOST_ALIASES} aliases")
        tag = getattr(self.peek_event(), "tag", None)  # type: ignore[no-untyped-call]
        if tag in _NO_TAGS:
            # PyYAML raises anything for a value that is not of its tag, and merges without end.
            raise ValueError(f"the tag {tag.replace(_YAML, '!!')} is not part of this language")
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Refuse a key that appears twice: of two values one would be lost in silence."""
        if not all(isinstance(key, yaml.ScalarNode) for key, _ in node.value):
            raise ValueError("a key is not text")
        _refuse_twice([key.value for key, _ in node.value])
        return super().construct_mapping(node, deep)


_Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile("^(true|false)$"), ["t", "f"])
_Loader.add_implicit_resolver("tag:yaml.org,2002:int", re.compile("^-?(0|[1-9][0-9]*)$"), list("-0123456789"))
_Loader.add_implicit_resolver("tag:yaml.org,2002:null", re.compile("^(null|~|)$"), ["n", "~", ""])
_YAML = "tag:yaml.org,2002:"
_NO_TAGS = {tag for tag in yaml.SafeLoader.yaml_constructors if tag} | {f"{_YAML}merge", f"{_YAML}value"}
_NO_TAGS -= {f"{_YAML}str", f"{_YAML}map", f"{_YAML}seq"}
_MOST_ALIASES = 100
_DEEPEST = 32
"""Levels. The language has 5; json's own limit depends on Python's version, and can be none."""
_TOO_DEEP = f"nested deeper than {_DEEPEST} levels"


def _data(path: str, text: str) -> Any:  # noqa: ANN401 # whatever the file holds
    try:
        if text.lstrip().startswith("{"):
            return loads(text, _DEEPEST)
        return yaml.load(text, _Loader)  # noqa: S506 # a child of SafeLoader
    except (ValueError, yaml.YAMLError, RecursionError) as error:
        raise UsageError(f"{path}: {' '.join(str(error).split())}") from error


def _refuse_twice(keys: list[str]) -> None:
    seen: set[str] = set()
    for key in keys:
        if key in seen:
            raise ValueError(f"the key {key!r} appears twice")
        seen.add(key)


def _checked(path: str, data: Any) -> File:  # noqa: ANN401
    try:
        return File() if data is None else msgspec.convert(data, File)
    except msgspec.ValidationError as error:
        raise UsageError(f"{path}: {_located(data, error)}") from error
    except UnicodeEncodeError as error:
        raise UsageError(f"{path}: it contains half a character (a lone surrogate)") from error


def _located(data: Any, error: msgspec.ValidationError) -> str:  # noqa: ANN401
    """Say where and what: msgspec does not tell of which of several interfaces it speaks."""
    if "interfaces[...]" not in str(error):
        return _said(error, "")
    for name, value in data["interfaces"].items():
        try:
            msgspec.convert(value, Interface | None)
        except msgspec.ValidationError as known:
            return _said(known, f"interfaces.{name}")
    return _said(error, "")


def _said(error: msgspec.ValidationError, prefix: str) -> str:
    """Turn msgspec's "Expected … - at `$.a.b`" into "a.b: expected …"."""
    what, _, where = str(error).partition(" - at ")
    place = prefix + where.removeprefix("`key` in ").strip("`").removeprefix("$")
    unknown = re.fullmatch("Object contains unknown field `(.*)`", what)
    if unknown:
        return f"{place}.{unknown[1]}".lstrip(".") + ": there is no such key"
    what = what.replace(" | null`", "`")
    for pattern, words in patterns.IN_WORDS.items():
        what = what.replace(f"`str` matching regex {pattern!r}", words)
    return f"{place.lstrip('.') or 'the file'}: {what[0].lower()}{what[1:]}"


def _told(said: Interface, path: str) -> Told:
    boot, dns, options = said.boot or BootFrom(), said.dns or Dns(), said.options or []
    codes = [option.code for option in options]
    return Told(
        nameservers=None if dns.servers is UNSET else _global(dns.servers, f"{path}.dns.servers"),
        domain_search=None if dns.search is UNSET else tuple(dns.search),
        ntp_servers=_global(said.ntp or [], f"{path}.ntp"),
        boot=Boot(boot.server, boot.file, boot.vendor_class),
        ipv6_only_wait=None if said.ipv6_only_wait is UNSET else said.ipv6_only_wait,
        options=tuple(
            _option(option, f"{path}.options[{at}]", twice=option.code in codes[:at])
            for at, option in enumerate(options)
        ),
        autonomous=said.autonomous == "on",
        nat64_prefix=_nat64_prefix(said.nat64_prefix, f"{path}.nat64_prefix"),
    )


def _global(addresses: list[str], path: str) -> tuple[str, ...]:
    """Return addresses as iproute2 writes them; the guest shall need no word about the link they are on."""
    written = [_written(address) for address in addresses]
    for at, address in enumerate(written):
        if is_link_local(address):
            raise UsageError(
                f"{path}[{at}]: {address} is link-local, which the guest cannot use without an "
                "interface name; name a global address"
            )
    return tuple(written)


def _written(address: str) -> str:
    family = AF_INET6 if ":" in address else AF_INET
    return inet_ntop(family, inet_pton(family, address))


def _nat64_prefix(text: str, path: str) -> str:
    """Return the prefix as iproute2 writes it."""
    try:
        network = IPv6Network(text) if text else None
    except ValueError as error:
        raise UsageError(f"{path}: {error}") from error
    if network and network.network_address.packed[8]:
        raise UsageError(f"{path}: {network}: its bits 64 to 71 must be zero (RFC 6052 §2.2)")
    return str(network or "")


def _option(option: Option, path: str, *, twice: bool) -> RawOption:
    fault = "it appears twice" if twice else _NOT_FREE.get(option.code, "")
    if fault:
        raise UsageError(f"{path}.code: {option.code}: {fault}")
    values = [name for name in Option.__struct_fields__[1:] if getattr(option, name) is not UNSET]
    if len(values) != 1:
        raise UsageError(f"{path}: give exactly one of {', '.join(Option.__struct_fields__[1:])}")
    return RawOption(option.code, _octets(option).hex())


def _octets(option: Option) -> bytes:
    """The option's value as it is on the wire."""
    if option.text is not UNSET:
        return option.text.encode("ascii")
    if option.hex is not UNSET:
        return bytes.fromhex(option.hex.replace(":", ""))
    if option.addresses is not UNSET:
        return b"".join(bytes(map(int, address.split("."))) for address in option.addresses)
    numbers = ((option.uint8, 1), (option.uint16, 2), (option.uint32, 4))
    return b"".join(number.to_bytes(size) for number, size in numbers if number is not UNSET)
