"""The walls around a DHCP client: `jail.py NETNS DIRECTORY PROGRAM [ARGUMENT…] [--then PROGRAM …]…`.

DHCP clients and their scripts write to /etc, /var and /run and rename the host. In here they live in the network
namespace of the file NETNS and in mount, UTS and PID namespaces of their own: everything is read-only, but for an
overlay on /etc and /var and a directory of DIRECTORY on /run, where the caller finds what the client wrote:

    DIRECTORY/etc  what it wrote to /etc        DIRECTORY/run           its /run
    DIRECTORY/var  what it wrote to /var        DIRECTORY/run/hostname  what it called the host

The programs run one after the other; when the last one ends, whatever they left running ends with them.
"""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import struct
import subprocess
import sys
from pathlib import Path

CLONE_NEWNS = 0x00020000
CLONE_NEWUTS = 0x04000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000
MS_RDONLY = 1
MS_BIND = 4096
MS_REC = 16384
MS_PRIVATE = 1 << 18
PR_SET_PDEATHSIG = 1
SYS_MOUNT_SETATTR = 442
AT_FDCWD = -100
AT_RECURSIVE = 0x8000
MOUNT_ATTR_RDONLY = 1
THEN = "--then"
UNNAMED = "localhost"
"""The host's name before DHCP: stock scripts replace no other."""

LIBC = ctypes.CDLL(None, use_errno=True)


def checked(result: int, what: str) -> None:
    """Turn a failed C call into an OSError."""
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), what)


def mount(source: str, target: str, kind: str = "", flags: int = 0, data: str = "") -> None:
    """Mount a file system, or change how a mounted one is mounted."""
    words = [word.encode() for word in (source, target, kind)]
    checked(LIBC.mount(*words, ctypes.c_ulong(flags), data.encode()), f"mount {target}")


def read_only(path: str, yes: bool, flags: int = 0) -> None:
    """Set or lift the read-only mark of a mount; device nodes on it work either way."""
    marks = (MOUNT_ATTR_RDONLY, 0) if yes else (0, MOUNT_ATTR_RDONLY)
    attributes = ctypes.create_string_buffer(struct.pack("QQQQ", *marks, 0, 0), 32)
    result = LIBC.syscall(SYS_MOUNT_SETATTR, AT_FDCWD, path.encode(), flags, attributes, ctypes.c_size_t(32))
    checked(result, f"mount_setattr {path}")


def overlay(directory: str, name: str) -> None:
    """Let writes to /NAME go to DIRECTORY/NAME."""
    upper, work = f"{directory}/{name}", f"{directory}/{name}.work"
    mount("overlay", f"/{name}", "overlay", 0, f"lowerdir=/{name},upperdir={upper},workdir={work}")


def build(directory: str) -> None:
    """Raise the walls; only the new mount, UTS and PID namespaces see them."""
    for name in ("etc", "etc.work", "var", "var.work", "run"):
        Path(directory, name).mkdir(exist_ok=True)
    mount("", "/", flags=MS_REC | MS_PRIVATE)
    overlay(directory, "etc")
    overlay(directory, "var")
    mount(f"{directory}/run", "/run", flags=MS_BIND)
    read_only("/", yes=True, flags=AT_RECURSIVE)
    for path in ("/etc", "/var", "/run"):
        read_only(path, yes=False)
    mount("proc", "/proc", "proc")
    mount("sysfs", "/sys", "sysfs", MS_RDONLY)
    mount("tmpfs", "/tmp", "tmpfs")  # noqa: S108 -- the jail's own
    socket.sethostname(UNNAMED)


def enter(netns: str) -> None:
    """Go into another network namespace; a DHCP client in the machine's own would take over its address."""
    with open(netns, "rb") as file:
        if os.fstat(file.fileno()).st_ino == Path("/proc/self/ns/net").stat().st_ino:
            sys.exit(f"jail: {netns} is the network namespace of the caller")
        checked(LIBC.setns(file.fileno(), CLONE_NEWNET), f"setns {netns}")


def commands(words: list[str]) -> list[list[str]]:
    """Split the words at `--then`."""
    parts: list[list[str]] = [[]]
    for word in words:
        if word == THEN:
            parts.append([])
        else:
            parts[-1].append(word)
    return parts


def live(directory: str, words: list[str]) -> int:
    """Be the first process inside: build, run the programs, leave the host's name behind."""
    checked(LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0), "prctl")
    build(directory)
    code = 0
    for command in commands(words):
        code = subprocess.call(command, stdin=subprocess.DEVNULL)
        if code != 0:
            break
    with open("/run/hostname", "w", encoding="utf-8") as file:
        file.write(socket.gethostname())
    return code


def main(argv: list[str]) -> int:
    """Make the namespaces, put a child in, wait for it; if we die, it dies."""
    netns, directory, *words = argv
    enter(netns)
    checked(LIBC.unshare(CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWPID), "unshare")
    child = os.fork()
    if child == 0:
        try:
            os._exit(live(directory, words))
        except OSError as error:
            print(f"jail: {error}", file=sys.stderr, flush=True)  # noqa: T201
            os._exit(125)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status) & 0xFF


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
