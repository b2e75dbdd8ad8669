"""A program of the guest behind the walls of `jail.py`, and what it left there for us to read."""

from __future__ import annotations

import re
import signal
import sys
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from testbed.netns import Background, TestbedError, background, run
from testbed.patience import PATIENCE

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from testbed.tap_guest import TapGuest

JAIL = Path(__file__).with_name("jail.py")
SECONDS = {"y": 31557600, "month": 2629800, "w": 604800, "d": 86400, "h": 3600, "min": 60, "s": 1}


@dataclass(frozen=True, slots=True)
class Told:
    """What a client wrote down beside the kernel's facts."""

    nameservers: tuple[str, ...] = ()
    search: tuple[str, ...] = ()
    hostname: str = ""
    lease_time: int | None = None


@dataclass(frozen=True, slots=True)
class Jail:
    """A jail for programs of a guest: whose they are, and the directory behind the walls."""

    guest: TapGuest
    directory: Path

    def command(self, *argv: str | Path) -> list[str | Path]:
        """The argument list that runs a program in the jail."""
        return [sys.executable, "-I", "-S", JAIL, self.guest.netns.path, self.directory, *argv]

    @property
    def log(self) -> Path:
        """Where all its output goes."""
        return self.directory / "log"

    def write(self, name: str, text: str, mode: int = 0o644) -> None:
        """Put a file where the jail will have it: `etc/…`, `run/…` or `var/…`."""
        path = self.directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        path.chmod(mode)

    def read(self, name: str) -> str:
        """What a file of the jail holds; nothing where there is none."""
        path = self.directory / name
        return path.read_text(encoding="utf-8") if path.exists() else ""

    def to_the_end(self, *argv: str | Path) -> str:
        """Jail a one-shot program; any exit code but 0 is an error. Gives what it printed."""
        with background(self.command(*argv), self.log) as program:
            code = program.wait(PATIENCE)
            if code != 0:
                raise TestbedError(f"{program}: exit code {code}; it said:\n{program.text}")
            return program.text

    def resolver(self) -> Told:
        """Read the resolv.conf it left behind."""
        return read_resolv_lines(self.read("etc/resolv.conf").splitlines())


@dataclass(frozen=True, slots=True)
class Client:
    """A DHCP client, and what must be installed for it: a program, and the Debian package that brings it."""

    name: str
    program: str
    package: str
    command: Callable[[Jail], list[str | Path]]
    """Writes its configuration; gives the argument list that runs it in the foreground of its jail."""
    bound: str
    """What its log says once the guest is configured."""
    told: Callable[[Jail, Background], Told]
    ending: signal.Signals = signal.SIGTERM
    """What makes it end, and give its lease back if it ever does."""
    release: tuple[str, ...] = ()
    """What is to be run afterwards to give the lease back, where another program does it."""
    main: str = ""
    """Its process, where that is not the program."""


def inside(jail: Jail, program: str) -> int:
    """The id of a program that runs in the jail, by the kernel's name for it, and not of its children."""
    named = {}
    for pid in jail.guest.netns.processes():
        with suppress(FileNotFoundError, ProcessLookupError):  # it ended meanwhile
            status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
            if re.search(rf"^Name:\t{re.escape(program[:15])}$", status, re.MULTILINE):
                named[pid] = int(re.findall(r"^PPid:\t(\d+)$", status, re.MULTILINE)[0])
    [main] = [pid for pid, parent in named.items() if parent not in named]
    return main


def hostname(running: Background) -> str:
    """What the host is called behind the walls, now."""
    return run(["nsenter", f"--uts=/proc/{running.process.pid}/ns/uts", "hostname"]).stdout.strip()


def with_lease(resolver: Told, told: Mapping[str, str], hostname: str, lease_time: str) -> Told:
    """Add host name and lease time, which each client calls differently."""
    return replace(resolver, hostname=told.get(hostname, ""), lease_time=time_span(told.get(lease_time, "")))


def time_span(text: str) -> int | None:
    """Understand seconds, or a time span as newer systemd writes them (systemd.time(7)): `1d`, `11h 59min 30s`."""
    if text.isdecimal():
        return int(text)
    parts = re.findall(r"(\d+)([a-z]+)", text)
    return sum(int(number) * SECONDS[unit] for number, unit in parts) if parts else None


def read_resolv_lines(lines: Sequence[str]) -> Told:
    """Find name servers and search list as glibc does: the last `search` or `domain` counts."""
    words = [line.split() for line in lines if line.strip()]
    search = [line[1:] for line in words if line[0] in ("search", "domain")]
    return Told(
        nameservers=tuple(line[1] for line in words if line[0] == "nameserver"),
        search=tuple(name.rstrip(".") for name in search[-1]) if search else (),
    )


def assignments(text: str) -> dict[str, str]:
    """Read NAME=VALUE lines."""
    found = re.findall(r"^(\w+)=['\"]?(.*?)['\"]?$", text, re.MULTILINE)
    return {name: value for name, value in found if value}
