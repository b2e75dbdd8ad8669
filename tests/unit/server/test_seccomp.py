"""The filter of system calls, run by a small interpreter of classic BPF as the kernel would run it."""

from __future__ import annotations

import errno
import random
import struct

import pytest

from vmnet.server.seccomp import ALLOW, CALLS, KILL, NONE, REFUSE, program

X86_64, AARCH64, I386, ARM = 0xC000003E, 0xC00000B7, 0x40000003, 0x40000028
"""linux/audit.h."""
ARCHITECTURES = {"x86_64": X86_64, "aarch64": AARCH64}
COLUMN = {"x86_64": 0, "aarch64": 1}
PACKETS, MUTE = (3, 9), (8,)
LARGEST_LIST = 45
PROT_READ, PROT_WRITE, PROT_EXEC = 1, 2, 4
MAP_SHARED, MAP_PRIVATE, MAP_FIXED, MAP_ANONYMOUS = 1, 2, 16, 32
FIONBIO, SIOCGIFINDEX, SIOCGIFNAME = 0x5421, 0x8933, 0x8910
TIOCSTI, SIOCSIFFLAGS, TUNSETIFF = 0x5412, 0x8914, 0x400454CA
FORBIDDEN = {
    # name: (x86_64, aarch64)
    "openat": (257, 56),
    "socket": (41, 198),
    "connect": (42, 203),
    "sendmsg": (46, 211),
    "setsockopt": (54, 208),
    "execve": (59, 221),
    "clone": (56, 220),
    "clone3": (435, 435),
    "kill": (62, 129),
    "ptrace": (101, 117),
    "mount": (165, 40),
    "unshare": (272, 97),
    "setns": (308, 268),
    "setuid": (105, 146),
    "capset": (126, 91),
    "prctl": (157, 167),
    "bpf": (321, 280),
    "io_uring_setup": (425, 425),
    "pidfd_getfd": (438, 438),
    "pkey_mprotect": (329, 288),
    "process_vm_writev": (311, 271),
}


def interpret(code: bytes, data: bytes) -> int:
    """What the program returns for a `struct seccomp_data` (net/core/filter.c, for the codes that it uses)."""
    instructions = list(struct.iter_unpack("HBBI", code))
    at = accumulator = 0
    while True:
        operation, true, false, constant = instructions[at]
        at += 1
        if operation == 0x20:  # load a word
            (accumulator,) = struct.unpack_from("<I", data, constant)
        elif operation == 0x15:  # equal
            at += true if accumulator == constant else false
        elif operation == 0x45:  # any bit
            at += true if accumulator & constant else false
        else:
            assert operation == 0x06  # return
            return int(constant)


def asked(machine: str, call: int, *arguments: int, architecture: int | None = None) -> int:
    """What becomes of a call."""
    words = [*arguments, *(0,) * (6 - len(arguments))]
    architecture = ARCHITECTURES[machine] if architecture is None else architecture
    data = struct.pack("<IIQ6Q", call & 0xFFFFFFFF, architecture, 0, *words)
    return interpret(program(machine, PACKETS, MUTE), data)


