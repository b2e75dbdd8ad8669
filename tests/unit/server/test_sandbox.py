"""The stages over a kernel that refuses: their order, what is fatal, and what is only told."""

from __future__ import annotations

import errno
import os
import posix
import resource
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from vmnet.server import sandbox

if TYPE_CHECKING:
    from collections.abc import Callable

STAGES = (
    "descriptors",
    "bounding",
    "user",
    "capabilities",
    "no_new_privs",
    "limits",
    "landlock",
    "seccomp",
)
CAPBSET_READ, CAPBSET_DROP, SECCOMP, NO_NEW_PRIVS = 23, 24, 22, 38
CREATE_RULESET, RESTRICT_SELF = 444, 446
CAPABILITIES = 41
OWN = 65525
RULES = 7
"""The descriptor that the kernel gives."""


class Uname(NamedTuple):
    """What uname(2) says, so far as it matters."""

    machine: str


class Process:
    """This process as the kernel sees it; `refuse` says with which errno it answers which call."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.refuse: dict[object, int] = {}
        self.uid, self.abi, self.machine = 0, 7, "x86_64"
        self.hard = resource.RLIM_INFINITY
        monkeypatch.setattr(posix, "getuid", lambda: self.uid)
        monkeypatch.setattr(posix, "uname", lambda: Uname(self.machine))
        monkeypatch.setattr(
            posix, "listdir", {"/proc/self/fd": ["0", "1", "2", "3", "4", "5", "6", "17"]}.__getitem__
        )
        for name in ("setgroups", "setresgid", "setresuid", "close"):
            monkeypatch.setattr(posix, name, self._os(name))
        monkeypatch.setattr(resource, "getrlimit", lambda _kind: (self.hard, self.hard))
        monkeypatch.setattr(resource, "setrlimit", lambda *limit: self.calls.append(("setrlimit", *limit)))
        monkeypatch.setattr(sandbox, "_call", self._call)

    def _os(self, name: str) -> Callable[..., None]:
        return lambda *arguments: self._made(name, name, *arguments)

    def _made(self, key: object, *call: object) -> None:
        if key in self.refuse:
            raise OSError(self.refuse[key], os.strerror(self.refuse[key]))
        self.calls.append(call)

    def _call(self, name: str, *arguments: Any) -> int:  # noqa: ANN401 # bytes and numbers
        if name == "capset":
            self._made("capset", "capset")
            return 0
        self._made(arguments[0], name, *arguments)
        if arguments[0] == CAPBSET_READ and arguments[1] >= CAPABILITIES:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        if arguments[:3] == (SECCOMP, 2, 0):
            raise OSError(errno.EFAULT, os.strerror(errno.EFAULT))
        if arguments[0] == CREATE_RULESET:
            return RULES if arguments[1] else self.abi
        return int(arguments[0] == CAPBSET_READ)

    def enter(self, wish: str = "on") -> dict[str, Any]:
        return dict(sandbox.enter(wish, (3,), (8,), (4, 6)))

    def made(self, name: str) -> list[tuple[Any, ...]]:
        return [call for call in self.calls if call[0] == name]


@pytest.fixture
def process(monkeypatch: pytest.MonkeyPatch) -> Process:
    return Process(monkeypatch)


def test_root_reaches_every_stage_in_order(process: Process) -> None:
    assert process.enter() == {"on": True, "reached": STAGES, "missed": {}}
    kinds = [call[0] if call[0] != "prctl" else call[1] for call in process.calls]
    places = [
        kinds.index(kind)
        for kind in (
            *("close", CAPBSET_DROP, "setgroups", "setresgid", "setresuid", "capset", NO_NEW_PRIVS),
            *("setrlimit", "syscall", SECCOMP),
        )
    ]
    assert places == sorted(places)


def test_nothing_else_stays_open(process: Process) -> None:
    process.enter()
    assert process.made("close")[:2] == [("close", 5), ("close", 17)]


def test_what_closes_by_itself_is_no_matter(process: Process) -> None:
    """The list of descriptors names the one that it was read from."""
    process.refuse = {"close": errno.EBADF}
    with pytest.raises(OSError, match="Bad file"):
        posix.close(17)
    sandbox._close_but({0})


def test_every_capability_leaves_the_bounding_set(process: Process) -> None:
    process.enter()
    dropped = [call[2] for call in process.made("prctl") if call[1] == CAPBSET_DROP]
    assert dropped == list(range(CAPABILITIES))


@pytest.mark.parametrize(
    ("wish", "uid", "gid", "becomes"),
    [("on", 0, OWN, OWN), ("1000:2000", 0, 2000, 1000), ("on", 1000, None, None), ("5:6", 1000, 6, 5)],
)
def test_who_it_becomes(process: Process, wish: str, uid: int, gid: int | None, becomes: int | None) -> None:
    process.uid = uid
    assert "user" in process.enter(wish)["reached"]
    assert process.made("setresgid") == ([("setresgid", *(gid,) * 3)] if gid else [])
    assert process.made("setresuid") == ([("setresuid", *(becomes,) * 3)] if becomes else [])
    assert len(process.made("setgroups")) == bool(becomes)


def test_where_a_user_namespace_has_no_such_user_it_is_nobody(
    process: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = posix.setresgid

    def setresgid(*ids: int) -> None:
        if ids[0] == OWN:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        real(*ids)

    monkeypatch.setattr(posix, "setresgid", setresgid)
    assert "user" in process.enter()["reached"]
    assert process.made("setresuid") == [("setresuid", *(65534,) * 3)]


@pytest.mark.parametrize(
    ("refused", "code", "stage", "reason"),
    [
        (CAPBSET_DROP, errno.EPERM, "bounding", "CAP_SETPCAP is missing"),
        ("setgroups", errno.EPERM, "user", "CAP_SETUID or CAP_SETGID is missing"),
        ("setresuid", errno.EPERM, "user", "CAP_SETUID or CAP_SETGID is missing"),
        ("setresuid", errno.EINVAL, "user", "there is neither 65525 nor 65534 in this user namespace"),
        (CREATE_RULESET, errno.ENOSYS, "landlock", "the kernel has no Landlock"),
        (CREATE_RULESET, errno.EOPNOTSUPP, "landlock", "the kernel has no Landlock"),
        (RESTRICT_SELF, errno.E2BIG, "landlock", os.strerror(errno.E2BIG)),
        (SECCOMP, errno.EINVAL, "seccomp", "the kernel has no seccomp"),
    ],
)
def test_what_cannot_be_reached_is_told_and_the_rest_is_done(
    process: Process, refused: object, code: int, stage: str, reason: str
) -> None:
    process.refuse = {refused: code}
    assert process.enter() == {
        "on": True,
        "reached": tuple(name for name in STAGES if name != stage),
        "missed": {stage: reason},
    }


@pytest.mark.parametrize(
    ("refused", "says"), [("capset", "capabilities"), (NO_NEW_PRIVS, "no_new_privs"), (SECCOMP, "seccomp")]
)
def test_without_these_no_guest_is_served(process: Process, refused: object, says: str) -> None:
    process.refuse = {refused: errno.EACCES}
    with pytest.raises(OSError, match=f"{says}: {os.strerror(errno.EACCES)}"):
        process.enter()


def test_another_machine_has_all_but_the_filter(process: Process) -> None:
    process.machine = "riscv64"
    report = process.enter()
    assert report["reached"] == STAGES[:-1]
    assert report["missed"] == {"seccomp": "there is no table of system calls for riscv64"}


@pytest.mark.parametrize(
    ("abi", "rights"),
    [
        (1, (0x1FFF, 0, 0)),
        (2, (0x3FFF, 0, 0)),
        (3, (0x7FFF, 0, 0)),
        (4, (0x7FFF, 3, 0)),
        (5, (0xFFFF, 3, 0)),
        (6, (0xFFFF, 3, 3)),
        (9, (0xFFFF, 3, 3)),
    ],
)
def test_landlock_is_asked_for_all_that_it_knows(process: Process, abi: int, rights: tuple[int, ...]) -> None:
    process.abi = abi
    process.enter()
    [asked] = [call for call in process.made("syscall") if call[1] == CREATE_RULESET and call[2]]
    assert asked[2] == b"".join(right.to_bytes(8, "little") for right in rights)
    assert ("syscall", RESTRICT_SELF, RULES, 0) in process.calls
    assert ("close", RULES) in process.calls


@pytest.mark.parametrize(("hard", "limit"), [(resource.RLIM_INFINITY, 16), (8, 8), (4096, 16)])
def test_limits_are_only_lowered(process: Process, hard: int, limit: int) -> None:
    process.hard = hard
    process.enter()
    assert ("setrlimit", resource.RLIMIT_NOFILE, (limit, limit)) in process.calls
    assert len(process.made("setrlimit")) == len(sandbox.LIMITS)


def test_off_touches_nothing(process: Process) -> None:
    assert process.enter("off") == {"on": False, "reached": (), "missed": {}}
    assert process.calls == []
