"""`vmnet support-bundle`: one tar with all that somebody needs who is asked for help."""

from __future__ import annotations

import importlib.metadata
import io
import json
import os
import platform
import subprocess
import tarfile
from dataclasses import dataclass
from typing import TYPE_CHECKING

import vmnet
from vmnet.agent import lifecycle
from vmnet.agent.place import at
from vmnet.control import call, processes
from vmnet.diagnosis import frames, output, pcap, plan, status
from vmnet.diagnosis.dissect import host_names
from vmnet.diagnosis.own_names import own_names
from vmnet.diagnosis.redact import Redactor
from vmnet.diagnosis.sight import look
from vmnet.errors import RefusedError
from vmnet.kernel import firewall
from vmnet.saved.journal import JOURNAL, LARGEST_JOURNAL
from vmnet.show.outline import plain

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from vmnet.control.report import Frame
    from vmnet.diagnosis.frames import Scene
    from vmnet.diagnosis.sight import Sight
    from vmnet.saved.journal import BindingDirectory
    from vmnet.settings.config import Config

SCHEMA = 1
_LOG_BYTES = 1 << 18
_WIDTH = 100
_PATIENCE = 5.0
_DISTRIBUTIONS = ("pyroute2", "scapy", "msgspec", "libvirt-python", "rich")


@dataclass(frozen=True, slots=True)
class Contents:
    """What goes into the tar, and why other things do not."""

    files: dict[str, str | bytes]
    missing: dict[str, str]


def bundle(config: Config, path: str, *, redact: bool) -> dict[str, str]:
    """Write the tar, which nobody else can read; return what is missing in it, and why.

    Raises:
        UsageError: it cannot be written, or there is such a file already.
        RefusedError: several bindings are meant, or this is the host's own namespace.
    """
    seen = _seen(config)
    contents = _gathered(config, seen)
    if redact:
        contents = _redacted(contents, config, seen)
    said = {"schema": SCHEMA, "redacted": redact, "files": sorted(contents.files), "missing": contents.missing}
    _write(path, {"contents.json": json.dumps(said, indent=2), **contents.files})
    return contents.missing


@dataclass(frozen=True, slots=True)
class _Seen:
    """The binding, its server's frames and where its files are."""

    sight: Sight
    frames: tuple[Frame, ...] | None
    """None where no server answers."""
    directory: BindingDirectory | None


def _seen(config: Config) -> _Seen:
    with at(config) as place:
        sight = look(place, config)
        journal = sight.report.journal
        directory = place.state.existing(journal.pod.ifname) if journal else None
        kept = call.ask_frames(directory) if directory else None
        return _Seen(sight, None if kept is None else tuple(kept), directory)


def _gathered(config: Config, seen: _Seen) -> Contents:
    """Make every part that can be made: a bundle is asked for where things are broken."""
    parts: dict[str, Callable[[], str | bytes]] = {
        "status.json": lambda: _json(status.value(seen.sight)),
        "status.txt": lambda: plain(status.outline(seen.sight), _WIDTH),
        "doctor.json": lambda: _doctor(config),
        "plan.json": lambda: plan.plan_json(lifecycle.plan(config)),
        "plan.txt": lambda: plain(plan.plan_outline(lifecycle.plan(config)), _WIDTH),
        "versions.json": lambda: _json(_versions()),
        "capture.txt": lambda: _capture_text(seen),
        "capture.pcap": lambda: _capture_file(seen),
        "journal.json": lambda: _kept(seen, JOURNAL, LARGEST_JOURNAL),
        "server.log": lambda: "\n".join(processes.log_lines(_directory(seen), _LOG_BYTES)),
    }
    contents = Contents({}, {})
    for name, make in parts.items():
        try:
            contents.files[name] = make()
        except Exception as error:  # noqa: BLE001 # whatever is wrong with one part, the others are wanted
            contents.missing[name] = str(error) or type(error).__name__
    return contents


def _doctor(config: Config) -> str:
    from vmnet.diagnosis import report
    from vmnet.diagnosis.gather import Wishes, gather

    return report.as_json((gather(config, Wishes()),))


def _versions() -> dict[str, str | None]:
    kernel = os.uname()
    installed = {name: _version(name) for name in _DISTRIBUTIONS}
    own = {"vmnet": vmnet.__version__, "python": platform.python_version(), "nft": _nft()}
    return {**own, "kernel": f"{kernel.sysname} {kernel.release} {kernel.machine}", **installed}


def _version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def _nft() -> str | None:
    program = firewall.program()
    if program is None:
        return None
    said = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=_PATIENCE, check=False)
    return said.stdout.strip()


def _directory(seen: _Seen) -> BindingDirectory:
    if seen.directory is None:
        raise RefusedError("no binding is up here, or its state directory is lost")
    return seen.directory


def _kept(seen: _Seen, name: str, at_most: int) -> bytes:
    return _directory(seen).read(name, at_most) or b""


def _frames(seen: _Seen) -> tuple[tuple[Frame, ...], Scene]:
    journal = seen.sight.report.journal
    if seen.frames is None or journal is None:
        raise RefusedError("no DHCP server answers")
    return seen.frames, frames.scene(journal.vm_mac)


def _capture_text(seen: _Seen) -> str:
    kept, told = _frames(seen)
    return "\n".join(frames.line(frame, told) for frame in kept)


def _capture_file(seen: _Seen) -> bytes:
    kept, told = _frames(seen)
    return pcap.header() + b"".join(
        pcap.record(told.nanoseconds(frame), frame.length, frame.data) for frame in kept
    )


def _redacted(contents: Contents, config: Config, seen: _Seen) -> Contents:
    """Replace what tells whose they are; what cannot be replaced is left out."""
    redactor = Redactor(_names(config, seen))
    files: dict[str, str | bytes] = {}
    missing = {name: redactor(why) for name, why in contents.missing.items()}
    for name, data in contents.files.items():
        if name.endswith(".pcap"):
            missing[name] = "left out: bytes of frames cannot be redacted"
        else:
            files[name] = redactor.document(data.decode(errors="replace") if isinstance(data, bytes) else data)
    return Contents(files, missing)


def _names(config: Config, seen: _Seen) -> Iterator[str]:
    """Every name that is known, and those that the guest says."""
    yield from own_names(config, seen.sight.report.journal)
    for frame in seen.frames or ():
        yield from host_names(frame.data)


def _json(value: object) -> str:
    return json.dumps(value, indent=2)


def _write(path: str, files: dict[str, str | bytes]) -> None:
    with output.opened(path, new=True) as file, tarfile.open(fileobj=file, mode="w|") as tar:
        for name, data in files.items():
            octets = data.encode(errors="backslashreplace") if isinstance(data, str) else data
            member = tarfile.TarInfo(f"vmnet-support/{name}")
            member.size = len(octets)
            tar.addfile(member, io.BytesIO(octets))
