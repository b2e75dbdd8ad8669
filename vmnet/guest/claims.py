"""Which domain brought up which binding: `release` gives back what `prepare` took, whatever the XML says by then.

STATE_DIR/hook/         of the hook, whatever state directory a domain names for its binding
  lock                  held while a domain's binding is brought up or given back
  UUID.json             the bindings of one domain
  log                   what the hooks said; libvirt shows it only when a start fails
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from vmnet.codec import decode, encode
from vmnet.errors import RefusedError, UsageError
from vmnet.journal import BindingDirectory

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


class ClaimDirectory:
    """The hook's own directory, made if need be. Use it as a context: it holds the lock."""

    def __init__(self, state_dir: str) -> None:
        path = f"{state_dir}/{DIRECTORY}"
        try:
            os.makedirs(state_dir, mode=0o755, exist_ok=True)
            with contextlib.suppress(FileExistsError):
                os.mkdir(path, mode=0o700)
            descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError as error:
            raise RefusedError(f"cannot remember what domains bring up in {path}: {error.strerror}") from error
        self._directory = BindingDirectory(descriptor, path)
        self._locks = contextlib.ExitStack()

    def __enter__(self) -> ClaimDirectory:
        lock = self._locks.enter_context(self._directory.open(_LOCK, os.O_RDWR | os.O_CREAT))
        fcntl.flock(lock, fcntl.LOCK_EX)
        return self

    def __exit__(self, *_exc: object) -> None:
        self._locks.close()
        self._directory.close()

    def of(self, uuid: str) -> tuple[Claim, ...]:
        """Return what the domain has brought up; what cannot be read is nothing."""
        text = self._directory.read(_file_name(uuid), _LARGEST)
        with contextlib.suppress(ValueError):
            return decode(_Claims, text).claims if text else ()
        return ()

    def add(self, uuid: str, claim: Claim) -> None:
        """Remember a binding as this domain's, in place of what it had there."""
        others = tuple(held for held in self.of(uuid) if not _same(held, claim))
        self._write(uuid, (*others, claim))

    def drop(self, uuid: str, claim: Claim) -> None:
        """Forget a binding of the domain."""
        self._write(uuid, tuple(held for held in self.of(uuid) if held != claim))

    def holders(self, claim: Claim) -> tuple[str, ...]:
        """Return the UUIDs of all domains that have a binding with this tap."""
        return tuple(uuid for uuid in self._uuids() if any(_same(held, claim) for held in self.of(uuid)))

    def _uuids(self) -> Iterator[str]:
        for name in sorted(os.listdir(self._directory.descriptor)):
            if name.endswith(_SUFFIX):
                yield name.removesuffix(_SUFFIX)

    def _write(self, uuid: str, claims: tuple[Claim, ...]) -> None:
        name, place = _file_name(uuid), self._directory.descriptor
        try:
            if not claims:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(name, dir_fd=place)
                return
            self._directory.write(f"{name}.new", encode(_Claims(claims)).encode())
            os.rename(f"{name}.new", name, src_dir_fd=place, dst_dir_fd=place)
        except OSError as error:
            path = self._directory.path
            raise RefusedError(f"cannot remember what domains bring up in {path}: {error.strerror}") from error


def _same(one: Claim, other: Claim) -> bool:
    return (one.netns_cookie, one.tap) == (other.netns_cookie, other.tap)


def _file_name(uuid: str) -> str:
    if len(uuid) != 36 or not set(uuid.lower()) <= _UUID_CHARACTERS:
        raise UsageError(f"domain XML: {uuid!r} is no UUID")
    return f"{uuid.lower()}{_SUFFIX}"
