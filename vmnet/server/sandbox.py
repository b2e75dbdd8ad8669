"""What the server gives up before it looks at the guest's first byte, stage by stage.

Everything it will ever need is open and imported by then. What it cannot give up for want of a capability is told
and not fatal: a container that drops ALL takes away those that becoming nobody needs. With a capability, or with a
seccomp that the kernel has and refuses, it does not face a guest at all.
"""

from __future__ import annotations

import _ctypes  # `ctypes` around it would cost half a MiB more
import posix
import resource
import struct

from vmnet.server import seccomp
from vmnet.server.log import LARGEST_LOG

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from vmnet.server.json_text import Json

ON, OFF = "on", "off"
"""What the server's last argument says; UID:GID is on, too, as that user."""
OWN_ID, NOBODY = 65525, 65534
"""Uid and gid. Whoever else is nobody may signal nobody; ours is of the few that no distribution gives to anybody
(systemd.io/UIDS-GIDS), and most user namespaces have it. The others have nobody."""
LIMITS = (
    (resource.RLIMIT_NOFILE, 16),  # those that it has, and one who asks
    (resource.RLIMIT_NPROC, 0),
    (resource.RLIMIT_CORE, 0),
    (resource.RLIMIT_FSIZE, LARGEST_LOG),
    (resource.RLIMIT_DATA, 64 << 20),  # seven times what it takes: a leak ends it, and not the pod
    (resource.RLIMIT_AS, 256 << 20),  # what is shared or grows down is not counted as data
    (resource.RLIMIT_MEMLOCK, 0),
    (resource.RLIMIT_MSGQUEUE, 0),
)
"""getrlimit(2); both the soft limit and the hard one."""
_PR_SET_SECCOMP, _PR_CAPBSET_READ, _PR_CAPBSET_DROP, _PR_SET_NO_NEW_PRIVS, _PR_CAP_AMBIENT = 22, 23, 24, 38, 47
_PR_CAP_AMBIENT_CLEAR_ALL = 4
"""linux/prctl.h."""
_SECCOMP_MODE_FILTER = 2
"""linux/seccomp.h."""
_CAPABILITY_HEADER, _NO_CAPABILITIES = struct.pack("Ii", 0x20080522, 0), bytes(24)
"""linux/capability.h: version 3, this process; three sets of 64 bits."""
_LANDLOCK_CREATE_RULESET, _LANDLOCK_RESTRICT_SELF = 444, 446
_LANDLOCK_CREATE_RULESET_VERSION = 1
"""linux/landlock.h; the numbers are the same on all machines."""
_FILE_RIGHTS_OF_ABI = (13, 14, 15, 15, 16)
"""How many LANDLOCK_ACCESS_FS_* there are in ABI 1, 2, 3, 4, and from 5 on."""
_EINVAL, _EFAULT, _ENOSYS, _EOPNOTSUPP = 22, 14, 38, 95
"""asm-generic/errno.h; `errno` holds a hundred more."""


class _Function(_ctypes.CFuncPtr):
    """A function of the C library that returns an int and sets errno."""

    _flags_ = _ctypes.FUNCFLAG_CDECL | _ctypes.FUNCFLAG_USE_ERRNO


class _Byte(_ctypes._SimpleCData):  # type: ignore[type-arg] # generic to typeshed alone
    """What memory with an address is made of; `array` would import `collections.abc`, which costs 0.4 MiB."""

    _type_ = "c"


class _NotReachedError(Exception):
    """What a stage needs is not here; says what."""


def enter(wish: str, packets: tuple[int, ...], mute: tuple[int, ...], others: tuple[int, ...]) -> dict[str, Json]:
    """Give everything up but these descriptors and the standard ones; say what was reached, and what not and why.

    Only `packets` may be bound anew; nothing is sent from those that are `mute`.

    Raises:
        OSError: serving a hostile guest like this is not what anybody asked for.
    """
    if wish == OFF:
        return {"on": False, "reached": (), "missed": {}}
    stages: tuple[tuple[str, bool, Callable[[], object]], ...] = (
        ("descriptors", False, lambda: _close_but({0, 1, 2, *packets, *mute, *others})),
        ("bounding", False, _empty_bounding_set),
        ("user", False, lambda: _become(wish)),
        ("capabilities", True, _shed_capabilities),
        ("no_new_privs", True, lambda: _prctl(_PR_SET_NO_NEW_PRIVS, 1)),
        ("limits", False, _set_limits),
        ("landlock", False, _renounce_files),
        ("seccomp", True, lambda: _filter_calls(packets, mute)),
    )
    reached, missed = [], {}
    for name, required, step in stages:
        try:
            step()
        except _NotReachedError as reason:
            missed[name] = str(reason)
        except OSError as error:
            if required:
                raise OSError(error.errno, f"{name}: {error.strerror}") from error
            missed[name] = error.strerror or "refused"
        else:
            reached.append(name)
    return {"on": True, "reached": tuple(reached), "missed": missed}


