"""Which domain brought up which binding: `release` gives back what `prepare` took, whatever the XML says by then.

STATE_DIR/hook/         of the hook, whatever state directory a domain names for its binding
  lock                  held while what domains have is read or written, which is short
  netns-COOKIE.lock     there and held while a binding in that network namespace is brought up or given back
  UUID.json             the bindings of one domain
  log                   what the hooks said; libvirt shows it only when a start fails
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from vmnet.errors import RefusedError, UsageError, VmnetError
from vmnet.kernel.file_lock import hold
from vmnet.kernel.own_files import DIRECTORY as OPEN_DIRECTORY
from vmnet.kernel.own_files import own_file
from vmnet.model.codec import encode, parse, typed
from vmnet.saved.journal import BindingDirectory, is_there, refuse_others

if TYPE_CHECKING:
    from collections.abc import Iterator

DIRECTORY = "hook"
_LOCK, _SUFFIX = "lock", ".json"
_UUID_CHARACTERS = frozenset("0123456789abcdef-")
_LARGEST = 64 * 1024


@dataclass(frozen=True, slots=True)
class Claim:
    """A binding that a domain has brought up, or begun to."""

    netns: str
    """How to get there; empty for libvirtd's own."""
    netns_cookie: int
    interface: str
    tap: str
    state_dir: str


@dataclass(frozen=True, slots=True)
class _Claims:
    """What is in a domain's file."""

    claims: tuple[Claim, ...]
    name: str = ""
    """The domain's, by which it is found when its XML cannot be read."""


@contextlib.contextmanager
def alone_in(state_dir: str, netns_cookie: int) -> Iterator[None]:
    """Be the only hook at work in that network namespace. Domains in others do not wait for it.

    Raises:
        WaitTimeoutError: another hook was at work there for a minute.
        RefusedError: the hook's directory cannot be used.
    """
    name, directory = f"netns-{netns_cookie:x}.lock", _opened(state_dir)
    with contextlib.closing(directory):
        lock = _held(directory, name)
        while not is_there(lock, name, directory.descriptor):  # its last holder removed it while we waited
            os.close(lock)
            lock = _held(directory, name)
        try:
            yield
        finally:
            with contextlib.suppress(OSError):  # somebody emptied the directory, or it is read-only by now
                os.unlink(name, dir_fd=directory.descriptor)
            os.close(lock)


def _opened(state_dir: str) -> BindingDirectory:
    """Open the hook's own directory, made if need be."""
    path = f"{state_dir}/{DIRECTORY}"
    try:
        os.makedirs(state_dir, mode=0o755, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            os.mkdir(path, mode=0o700)
        descriptor = os.open(path, OPEN_DIRECTORY)
    except OSError as error:
        raise _unusable(path, error) from error
    directory = BindingDirectory(descriptor, path)  # which closes it where it is refused
    refuse_others(descriptor, path)
    return directory


def _held(directory: BindingDirectory, name: str) -> int:
    """Open a lock's file and hold it until it is closed."""
    try:
        lock = own_file(name, os.O_RDWR | os.O_CREAT, directory.descriptor)
    except OSError as error:
        raise _unusable(directory.path, error) from error
    try:
        hold(lock, f"{directory.path}/{name}")
    except VmnetError:
        os.close(lock)
        raise
    return lock


class ClaimDirectory:
    """The hook's own directory, made if need be. Use it as a context: it holds the lock."""

    def __init__(self, state_dir: str) -> None:
        self._directory = _opened(state_dir)
        self._locks = contextlib.ExitStack()

    def __enter__(self) -> ClaimDirectory:
        self._locks.callback(self._directory.close)
        with contextlib.ExitStack() as undone:
            undone.callback(self._locks.close)
            self._locks.callback(os.close, _held(self._directory, _LOCK))
            undone.pop_all()
        return self

    def __exit__(self, *_exc: object) -> None:
        self._locks.close()

    def of(self, uuid: str) -> tuple[Claim, ...]:
        """Return what the domain has brought up; what cannot be read is nothing."""
        return self._said(uuid).claims

    def uuid_of(self, name: str) -> str:
        """Return the UUID of the domain of that name, empty where none or more than one has something here."""
        found = [uuid for uuid in self._uuids() if self._said(uuid).name == name]
        return found[0] if len(found) == 1 else ""

    def add(self, uuid: str, claim: Claim, name: str = "") -> None:
        """Remember a binding as this domain's, in place of what it had there."""
        said = self._said(uuid)
        others = tuple(held for held in said.claims if not _same(held, claim))
        self._write(uuid, _Claims((*others, claim), name or said.name))

    def drop(self, uuid: str, claim: Claim) -> None:
        """Forget a binding of the domain."""
        said = self._said(uuid)
        self._write(uuid, replace(said, claims=tuple(held for held in said.claims if held != claim)))

    def holders(self, claim: Claim) -> tuple[str, ...]:
        """Return the UUIDs of all domains that have a binding with this tap."""
        return tuple(uuid for uuid in self._uuids() if any(_same(held, claim) for held in self.of(uuid)))

    def _uuids(self) -> Iterator[str]:
        for name in sorted(os.listdir(self._directory.descriptor)):
            if name.endswith(_SUFFIX) and _is_uuid(name.removesuffix(_SUFFIX)):
                yield name.removesuffix(_SUFFIX)

    def _said(self, uuid: str) -> _Claims:
        """Read a domain's file; an older vmnet wrote no name."""
        text = self._directory.read(_file_name(uuid), _LARGEST)
        with contextlib.suppress(ValueError):
            value = parse(text) if text else None
            if isinstance(value, dict):
                return typed(_Claims, {"name": "", **value})
        return _Claims(())

    def _write(self, uuid: str, claims: _Claims) -> None:
        name, place = _file_name(uuid), self._directory.descriptor
        try:
            if not claims.claims:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(name, dir_fd=place)
                return
            self._directory.write(f"{name}.new", encode(claims).encode())
            os.rename(f"{name}.new", name, src_dir_fd=place, dst_dir_fd=place)
        except OSError as error:
            raise _unusable(self._directory.path, error) from error


def _unusable(path: str, error: OSError) -> RefusedError:
    return RefusedError(
        f"cannot write the hook's records in {path}: {error.strerror or error}; see that root can write there"
    )


def _same(one: Claim, other: Claim) -> bool:
    return (one.netns_cookie, one.tap) == (other.netns_cookie, other.tap)


def _file_name(uuid: str) -> str:
    if not _is_uuid(uuid):
        raise UsageError(f"domain XML: {uuid[:64]!r} is no UUID")
    return f"{uuid.lower()}{_SUFFIX}"


def _is_uuid(text: str) -> bool:
    return len(text) == 36 and set(text.lower()) <= _UUID_CHARACTERS
