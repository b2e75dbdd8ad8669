"""Which name servers are the pod's: the resolv.conf that is read, and what stands behind a stub in it."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING

from vmnet.errors import UsageError
from vmnet.model.lease import Resolver
from vmnet.settings.config import DEFAULT_RESOLV_CONF, resolver_text, small_file
from vmnet.settings.resolv import loopbacks, parse

if TYPE_CHECKING:
    from vmnet.settings.config import Config

_OF_NETNS = "/etc/netns"
"""Where ip-netns(8) looks for the files of a named namespace that it puts over those in /etc."""
_NAMED = ("/run/netns/", "/var/run/netns/")
_SYSTEMD_STUBS = frozenset(("127.0.0.53", "127.0.0.54"))
"""systemd-resolved(8)."""
_DOCKER = "127.0.0.11"
_SYSTEMD = ("/run/systemd/resolve/resolv.conf",)
_OTHERS = ("/run/NetworkManager/no-stub-resolv.conf", "/run/dnsmasq/resolv.conf", *_SYSTEMD)
"""Where NetworkManager, and resolvconf for dnsmasq, write the servers that their stub asks."""
_LONGEST_HOSTNAME = 254


def path(config: Config) -> str:
    """Return the path of the resolv.conf that is meant."""
    return config.resolv_conf or _of_netns(config.netns, "resolv.conf") or DEFAULT_RESOLV_CONF


def text(config: Config) -> str | None:
    """Return what that file says; None where the default one does not exist.

    Raises:
        UsageError: a named file is not there, or it is no text file of a sensible size.
    """
    if config.resolver_text is not None:
        return config.resolver_text
    meant = path(config)
    return resolver_text("" if meant == DEFAULT_RESOLV_CONF and not config.resolv_conf else meant)


def resolver(config: Config) -> Resolver:
    """Read what the pod's resolv.conf says, or what stands behind it where it names a stub only.

    Raises:
        UsageError: a named file is not there, or it is no text file of a sensible size.
    """
    said = text(config)
    if said is None:
        return Resolver(warnings=("there is no resolv.conf: the guest gets no DNS server; name one with --dns",))
    found = parse(said)
    return found if found.nameservers else _behind_stub(found, loopbacks(said))


def behind() -> tuple[str, ...]:
    """Return what all the files say that may stand behind a stub."""
    return tuple(map(_text, dict.fromkeys((*_SYSTEMD, *_OTHERS))))


def hostname(config: Config) -> str:
    """Return the host name that the pod goes by; of a named namespace the one that /etc/netns has for it."""
    named = _of_netns(config.netns, "hostname")
    return _first_line(named, _LONGEST_HOSTNAME) if named else config.default_hostname


def within(config: Config) -> Config:
    """Return the same for whoever has entered the namespace already: its own files by their paths."""
    own = path(config)
    named = config.resolv_conf or ("" if own == DEFAULT_RESOLV_CONF else own)
    return replace(
        config, netns="", entered=bool(config.netns), resolv_conf=named, default_hostname=hostname(config)
    )


def borrowed(config: Config) -> str:
    """Say what is taken from where vmnet runs, or is missing, because a namespace has neither; else nothing."""
    if not config.netns:
        return ""
    dns = path(config) == DEFAULT_RESOLV_CONF and config.settings.told.nameservers is None
    name = not config.settings.hostname and not hostname(config)
    servers = f"the guest gets the DNS servers of {DEFAULT_RESOLV_CONF} where vmnet runs"
    said = [f"{servers} (to change that: --resolv-conf or --dns)"] if dns else []
    said += ["the guest gets no host name (to give it one: --hostname)"] if name else []
    return f"network namespace {config.netns}: {'; '.join(said)}" if said else ""


def _of_netns(netns: str, file: str) -> str:
    """Return the path of a file that a named namespace has for itself; empty where it has none."""
    name = next((netns.removeprefix(place) for place in _NAMED if netns.startswith(place)), netns)
    if not name or "/" in name or name in (".", ".."):
        return ""
    own = f"{_OF_NETNS}/{name}/{file}"
    return own if os.path.exists(own) else ""


def _behind_stub(found: Resolver, stubs: tuple[str, ...]) -> Resolver:
    """Take the servers that a stub of this machine asks, from where its program writes them, as podman does."""
    if not stubs or _DOCKER in stubs:
        return found
    for behind in _SYSTEMD if _SYSTEMD_STUBS.issuperset(stubs) else _OTHERS:
        servers = parse(_text(behind))
        if servers.nameservers:
            said = (
                f"resolv.conf names only {', '.join(stubs)}, a stub that the guest cannot reach: "
                f"it gets the servers of {behind}"
            )
            return replace(
                found if found.search else servers,
                nameservers=servers.nameservers,
                warnings=(said, *servers.warnings),
            )
    return found


def _text(file: str) -> str:
    try:
        return small_file(file, "resolver file")
    except UsageError:
        return ""


def _first_line(file: str, most: int) -> str:
    line, _, _ = _text(file).partition("\n")
    return line.strip() if len(line) <= most else ""