def _close_but(kept: set[int]) -> None:
    """Close what the agent's caller left open in it, and so in us."""
    for name in posix.listdir("/proc/self/fd"):
        if int(name) not in kept:
            try:
                posix.close(int(name))
            except OSError:
                continue  # it was of the list itself


def _empty_bounding_set() -> None:
    """Let nothing that is executed hold a capability again; nor keep one over exec by the ambient set."""
    _prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL)
    for capability in range(64):
        try:
            if _prctl(_PR_CAPBSET_READ, capability):
                _prctl(_PR_CAPBSET_DROP, capability)
        except PermissionError:
            raise _NotReachedError("CAP_SETPCAP is missing") from None
        except OSError:
            return  # EINVAL: the kernel has no more


def _become(wish: str) -> None:
    """Be the user that is wished for, else one of our own where we are root."""
    if wish != ON:
        uid, gid = map(int, wish.split(":"))
        if not _became(uid, gid):
            raise _NotReachedError(f"there is no {uid}:{gid} in this user namespace")
    elif posix.getuid() == 0 and not (_became(OWN_ID, OWN_ID) or _became(NOBODY, NOBODY)):
        raise _NotReachedError(f"there is neither {OWN_ID} nor {NOBODY} in this user namespace")


def _became(uid: int, gid: int) -> bool:
    """Become that user and nobody's group member; False where the user namespace has no such uid or gid."""
    try:
        posix.setgroups([])
        posix.setresgid(gid, gid, gid)
        posix.setresuid(uid, uid, uid)
    except PermissionError:
        raise _NotReachedError("CAP_SETUID or CAP_SETGID is missing") from None
    except OSError:
        return False
    return True


def _shed_capabilities() -> None:
    _call("capset", _CAPABILITY_HEADER, _NO_CAPABILITIES)


def _set_limits() -> None:
    for kind, limit in LIMITS:
        _, hard = resource.getrlimit(kind)
        lower = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
        resource.setrlimit(kind, (lower, lower))


def _renounce_files() -> None:
    """Use Landlock: no right to any file, TCP port, other process or abstract socket, so far as it knows these."""
    try:
        abi = _call("syscall", _LANDLOCK_CREATE_RULESET, 0, 0, _LANDLOCK_CREATE_RULESET_VERSION)
    except OSError as error:
        if error.errno in (_ENOSYS, _EOPNOTSUPP):
            raise _NotReachedError("the kernel has no Landlock") from None
        raise
    files = (1 << _FILE_RIGHTS_OF_ABI[min(abi, len(_FILE_RIGHTS_OF_ABI)) - 1]) - 1
    attributes = struct.pack("QQQ", files, 3 if abi >= 4 else 0, 3 if abi >= 6 else 0)
    rules = _call("syscall", _LANDLOCK_CREATE_RULESET, attributes, len(attributes), 0)
    try:
        _call("syscall", _LANDLOCK_RESTRICT_SELF, rules, 0)
    finally:
        posix.close(rules)


def _filter_calls(packets: tuple[int, ...], mute: tuple[int, ...]) -> None:
    machine = posix.uname().machine
    program = seccomp.program(machine, packets, mute) if struct.calcsize("P") == 8 else b""
    if not program:
        raise _NotReachedError(f"there is no table of system calls for {machine}")
    if not _has_seccomp():
        raise _NotReachedError("the kernel has no seccomp")
    memory = (_Byte * len(program)).from_buffer_copy(program)
    _prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, struct.pack("HP", len(program) // 8, _ctypes.addressof(memory)))


def _has_seccomp() -> bool:
    """Ask with no program at all, which a kernel that has filters looks for (seccomp(2), NOTES)."""
    try:
        _prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER)
    except OSError as error:
        return error.errno not in (_EINVAL, _ENOSYS)
    return True


def _prctl(*arguments: int | bytes) -> int:
    return _call("prctl", *arguments, *(0,) * (5 - len(arguments)))


def _call(name: str, *arguments: int | bytes) -> int:
    """Call a function of the C library.

    Raises:
        OSError: it failed.
    """
    program = _ctypes.dlopen(None, 0)  # type: ignore[arg-type] # dlopen(3): NULL is the program itself
    result: int = _Function(_ctypes.dlsym(program, name))(*arguments)
    if result < 0:
        number = _ctypes.get_errno()
        raise OSError(number, posix.strerror(number))
    return result
