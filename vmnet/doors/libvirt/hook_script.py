"""The script that libvirt finds in its hooks directory: put there, and taken away again."""

from __future__ import annotations

import contextlib
import os
import shlex
import stat
import sys
from typing import TYPE_CHECKING

import vmnet
from vmnet.errors import RefusedError, UsageError
from vmnet.show.log import say

if TYPE_CHECKING:
    from collections.abc import Iterator

NAME = "qemu.d/50-vmnet"
_MARK = "# The hook of vmnet: made by `vmnet hook install`, removed by `vmnet hook uninstall`."
_PACKAGE_ROOT = os.path.dirname(os.path.dirname(os.path.abspath(vmnet.__file__)))
_ENTER = "import sys; sys.path.append(sys.argv.pop(1)); from vmnet.__main__ import hook; hook()"
_LARGEST = 64 * 1024


def script(state_dir: str) -> str:
    """Return the script. It is one for /bin/sh so that, should Python be gone, a running guest survives that."""
    command = shlex.join([sys.executable, "-I", "-c", _ENTER, _PACKAGE_ROOT, state_dir])
    return f"""\
#!/bin/sh
{_MARK}
# $1 the domain, $2 the operation, $3 its step; the domain's XML is on stdin.
vmnet() {{
    {command} "$@" >/dev/null
}}
case "$2 $3" in
"prepare begin" | "release end") vmnet "$@" ;;
"reconnect begin") vmnet "$@" || exit 0 ;; # libvirt kills a running guest whose hook fails here
esac
"""


def install(directory: str, state_dir: str) -> None:
    """Put the hook in place, whole or not at all; one of ours that is there already is replaced.

    Raises:
        UsageError: there is no such directory.
        RefusedError: a file that is not ours has the name, or the directory cannot be written.
    """
    path = f"{directory}/{NAME}"
    wanted = script(state_dir)
    if not os.path.isdir(directory):
        raise UsageError(f"{directory} is no directory; name libvirt's directory of hooks with --dir")
    found = _ours(path)
    if found == wanted and os.stat(path).st_mode & 0o777 == 0o755:
        say("info", "hook", f"{path} is there already", path=path, changed=False)
        return
    try:
        with contextlib.suppress(FileExistsError):
            os.mkdir(os.path.dirname(path), mode=0o755)
        _write(directory, path, wanted)
    except OSError as error:
        raise RefusedError(f"cannot write {path}: {error.strerror}") from error
    say("info", "hook", f"{path} is there; libvirtd looks for hooks when it starts", path=path, changed=True)


def uninstall(directory: str) -> None:
    """Remove the hook.

    Raises:
        RefusedError: the file is not ours, or cannot be removed.
    """
    path = f"{directory}/{NAME}"
    if _ours(path) is None:
        say("info", "hook", f"{path} is not there", path=path, changed=False)
        return
    try:
        os.unlink(path)
    except OSError as error:
        raise RefusedError(f"cannot remove {path}: {error.strerror}") from error
    say("info", "hook", f"{path} is gone", path=path, changed=True)


def _ours(path: str) -> str | None:
    """Return the script that is there; None where there is none.

    Raises:
        RefusedError: what is there is not ours.
    """
    try:
        with _opened(path) as descriptor:
            text = os.read(descriptor, _LARGEST).decode(errors="replace")
            if stat.S_ISREG(os.fstat(descriptor).st_mode) and _MARK in text.splitlines()[:2]:
                return text
    except FileNotFoundError:
        return None
    except OSError as error:
        raise RefusedError(f"{path} is not vmnet's ({error.strerror}); move it away") from error
    raise RefusedError(f"{path} is not vmnet's; move it away")


@contextlib.contextmanager
def _opened(path: str) -> Iterator[int]:
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _write(directory: str, path: str, text: str) -> None:
    """Write beside qemu.d, not in it: libvirt runs whatever it finds in there."""
    scratch = f"{directory}/.50-vmnet.{os.getpid()}"
    descriptor = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(text)
            file.flush()
            os.fchmod(file.fileno(), 0o755)
            os.fsync(file.fileno())
        os.rename(scratch, path)
    except OSError:
        os.unlink(scratch)
        raise
