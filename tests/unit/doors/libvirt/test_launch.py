"""What `vmnet launch`, `vmnet domain` and `onDefineDomain` say before any kernel or libvirt is asked."""

from __future__ import annotations

import io
import json
import sys
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import pytest

from vmnet.cli import main
from vmnet.domain.read import parse
from vmnet.domain.wanted import with_wishes
from vmnet.doors.libvirt.connection import Libvirt, Lifecycle, Opened, reason
from vmnet.doors.libvirt.inbox import Inbox
from vmnet.doors.libvirt.launch import Job, _Launch, _Started
from vmnet.errors import DomainCrashedError, DomainRefusedError
from vmnet.model.settings import Settings
from vmnet.settings.config import Config

if TYPE_CHECKING:
    from pathlib import Path

XML = "<domain type='qemu'><devices/></domain>"
MAC = "52:54:00:12:34:56"


def _error(capsys: pytest.CaptureFixture[str]) -> dict[str, object]:
    [line] = capsys.readouterr().err.splitlines()
    return dict(json.loads(line))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "domain.xml"
    path.write_text(XML, encoding="utf-8")
    return path


def test_missing_module_says_how_to_get_it(
    file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "libvirt", None)
    assert main.main(["launch", str(file)]) == 8
    assert _error(capsys)["message"] == "libvirt's Python module is missing: pip install 'vmnet[libvirt]'"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "No such file"),
        (b"<!DOCTYPE x><domain/>", "DOCTYPE"),
        (b"\xff", "not UTF-8"),
        (XML.encode() + b" " * (1 << 20), "larger than"),
    ],
)
def test_bad_file_is_refused_before_libvirt_is_looked_for(
    tmp_path: Path,
    content: bytes | None,
    reason: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setitem(sys.modules, "libvirt", None)
    if content is not None:
        (tmp_path / "x.xml").write_bytes(content)
    assert main.main(["launch", str(tmp_path / "x.xml")]) == 2
    assert reason in str(_error(capsys)["message"])


@pytest.mark.parametrize("grace", ["-1", "soon", "", "1e3", "86401", "\u0661"])
def test_grace_is_seconds(file: Path, grace: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["launch", f"--grace={grace}", str(file)]) == 2
    assert "grace" in str(_error(capsys)["message"])


def test_filter_asks_nobody_when_it_is_told_all(
    monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    """The guard of the unit tests would not let it open a socket."""
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(XML.encode())))
    assert main.main(["domain", "--mac", MAC, "--mtu", "1450", "--tap", "tap7", "--interface", "net1"]) == 0
    out = capfdbinary.readouterr().out.decode()
    [interface] = parse(out).interfaces
    assert (interface.mac, interface.mtu, interface.tap) == (MAC, 1450, "tap7")
    assert interface.alias == "ua-vmnet-net1"


