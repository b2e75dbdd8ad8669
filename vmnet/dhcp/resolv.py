"""resolv.conf as glibc reads it, and in words what of it a guest cannot use. Pure; imports next to nothing."""

from __future__ import annotations

from socket import AF_INET, AF_INET6, inet_ntop, inet_pton

from vmnet.model import Resolver

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


def _nameserver(word: str) -> tuple[str, str]:
    """(address, "") of a resolver that a guest may be given, or ("", why not)."""
    # glibc ends the address at the first comment sign or blank; a zone says something on one machine only.
    address = word.partition("#")[0].partition(";")[0].partition("%")[0]
    for family in (AF_INET, AF_INET6):
        try:
            packed = inet_pton(family, address)
        except (OSError, ValueError):  # ValueError: a NUL within
            continue
        packed = packed.removeprefix(_V4_MAPPED)
        if _own_loopback(packed):
            return "", (
                f"resolv.conf: nameserver {address} is the pod's own loopback, which the guest cannot reach: "
                "without another nameserver the guest resolves no names"
            )
        return inet_ntop(AF_INET if len(packed) == 4 else AF_INET6, packed), ""
    return "", f"resolv.conf: nameserver {word!r} is not an address: left out"


def _own_loopback(packed: bytes) -> bool:
    """Whether an address means "this machine": 127/8, 0.0.0.0 (glibc takes it for the loopback), ::1, ::."""
    if len(packed) == 4:
        return packed[0] == 127 or packed == b"\0\0\0\0"
    return packed in _UNSPECIFIED_OR_LOOPBACK_6


def _domains(words: list[str]) -> tuple[list[str], list[str]]:
    domains: list[str] = []
    warnings: list[str] = []
    for word in words:
        domain = word.lower().removesuffix(".")
        fault = _fault(domain)
        if fault:
            warnings.append(f"resolv.conf: search domain {word!r} {fault}: left out")
        elif domain not in domains:
            domains.append(domain)
    return domains, warnings


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
