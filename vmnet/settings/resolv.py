"""resolv.conf as glibc reads it, and in words what of it a guest cannot use. Pure; imports next to nothing."""

from __future__ import annotations

from socket import AF_INET, AF_INET6, inet_ntop, inet_pton

from vmnet.model.lease import Resolver

_LABEL = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-_")
_LONGEST_LABEL = 63
_LONGEST_NAME = 253
_V4_MAPPED = b"\0" * 10 + b"\xff\xff"
_UNSPECIFIED_OR_LOOPBACK_6 = (b"\0" * 16, b"\0" * 15 + b"\x01")


def parse(text: str) -> Resolver:
    """Read the text of a resolv.conf. Whatever is wrong in it becomes a warning, never an error."""
    nameservers: list[str] = []
    search: list[str] = []
    warnings: list[str] = []
    for line in text.split("\n"):
        keyword, *words = _words(line) or ("",)
        if keyword == "nameserver":
            address, warning = _nameserver(words[0] if words else "")
            nameservers += [address] if address and address not in nameservers else []
            warnings += [warning] if warning else []
        elif keyword == "search":
            search = words
        elif keyword == "domain":
            search = words[:1]
    domains, domain_warnings = _domains(search)
    return Resolver(tuple(nameservers), tuple(domains), tuple(warnings), tuple(domain_warnings))


def _words(line: str) -> list[str]:
    """The words of a line up to the first that begins a comment."""
    words = line.split()
    for index, word in enumerate(words):
        if word[0] in "#;":
            return words[:index]
    return words


def loopbacks(text: str) -> tuple[str, ...]:
    """Return the resolvers of a resolv.conf that answer on this machine only."""
    words = [line for line in map(_words, text.split("\n")) if line[:1] == ["nameserver"]]
    found = [guest_address(word) for _, *rest in words for word in rest[:1]]
    return tuple(dict.fromkeys(address for address, fault in found if address and fault))


def guest_address(word: str) -> tuple[str, str]:
    """(address, "") of a resolver that a guest may be given; (address or "", why not) of any other."""
    # glibc ends the address at the first comment sign or blank; a zone says something on one machine only.
    address = word.partition("#")[0].partition(";")[0].partition("%")[0]
    for family in (AF_INET, AF_INET6):
        try:
            packed = inet_pton(family, address)
        except (OSError, ValueError):  # ValueError: a NUL within
            continue
        packed = packed.removeprefix(_V4_MAPPED)
        if _own_loopback(packed):
            return address, (
                "is the pod's own loopback, which the guest cannot reach: "
                "without another nameserver the guest resolves no names"
            )
        return inet_ntop(AF_INET if len(packed) == 4 else AF_INET6, packed), ""
    return "", "is not an address"


def _nameserver(word: str) -> tuple[str, str]:
    """(address, "") of a resolver that a guest may be given, or ("", why not)."""
    address, fault = guest_address(word)
    if not fault:
        return address, ""
    return "", f"resolv.conf: nameserver {f'{address} {fault}' if address else f'{word!r} {fault}: left out'}"


def _own_loopback(packed: bytes) -> bool:
    """Whether an address means "this machine": 127/8, 0.0.0.0 (glibc takes it for the loopback), ::1, ::."""
    if len(packed) == 4:
        return packed[0] == 127 or packed == b"\0\0\0\0"
    return packed in _UNSPECIFIED_OR_LOOPBACK_6


def _domains(words: list[str]) -> tuple[list[str], list[str]]:
    domains: list[str] = []
    warnings: list[str] = []
    for word in words:
        name, fault = domain(word)
        if fault:
            warnings.append(f"resolv.conf: search domain {word!r} {fault}: left out")
        elif name and name not in domains:
            domains.append(name)
    return domains, warnings


def domain(word: str) -> tuple[str, str]:
    """(name in lower case, "") of a search domain, or ("", why it is none). The root, ".", is no domain to add."""
    name = word.lower().removesuffix(".")
    fault = _fault(name) if word != "." else ""
    return ("", fault) if fault else (name, "")


def _fault(domain: str) -> str:
    """What keeps a name from being written by RFC 1035 §2.3, or nothing. Underscores are in use and pass."""
    labels = domain.split(".")
    if len(domain) > _LONGEST_NAME:
        return f"is longer than {_LONGEST_NAME} characters"
    if not all(labels):
        return "has an empty label"
    if any(len(label) > _LONGEST_LABEL for label in labels):
        return f"has a label of more than {_LONGEST_LABEL} characters"
    if any(not _LABEL.issuperset(label) or label[0] == "-" or label[-1] == "-" for label in labels):
        return "is not a host name"
    if labels[-1].isdigit():  # no top-level domain is a number: this is an address
        return "is an address"
    return ""