def test_sidecar_is_set_up_by_its_environment(
    monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    for name, value in {"MAC": MAC, "MTU": "1450", "MODEL": "virtio-non-transitional"}.items():
        monkeypatch.setenv(f"VMNET_{name}", value)
    assert main.main(["onDefineDomain", "--vmi", '{"kind": "ü"}', "--domain", XML]) == 0
    [interface] = parse(capfdbinary.readouterr().out.decode()).interfaces
    assert (interface.mac, interface.model) == (MAC, "virtio-non-transitional")


def test_sidecar_that_fails_prints_no_domain(
    capfdbinary: pytest.CaptureFixture[bytes],
) -> None:
    assert main.main(["onDefineDomain", "--vmi", "{}", "--domain", "<domain>"]) == 2
    out, error = capfdbinary.readouterr()
    assert out == b""
    assert error.count(b"\n") == 1


def test_domain_says_which_pod_interface_and_how_many_queues() -> None:
    network = "<n:network xmlns:n='urn:vmnet:domain:1' interface='net1'/>"
    queues = "<interface type='user'><alias name='ua-vmnet-net1'/><driver queues='4'/></interface>"
    domain = parse(f"<domain><metadata>{network}</metadata><devices>{queues}</devices></domain>")
    config = with_wishes(Config(), domain)
    assert (config.interface, config.settings.multi_queue) == ("net1", True)
    flagged = with_wishes(Config(interface="eth0", settings=Settings(tap="tap3")), domain)
    assert (flagged.interface, flagged.settings) == ("eth0", Settings(tap="tap3"))


class Error(Exception):
    """As libvirt's."""

    def get_error_message(self) -> str | None:
        return self.args[0] if self.args else None


def test_libvirts_words_become_one_line_with_what_helps() -> None:
    assert reason(Error("internal error:\n  QEMU said:\tno\n")) == "internal error: QEMU said: no"
    text = "Failed to connect socket to '/run/libvirt/virtlogd-sock': No such file or directory"
    assert reason(Error(text)).startswith(text)
    assert 'stdio_handler = "file"' in reason(Error(text))


NUMBERS = SimpleNamespace(
    VIR_DOMAIN_EVENT_STOPPED=5,
    VIR_DOMAIN_EVENT_CRASHED=8,
    VIR_DOMAIN_EVENT_STOPPED_SHUTDOWN=0,
    VIR_DOMAIN_EVENT_STOPPED_DESTROYED=1,
    VIR_DOMAIN_EVENT_STOPPED_CRASHED=2,
    VIR_DOMAIN_EVENT_STOPPED_MIGRATED=3,
    VIR_DOMAIN_EVENT_STOPPED_SAVED=4,
    VIR_DOMAIN_EVENT_STOPPED_FAILED=5,
)
"""As in libvirt-domain.h."""


def _ending(*events: tuple[int, int]) -> int:
    """Let these events come, the first of them before libvirt has said that the domain is started."""
    inbox: Inbox[object] = Inbox()
    launched = _Launch(Config(), Job("x"), cast("Libvirt", SimpleNamespace(library=NUMBERS)), inbox)
    domain = SimpleNamespace(UUIDString=lambda: "uuid", name=lambda: "vm")
    items: list[object] = [Lifecycle("another", 5, 5), *(Lifecycle("uuid", *event) for event in events)]
    items.insert(2, _Started(domain))
    for item in items:
        inbox.put(item)
    try:
        return launched._stay()
    finally:
        inbox.close()


@pytest.mark.parametrize("detail", [0, 1, 3, 4])
def test_domain_that_was_ended_has_not_crashed(detail: int) -> None:
    assert _ending((5, detail)) == 0


@pytest.mark.parametrize("events", [[(5, 2)], [(5, 5)], [(8, 0), (5, 2)], [(8, 0), (5, 1)]])
def test_crash_and_panic_are_told_from_an_end(events: list[tuple[int, int]]) -> None:
    with pytest.raises(DomainCrashedError, match=r"^domain vm crashed: "):
        _ending(*events)


def test_guest_that_was_restarted_after_a_panic_may_end_well() -> None:
    assert _ending((8, 0), (5, 0)) == 0


class _LibvirtSays(Exception):  # noqa: N818 # libvirt's own name is libvirtError
    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code

    def get_error_code(self) -> int:
        return self.code


NO_DOMAIN, OPERATION_INVALID, NO_SUPPORT, TIMED_OUT = 42, 55, 3, 68
LIBRARY = SimpleNamespace(
    libvirtError=_LibvirtSays, VIR_ERR_NO_DOMAIN=NO_DOMAIN, VIR_ERR_OPERATION_INVALID=OPERATION_INVALID
)


def _domain_whose_qemu(answer: int | None) -> SimpleNamespace:
    """A domain that libvirtd takes for alive; the error with which a question to its QEMU ends, if it does."""

    def stats() -> dict[str, int]:
        if answer is not None:
            raise _LibvirtSays(answer)
        return {}

    return SimpleNamespace(isActive=lambda: 1, memoryStats=stats)


@pytest.mark.parametrize(
    ("answer", "refused"),
    [(None, True), (OPERATION_INVALID, False), (NO_DOMAIN, False), (NO_SUPPORT, True), (TIMED_OUT, True)],
)
def test_a_dead_domain_that_libvirtd_still_takes_for_alive_is_not_in_the_way(
    answer: int | None, refused: bool
) -> None:
    """It has read its notes of a container that was killed, and has not found out yet."""
    domain = _domain_whose_qemu(answer)
    connection = SimpleNamespace(lookupByName=lambda _: domain, lookupByUUIDString=None)
    libvirt = cast("Libvirt", SimpleNamespace(connection=connection, library=LIBRARY))
    inbox: Inbox[object] = Inbox()
    running = _Launch(Config(), Job("vm.xml"), libvirt, inbox)
    found = parse(XML.replace("<devices", "<name>vm</name><devices"))
    if refused:
        with pytest.raises(DomainRefusedError, match="domain vm is already running"):
            running._refuse_running(found, spare=True)
    else:
        running._refuse_running(found, spare=True)
    assert running._keep is refused
    inbox.close()


@pytest.mark.parametrize("answer", [None, NO_DOMAIN, OPERATION_INVALID, TIMED_OUT])
def test_a_domain_that_died_while_libvirtd_was_away_has_crashed_though_libvirtd_knows_it(
    answer: int | None, capsys: pytest.CaptureFixture[str]
) -> None:
    """It takes it for alive until it has tried to reach its QEMU, and then sends no event."""
    domain = _domain_whose_qemu(answer)
    connection = SimpleNamespace(lookupByUUIDString=lambda _: domain)
    libvirt = SimpleNamespace(connection=connection, library=LIBRARY, adopt=lambda opened: bool(opened.connection))
    inbox: Inbox[object] = Inbox()
    running = _Launch(Config(), Job("vm.xml"), cast("Libvirt", libvirt), inbox)
    running._reopened(Opened(connection))
    item = inbox.next(None)
    if answer in (NO_DOMAIN, OPERATION_INVALID):
        with pytest.raises(DomainCrashedError, match="it ended while libvirt was away"):
            running._takers[type(item)](item)
    else:
        running._takers[type(item)](item)
    assert ("libvirt-back" in capsys.readouterr().err) is (answer not in (NO_DOMAIN, OPERATION_INVALID))
    inbox.close()
