"""The saved facts: what the pod was before the first change, and all that a restarted server needs.

STATE_DIR/                       /run/vmnet unless told otherwise
  netns-COOKIE/                  one per network namespace; cookies are never used again, unlike inodes
    lock                         held while up or down works
    IFNAME/                      one per binding
      journal.json               the facts
      server.pid  server.log  server.sock
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
from typing import TYPE_CHECKING

from vmnet.errors import RefusedError, UsageError
from vmnet.kernel.file_lock import hold
from vmnet.kernel.own_files import DIRECTORY, NotOursError, is_own_directory, own_file
from vmnet.kernel.privileges import remedy
from vmnet.model.codec import encode
from vmnet.model.links import is_link_name
from vmnet.saved.facts import understood

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vmnet.saved.schema import Here, Journal

JOURNAL = "journal.json"
LARGEST_JOURNAL = 6 << 20
"""Bytes that are read: what hostile text of this size makes of Python's memory is some 150 MiB."""
LARGEST_SAVED = 4 << 20
"""Bytes that are written, some 15,000 routes. A later schema may add to each, and is read all the same."""
BEGINNING = 512
"""Bytes in which a journal has said of which boot it is."""
_LOCK = "lock"
_OF = "netns-"
_ATTEMPTS = 100
"""How often a directory may be gone again before it is locked: `_tidy` of others takes it, by much bad luck."""
_NO_DIRECTORY = (errno.ENOTDIR, errno.EEXIST, errno.ENAMETOOLONG, errno.ELOOP)


