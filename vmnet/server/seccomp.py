"""The system calls that the server may still make, as a classic BPF program (seccomp(2)).

Found by tracing a server through its life: leases, status, a tap made anew, its death. Everything else is answered
with EPERM; a call of another machine's table (`int 0x80` on x86_64) ends the process.
"""

from __future__ import annotations

import struct

_MACHINES = {"x86_64": (0xC000003E, 0), "aarch64": (0xC00000B7, 1)}
"""uname(2) → AUDIT_ARCH_* of linux/audit.h, column of `CALLS`. All of them are little-endian."""
NONE = -1
"""A call that a machine does not have."""
CALLS = {
    # name: (x86_64, aarch64), from asm/unistd_64.h and asm-generic/unistd.h
    "read": (0, 63),
    "pread64": (17, 67),
    "write": (1, 64),
    "close": (3, 57),
    "poll": (7, NONE),
    "ppoll": (271, 73),
    "accept4": (288, 242),
    "getsockname": (51, 204),
    "getsockopt": (55, 209),
    "recvmsg": (47, 212),
    "sendto": (44, 206),
    "bind": (49, 200),
    "ioctl": (16, 29),
    "brk": (12, 214),
    "mmap": (9, 222),
    "mprotect": (10, 226),
    "mremap": (25, 216),
    "munmap": (11, 215),
    "madvise": (28, 233),
    "futex": (202, 98),
    "getrandom": (318, 278),
    "clock_gettime": (228, 113),
    "getpid": (39, 172),
    "getuid": (102, 174),
    "rt_sigaction": (13, 134),
    "rt_sigprocmask": (14, 135),
    "rt_sigreturn": (15, 139),
    "restart_syscall": (219, 128),
    "exit": (60, 93),
    "exit_group": (231, 94),
}
"""Without socket, connect, sendmsg, open, execve, clone, kill."""

ALLOW, REFUSE, KILL = 0x7FFF0000, 0x00050000 | 1, 0x80000000
"""SECCOMP_RET_ALLOW, SECCOMP_RET_ERRNO with EPERM, SECCOMP_RET_KILL_PROCESS (linux/seccomp.h)."""
_NUMBER, _ARCHITECTURE, _ARGUMENTS = 0, 4, 16
"""Offsets in `struct seccomp_data`; an argument has 64 bits, its low half first."""
_FIONBIO, _SIOCGIFNAME, _SIOCGIFINDEX = 0x5421, 0x8910, 0x8933
"""asm-generic/ioctls.h, linux/sockios.h: a socket is set non-blocking, and Python speaks of links by name."""
_PROT_EXEC, _MAP_PRIVATE, _MAP_ANONYMOUS = 4, 2, 0x20
"""asm-generic/mman-common.h."""
_OTHER_MAPPINGS = 0xFFFFFFFF & ~(_MAP_PRIVATE | _MAP_ANONYMOUS | 0x4000 | 0x20000)
"""All but MAP_NORESERVE and MAP_STACK, which change nothing. RLIMIT_DATA counts neither what is shared nor what
grows down (mm/mmap.c, is_data_mapping), and huge pages are not ours."""
_LOAD, _EQUAL, _ANY_BIT, _RETURN = 0x20, 0x15, 0x45, 0x06
"""linux/bpf_common.h: BPF_LD|BPF_W|BPF_ABS, BPF_JMP|BPF_JEQ|BPF_K, BPF_JMP|BPF_JSET|BPF_K, BPF_RET|BPF_K."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    Instruction = tuple[int, int, int, int]
    """Code, jump if true, jump if false, constant (linux/filter.h)."""


def program(machine: str, packets: tuple[int, ...], mute: tuple[int, ...] = ()) -> bytes:
    """The program for this machine; `packets` are the only descriptors that bind(2) takes.

    Nothing is sent from those that are `mute`.

    Empty where there is no table for the machine.
    """
    if machine not in _MACHINES:
        return b""
    architecture, column = _MACHINES[machine]
    instructions: list[Instruction] = [
        (_LOAD, 0, 0, _ARCHITECTURE),
        (_EQUAL, 1, 0, architecture),
        (_RETURN, 0, 0, KILL),
        (_LOAD, 0, 0, _NUMBER),
    ]
    conditions = _conditions(packets, mute)
    for name, numbers in CALLS.items():
        if numbers[column] != NONE:
            granted = [*conditions.get(name, ()), (_RETURN, 0, 0, ALLOW)]
            instructions += [(_EQUAL, 0, len(granted), numbers[column]), *granted]
    instructions.append((_RETURN, 0, 0, REFUSE))
    return b"".join(struct.pack("HBBI", *instruction) for instruction in instructions)


def _conditions(packets: tuple[int, ...], mute: tuple[int, ...]) -> dict[str, list[Instruction]]:
    """What must also be true of a call's arguments. What they point to cannot be seen (seccomp(2))."""
    no_code = _without_bit(2, _PROT_EXEC)
    return {
        "mmap": [
            *no_code,
            *_with_bit(3, _MAP_ANONYMOUS),
            *_with_bit(3, _MAP_PRIVATE),
            *_without_bit(3, _OTHER_MAPPINGS),
        ],
        "mprotect": no_code,
        "ioctl": _one_of(1, (_FIONBIO, _SIOCGIFNAME, _SIOCGIFINDEX)),
        "bind": _one_of(0, packets),
        # To an address a packet socket sends out of any link (packet(7)); without one, out of that it is bound to.
        "sendto": [*_one_of(4, (0,)), *_one_of(4, (0,), half=1), *_none_of(0, mute)],
        "write": _none_of(0, mute),
    }


def _with_bit(argument: int, bit: int) -> list[Instruction]:
    return [_load(argument), (_ANY_BIT, 1, 0, bit), (_RETURN, 0, 0, REFUSE)]


def _without_bit(argument: int, bit: int) -> list[Instruction]:
    return [_load(argument), (_ANY_BIT, 0, 1, bit), (_RETURN, 0, 0, REFUSE)]


def _one_of(argument: int, values: tuple[int, ...], half: int = 0) -> list[Instruction]:
    """Compare 32 bits, which are all that the kernel looks at in a descriptor or an ioctl(2) request."""
    tests: list[Instruction] = [(_EQUAL, len(values) - at, 0, value) for at, value in enumerate(values)]
    return [_load(argument, half), *tests, (_RETURN, 0, 0, REFUSE)]


def _none_of(argument: int, values: tuple[int, ...]) -> list[Instruction]:
    return [
        _load(argument),
        *(step for value in values for step in ((_EQUAL, 0, 1, value), (_RETURN, 0, 0, REFUSE))),
    ]


def _load(argument: int, half: int = 0) -> Instruction:
    return (_LOAD, 0, 0, _ARGUMENTS + 8 * argument + 4 * half)
