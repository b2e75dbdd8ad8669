"""The names that tell whose a bundle is, by kind: of machines, domains, boot servers, options and paths."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from vmnet.errors import UsageError
from vmnet.model.codec import plain
from vmnet.settings import resolver
from vmnet.settings.config import DEFAULT_STATE_DIR

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vmnet.model.lease import Lease, Lease6
    from vmnet.model.settings import Settings
    from vmnet.saved.schema import Journal
    from vmnet.settings.config import Config

_DOMAINS = ("search", "domain")
_NOT_ADDRESSES = frozenset("ghijklmnopqrstuvwxyz_")


def own_names(config: Config, journal: Journal | None) -> Iterator[str]:
    """Every name of the node, the pod and the guest that this call or the binding knows, now and then."""
    yield from _host(os.uname().nodename)
    yield from _host(config.default_hostname)
    yield from _host(os.environ.get("HOSTNAME", ""))
    yield from _of_resolv_conf(config)
    yield from _of_settings(config.settings)
    yield from (config.netns, os.path.basename(config.netns), config.resolv_conf)
    if config.state_dir != DEFAULT_STATE_DIR:
        yield config.state_dir
    if journal:
        yield from _of_settings(journal.settings)
        for lease in (journal.lease, journal.lease6):
            yield from _of_lease(lease) if lease else ()


def _host(name: str) -> Iterator[str]:
    """A host name, and its first label: that alone is what a guest is told."""
    yield name
    yield name.partition(".")[0]


def _of_resolv_conf(config: Config) -> Iterator[str]:
    """Every domain that the pod's resolv.conf names, and what stands where an address should."""
    try:
        said = (resolver.text(config) or "", *resolver.behind())
    except UsageError:
        return
    for line in "\n".join(said).splitlines():
        keyword, *words = line.split() or ("",)
        if keyword in _DOMAINS or (keyword == "nameserver" and not _is_address(words)):
            for word in words:
                yield from (word, word.removesuffix("."))


def _is_address(words: list[str]) -> bool:
    return bool(words) and not _NOT_ADDRESSES & set(words[0].lower())


def _of_settings(settings: Settings) -> Iterator[str]:
    yield from _host(settings.hostname)
    yield from _texts(plain(settings.told))


def _of_lease(lease: Lease | Lease6) -> Iterator[str]:
    yield from _host(lease.hostname)
    yield from lease.domain_search
    for option in getattr(lease, "options", ()):
        yield f"{option.code}={option.value}"
    yield from _texts(plain(getattr(lease, "boot", None)))


def _texts(value: Any) -> Iterator[str]:  # noqa: ANN401 # JSON is of any type
    """Every text in there that is no address; of a URL what it consists of, too."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for member in value:
            yield from _texts(member)
    if not isinstance(value, str) or not _NOT_ADDRESSES & set(value.lower()):
        return
    yield value
    if "/" in value:
        parts = urlsplit(value)
        yield from (parts.netloc, parts.hostname or "", parts.path, parts.query)