class BindingDirectory:
    """The directory of one binding, held open, so that nobody can move it from under us."""

    def __init__(self, descriptor: int, path: str) -> None:
        self.descriptor = descriptor
        self.path = path

    def close(self) -> None:
        """Let go of it; `vmnet launch` opens one again and again."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1

    def __del__(self) -> None:
        self.close()

    def save(self, journal: Journal) -> None:
        """Write the journal so that at every instant either the old or the new one is there, whole.

        Raises:
            RefusedError: the disk is full or read-only, or `load` would refuse it; nothing else was touched.
        """
        scratch = f"{JOURNAL}.new"
        data = encode(journal).encode()
        refuse_too_large(data, journal.pod.ifname)
        try:
            self.write(scratch, data)
            os.rename(scratch, JOURNAL, src_dir_fd=self.descriptor, dst_dir_fd=self.descriptor)
            os.fsync(self.descriptor)
        except OSError as error:
            with contextlib.suppress(OSError):
                os.unlink(scratch, dir_fd=self.descriptor)
            raise _unusable(self.path, error) from error

    def renew(self, journal: Journal) -> None:
        """Save the journal again where the saved one is not just so: an older vmnet wrote it.

        Raises:
            RefusedError: the disk is full or read-only; the saved one is still there.
        """
        if self.read(JOURNAL, LARGEST_JOURNAL) != encode(journal).encode():
            self.save(journal)

    def load(self, here: Here) -> Journal | None:
        """Return the saved journal, or None where there is none of this boot.

        Raises:
            RefusedError: there is one that cannot be trusted. It says why, and no remedy: whether it is the only
                copy of the facts this directory does not know. Its cause tells an UnknownSchemaError.
        """
        path = f"{self.path}/{JOURNAL}"
        text = self.read(JOURNAL, LARGEST_JOURNAL + 1)
        if text is None:
            return None
        if len(text) > LARGEST_JOURNAL:
            raise RefusedError(f"{path} cannot be used: it is larger than {LARGEST_JOURNAL} bytes")
        try:
            return understood(text, here)
        except ValueError as error:
            raise RefusedError(f"{path} cannot be used: {error}") from error

    def is_left(self, here: Here) -> bool:
        """Whether there is no journal, or one that an earlier boot has left. Only its first bytes are read.

        Raises:
            RefusedError: it is not a plain file of ours.
        """
        begins = self.read(JOURNAL, BEGINNING)
        return begins is None or said_boot(begins) not in ("", here.boot_id)

    def write(self, name: str, data: bytes) -> None:
        """Write a small file of our own and see it onto the disk; what is there is not written to, but replaced.

        Raises:
            OSError: it could not be written.
        """
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name, dir_fd=self.descriptor)
        descriptor = own_file(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, self.descriptor)
        try:
            while data:
                data = data[os.write(descriptor, data) :]
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def read(self, name: str, at_most: int = 4096) -> bytes | None:
        """Return up to `at_most` bytes of a file of our own, or None where there is none.

        Raises:
            RefusedError: it is not a plain file of ours.
        """
        try:
            with self.open(name, os.O_RDONLY) as descriptor:
                return _read_up_to(descriptor, at_most)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise RefusedError(f"cannot read {self.path}/{name}: {error.strerror}") from error

    def open_to_append(self, name: str) -> int:
        """Open a file of our own to append to, made where there is none. Returns its descriptor.

        Raises:
            OSError: it cannot be opened.
            RefusedError: it is not a plain file of ours.
        """
        with self.open(name, os.O_WRONLY | os.O_CREAT | os.O_APPEND) as descriptor:
            return os.dup(descriptor)

    @contextlib.contextmanager
    def open(self, name: str, flags: int) -> Iterator[int]:
        """Open a file of our own in this directory; what else may lie there is not opened.

        Raises:
            OSError: it cannot be opened.
            RefusedError: it is not a plain file of ours.
        """
        try:
            descriptor = own_file(name, flags, self.descriptor)
        except NotOursError as error:
            raise RefusedError(
                f"{self.path}/{name} is not a regular file that only uid {os.geteuid()} can write, without other "
                "hard links"
            ) from error
        try:
            yield descriptor
        finally:
            os.close(descriptor)

    def remove(self) -> None:
        """Remove what we keep in the directory, the journal first; the directory goes with the lock."""
        for name in sorted(os.listdir(self.descriptor), key=lambda name: name != JOURNAL):
            with contextlib.suppress(OSError):
                os.unlink(name, dir_fd=self.descriptor)


def refuse_too_large(data: bytes, ifname: str) -> None:
    """Refuse facts that are too many to be kept.

    Raises:
        RefusedError: they are.
    """
    if len(data) > LARGEST_SAVED:
        raise RefusedError(
            f"the routes, addresses and permanent neighbours of {ifname} are too many to keep: {len(data)} bytes, "
            f"{LARGEST_SAVED} at most; give the pod fewer"
        )


def said_boot(begins: bytes) -> str:
    """Return the boot that the first bytes of a journal name; empty where they name none."""
    words = begins.partition(b'"boot_id":')[2].split(b'"', 2)
    return words[1].decode("ascii", "replace") if len(words) == 3 else ""


def _read_up_to(descriptor: int, at_most: int) -> bytes:
    """Return what is there: of a large file the kernel may give less than was asked for."""
    parts, left = [], at_most
    while left and (part := os.read(descriptor, left)):
        parts.append(part)
        left -= len(part)
    return b"".join(parts)


def namespaces(root: str, at_most: int) -> tuple[list[int], bool]:
    """Return the cookies of the network namespaces whose state is kept there; of none where it is no directory.

    Only so many entries of the directory are read; also returns whether there are more.
    """
    try:
        names, more = _first_directories(root, at_most)
    except OSError:
        return [], False
    numbers = [name[len(_OF) :] for name in names if name.startswith(_OF)]
    return sorted(map(int, filter(_is_number, numbers))), more


def _is_number(text: str) -> bool:
    """Whether it is written as a cookie is: of 64 bits."""
    return text.isascii() and text.isdigit() and len(text) <= 20 and text == str(int(text))


class StateDirectory:
    """The state of one network namespace under the user's state directory.

    Every step down is taken from the directory above, held open, and never through a link: whoever else may write
    there cannot lead us elsewhere.
    """

    def __init__(self, root: str, netns_cookie: int) -> None:
        self._root = root
        self._name = f"{_OF}{netns_cookie}"
        self._path = os.path.join(root, self._name)

    def bindings(self) -> tuple[str, ...]:
        """Return the ifnames of all bindings that were ever begun and not ended."""
        try:
            with self._namespace() as namespace:
                return tuple(filter(is_link_name, _directories(namespace)))
        except OSError:
            return ()

    def first_bindings(self, at_most: int) -> tuple[list[str], bool]:
        """Return what `bindings` does, but of so many entries only, and whether there are more.

        Raises:
            RefusedError: somebody else could write there.
        """
        try:
            with self._namespace() as namespace:
                names, more = _first_directories(namespace, at_most)
        except OSError:
            return [], False
        return sorted(filter(is_link_name, names)), more

    def existing(self, ifname: str) -> BindingDirectory | None:
        """Return the directory of a binding that was begun, or None.

        Raises:
            UsageError: the ifname is no link name.
            RefusedError: somebody else could write there.
        """
        _refuse_path(ifname)
        path = f"{self._path}/{ifname}"
        try:
            with self._namespace() as namespace:
                return _binding(os.open(ifname, DIRECTORY, dir_fd=namespace), path)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise _unusable(path, error) from error

    def make(self, ifname: str) -> BindingDirectory:
        """Make, or open, the directory of a binding.

        Raises:
            UsageError: the path is no directory, or the ifname no link name.
            RefusedError: it cannot be made, or somebody else could write there.
        """
        _refuse_path(ifname)
        path = f"{self._path}/{ifname}"
        try:
            os.makedirs(self._root, mode=0o755, exist_ok=True)
            with self._namespace(make=True) as namespace:
                return _binding(_made(ifname, namespace), path)
        except OSError as error:
            raise _unusable(path, error) from error

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the namespace's lock: one up or down at a time. The kernel frees it when we die.

        Raises:
            UsageError: the path is no directory.
            RefusedError: the state directory cannot be written.
            WaitTimeoutError: another process has held the lock for a minute.
        """
        try:
            descriptor = self._locked()
        except OSError as error:
            raise _unusable(self._root, error) from error
        try:
            yield
        finally:
            with contextlib.suppress(OSError, RefusedError):
                self._tidy()
            os.close(descriptor)

    @contextlib.contextmanager
    def _root_directory(self) -> Iterator[int]:
        descriptor = os.open(self._root, os.O_RDONLY | os.O_DIRECTORY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            yield descriptor
        finally:
            os.close(descriptor)

    @contextlib.contextmanager
    def _namespace(self, *, make: bool = False) -> Iterator[int]:
        """Open the namespace's directory, made where it shall be.

        Raises:
            OSError: it is not there, or no directory.
            RefusedError: somebody else could write there.
        """
        with self._root_directory() as root:
            descriptor = _made(self._name, root) if make else os.open(self._name, DIRECTORY, dir_fd=root)
        try:
            refuse_others(descriptor, self._path)
            yield descriptor
        finally:
            os.close(descriptor)

    def _locked(self) -> int:
        """Open and lock the lock file; begin again where `_tidy` removed it in between."""
        for _attempt in range(_ATTEMPTS):
            os.makedirs(self._root, mode=0o755, exist_ok=True)
            with contextlib.suppress(FileNotFoundError), self._namespace(make=True) as namespace:
                descriptor = own_file(_LOCK, os.O_RDWR | os.O_CREAT, namespace)
                try:
                    hold(descriptor, f"{self._path}/{_LOCK}")
                    if is_there(descriptor, _LOCK, namespace):
                        return os.dup(descriptor)
                finally:
                    os.close(descriptor)
        raise NotADirectoryError(errno.ENOTDIR, "what is made there is gone at once")

    def _tidy(self) -> None:
        """Remove what is left of bindings that never had or no more have a journal, the lock being held.

        The namespace's directory goes with the last of them.
        """
        with self._namespace() as namespace:
            for ifname in _directories(namespace):
                self._remove_without_journal(ifname, namespace)
            if not _directories(namespace):
                os.unlink(_LOCK, dir_fd=namespace)
                with self._root_directory() as root:
                    os.rmdir(self._name, dir_fd=root)

    def _remove_without_journal(self, ifname: str, namespace: int) -> None:
        directory = BindingDirectory(os.open(ifname, DIRECTORY, dir_fd=namespace), ifname)
        if JOURNAL not in os.listdir(directory.descriptor):
            directory.remove()
            os.rmdir(ifname, dir_fd=namespace)


def _refuse_path(ifname: str) -> None:
    """Refuse what would lead out of the namespace's directory, whoever it comes from."""
    if not is_link_name(ifname):
        raise UsageError(f"{ifname[:64]!a} is no link name: there is no directory of that name")


def _directories(parent: int) -> tuple[str, ...]:
    with os.scandir(parent) as entries:
        return tuple(sorted(entry.name for entry in entries if entry.is_dir(follow_symlinks=False)))


def _first_directories(parent: str | int, at_most: int) -> tuple[list[str], bool]:
    """Return the directories among the first so many entries, in no order, and whether there are more entries."""
    with os.scandir(parent) as entries:
        first = list(itertools.islice(entries, at_most + 1))
        names = [entry.name for entry in first[:at_most] if entry.is_dir(follow_symlinks=False)]
    return names, len(first) > at_most


def _made(name: str, parent: int) -> int:
    """Open a directory of that name, made where there is none."""
    try:
        os.mkdir(name, mode=0o700, dir_fd=parent)
    except FileExistsError:
        pass
    except FileNotFoundError as error:  # /proc, or a directory that was deleted: the parent is open
        raise NotADirectoryError(errno.ENOTDIR, "nothing can be made there") from error
    return os.open(name, DIRECTORY, dir_fd=parent)


def _binding(descriptor: int, path: str) -> BindingDirectory:
    try:
        refuse_others(descriptor, path)
    except RefusedError:
        os.close(descriptor)
        raise
    return BindingDirectory(descriptor, path)


def refuse_others(directory: int, path: str) -> None:
    """Refuse an open directory that is not ours alone.

    Raises:
        RefusedError: it is not.
    """
    if not is_own_directory(os.fstat(directory)):
        raise RefusedError(f"{path} is open to others; it must belong to uid {os.geteuid()} and have mode 0700")


def is_there(descriptor: int, name: str, parent: int) -> bool:
    """Whether that open file is the one of that name."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(name, dir_fd=parent, follow_symlinks=False))
    except FileNotFoundError:
        return False


def _unusable(path: str, error: OSError) -> RefusedError | UsageError:
    kind = UsageError if error.errno in _NO_DIRECTORY else RefusedError
    forbidden = error.errno in (errno.EACCES, errno.EPERM)
    how = (remedy() if forbidden else "") or "name another place with --state-dir"
    return kind(f"cannot write the state directory {path}: {error.strerror or error}; {how}")