@pytest.fixture(params=["x86_64", "aarch64"])
def machine(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def number(name: str, machine: str) -> int:
    return CALLS[name][COLUMN[machine]]


def test_the_list_is_short() -> None:
    assert len(CALLS) <= LARGEST_LIST
    assert not CALLS.keys() & FORBIDDEN.keys()
    for column in (0, 1):
        numbers = [numbers[column] for numbers in CALLS.values() if numbers[column] != NONE]
        assert len(set(numbers)) == len(numbers)


def test_the_kernel_takes_the_program(machine: str) -> None:
    """At most BPF_MAXINSNS (4096) of 8 bytes, each jump inside, the last one a return (bpf_check_classic)."""
    instructions = list(struct.iter_unpack("HBBI", program(machine, PACKETS, MUTE)))
    assert len(instructions) < 256
    for at, (operation, true, false, _) in enumerate(instructions):
        assert at + 1 + max(true, false) < len(instructions) or operation == 0x06
    assert instructions[-1] == (0x06, 0, 0, REFUSE)


def test_each_number_on_the_list_is_allowed_and_no_other(machine: str) -> None:
    """As far as numbers go: these arguments are those that the checked calls want."""
    listed = {numbers[COLUMN[machine]] for numbers in CALLS.values()} - {NONE}
    fitting = {
        number("mmap", machine): (0, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS),
        number("ioctl", machine): (5, FIONBIO),
        number("bind", machine): (PACKETS[0],),
    }
    allowed = {call for call in range(1024) if asked(machine, call, *fitting.get(call, ())) == ALLOW}
    assert allowed == listed


@pytest.mark.parametrize("name", FORBIDDEN)
def test_what_an_intruder_would_want_is_refused_with_eperm(name: str, machine: str) -> None:
    rng = random.Random(name)  # noqa: S311 # not for secrets
    for _ in range(50):
        arguments = [rng.choice((0, 1, rng.getrandbits(64))) for _ in range(6)]
        assert asked(machine, FORBIDDEN[name][COLUMN[machine]], *arguments) == REFUSE == 0x50000 | errno.EPERM


@pytest.mark.parametrize(
    ("name", "arguments", "allowed"),
    [
        ("mmap", (0, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS), True),
        ("mmap", (0, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS), False),
        ("mmap", (0, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS), False),
        ("mmap", (0, 4096, PROT_READ, MAP_PRIVATE, 3), False),
        ("mmap", (0, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | 0x4000), True),
        ("mmap", (0, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | 0x20000), True),
        ("mmap", (0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS), False),
        ("mmap", (0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_PRIVATE | MAP_ANONYMOUS), False),
        ("mmap", (0, 4096, PROT_READ | PROT_WRITE, MAP_ANONYMOUS), False),
        ("mmap", (0, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | 0x100), False),
        ("mmap", (0, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | 0x40000), False),
        ("mmap", (0, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | 0x2000), False),
        ("mmap", (0, 4096, PROT_EXEC, MAP_PRIVATE | MAP_FIXED, 3), False),
        ("mprotect", (4096, 4096, PROT_READ | PROT_WRITE), True),
        ("mprotect", (4096, 4096, PROT_READ | PROT_EXEC), False),
        ("ioctl", (5, FIONBIO, 1 << 40), True),
        ("ioctl", (3, SIOCGIFINDEX), True),
        ("ioctl", (3, SIOCGIFNAME), True),
        ("ioctl", (0, TIOCSTI), False),
        ("ioctl", (3, SIOCSIFFLAGS), False),
        ("ioctl", (3, TUNSETIFF), False),
        ("bind", (3, 1 << 40, 20), True),
        ("bind", (9, 1 << 40, 20), True),
        ("bind", (4, 1 << 40, 20), False),
        ("bind", (0, 1 << 40, 20), False),
        ("sendto", (3, 1 << 40, 300, 0, 0, 0), True),
        ("sendto", (3, 1 << 40, 300, 0, 1, 20), False),
        ("sendto", (3, 1 << 40, 300, 0, 1 << 32, 20), False),
        ("sendto", (8, 1 << 40, 300, 0, 0, 0), False),
        ("write", (2, 1 << 40, 300), True),
        ("write", (8, 1 << 40, 300), False),
        ("read", (8, 1 << 40, 300), True),
        ("bind", (8, 1 << 40, 20), False),
    ],
)
def test_arguments_where_they_matter(name: str, arguments: tuple[int, ...], allowed: bool, machine: str) -> None:
    assert asked(machine, number(name, machine), *arguments) == (ALLOW if allowed else REFUSE)


@pytest.mark.parametrize("architecture", [I386, ARM, 0, 0xFFFFFFFF])
def test_another_architecture_is_killed_whatever_it_calls(architecture: int, machine: str) -> None:
    for call in (*range(512), -1):
        assert asked(machine, call, architecture=architecture) == KILL


def test_each_machine_s_own_numbers_are_the_other_s_death() -> None:
    assert asked("x86_64", 63, architecture=AARCH64) == KILL
    assert asked("aarch64", 0, architecture=X86_64) == KILL


def test_the_x32_numbers_are_refused() -> None:
    """They come with x86_64's architecture and bit 30 set (arch/x86/include/uapi/asm/unistd.h)."""
    for numbers in CALLS.values():
        assert asked("x86_64", 0x40000000 | numbers[0]) == REFUSE


@pytest.mark.parametrize("machine", ["riscv64", "i686", "armv7l", "aarch64_be", ""])
def test_other_machines_have_no_program(machine: str) -> None:
    assert program(machine, PACKETS) == b""
