"""The command line: what it asks of the agent, and how errors become exit codes and one line."""

from __future__ import annotations

import json
from contextlib import nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tests.testlib.evidence import before
from vmnet.agent import lifecycle, place
from vmnet.cli import main
from vmnet.control.report import FamilyReport, ServerReport
from vmnet.diagnosis import gather, sight, standing
from vmnet.diagnosis.sight import Sight
from vmnet.errors import DriftError, KernelError, NotYetError, RolledBackError, UsageError
from vmnet.model.change import AlterLink
from vmnet.model.lease import Lease
from vmnet.model.pod import PodInterface
from vmnet.model.settings import Settings, Told
from vmnet.saved.schema import SCHEMA, Journal

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from vmnet.diagnosis.evidence import Evidence
    from vmnet.settings.config import Config

_JOURNAL = Journal(
    schema=SCHEMA,
    boot_id="b00t",
    netns_cookie=42,
    pod=PodInterface("eth0", 2, "02:00:00:00:00:01", 1450),
    settings=Settings(),
    lease=Lease("02:00:00:00:00:01", "10.0.0.5", 24, "169.254.75.10", warnings=("the search list is too long",)),
)


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Start from an environment without VMNET_*."""
    for name in (
        "INTERFACE",
        "TAP",
        "OWNER",
        "MAC",
        "MTU",
        "HOSTNAME",
        "STATE_DIR",
        "RESOLV_CONF",
        "NETNS",
        "SANDBOX",
        "SERVER_USER",
        "DHCP",
        "LEASE_TIME",
        "CONFIG",
        "DEBUG",
    ):
        monkeypatch.delenv(f"VMNET_{name}", raising=False)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Config]:
    """Collect what `up` is asked for."""
    configs: list[Config] = []

    def up(config: Config) -> lifecycle.Outcome:
        configs.append(config)
        return lifecycle.Outcome(_JOURNAL, changed=True)

    monkeypatch.setattr(lifecycle, "up", up)
    return configs


def _failing(error: BaseException) -> Callable[[Config], lifecycle.Outcome]:
    def up(_config: Config) -> lifecycle.Outcome:
        raise error

    return up


def test_flags_reach_the_agent(asked: list[Config]) -> None:
    flags = (
        "up --interface net1 --tap vm0 --owner 107:108 --mac 52:54:00:AB:00:01 --mtu 1400 --hostname vm"
        " --netns pod --state-dir /run/x --resolv-conf /etc/r"
    )
    assert main.main(flags.split()) == 0
    (config,) = asked
    assert config.settings == Settings("vm0", 107, 108, "52:54:00:ab:00:01", 1400, "vm")
    assert (config.interface, config.netns, config.state_dir, config.resolv_conf) == (
        "net1",
        "pod",
        "/run/x",
        "/etc/r",
    )


@pytest.mark.parametrize(("queues", "multi_queue"), [("1", False), ("4", True)])
def test_queues_reach_the_agent(asked: list[Config], queues: str, multi_queue: bool) -> None:
    assert main.main(["up", "--queues", queues]) == 0
    assert asked[0].settings == Settings(multi_queue=multi_queue)


@pytest.mark.parametrize(
    ("flags", "settings"),
    [
        ("--sandbox on", Settings()),
        ("--sandbox off", Settings(sandbox=False)),
        ("--server-user 107", Settings(server_user=107, server_group=65534)),
        ("--server-user 107:108", Settings(server_user=107, server_group=108)),
    ],
)
def test_what_the_server_gives_up_reaches_the_agent(asked: list[Config], flags: str, settings: Settings) -> None:
    assert main.main(["up", *flags.split()]) == 0
    assert asked[0].settings == settings


def test_a_sandbox_that_is_off_is_warned_of(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    journal = replace(_JOURNAL, settings=Settings(sandbox=False))
    monkeypatch.setattr(lifecycle, "up", lambda _config: lifecycle.Outcome(journal, changed=False))
    assert main.main(["up"]) == 0
    [line] = [json.loads(line) for line in capsys.readouterr().err.splitlines() if "sandbox" in line]
    assert (line["level"], line["event"]) == ("warning", "sandbox-off")


def test_isolation_reaches_the_agent(asked: list[Config], monkeypatch: pytest.MonkeyPatch) -> None:
    """A flag may be given again, or hold a list; hosts lose their length and prefixes the bits beyond it."""
    flags = "--isolation dhcp-only --allow-address 10.1.2.3/16 --allow-address 2001:db8::7/128,10.9.9.9"
    assert main.main(["up", *flags.split(), "--allow-mac", "00:00:5E:00:01:07"]) == 0
    monkeypatch.setenv("VMNET_ALLOW_ADDRESS", "10.9.9.9, 10.9.9.8")
    assert main.main(["up"]) == 0
    first, second = (config.settings for config in asked)
    assert first.isolation == "dhcp-only"
    assert first.allow_addresses == ("10.1.0.0/16", "2001:db8::7", "10.9.9.9")
    assert first.allow_macs == ("00:00:5e:00:01:07",)
    assert second.allow_addresses == ("10.9.9.9", "10.9.9.8")


def test_name_servers_reach_the_agent(
    asked: list[Config], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A flag may be given again, or hold a list; what one says replaces what the file says."""
    file = tmp_path / "c"
    file.write_text("interfaces: {eth0: {dns: {servers: [192.0.2.1], search: [file.example]}, ntp: [192.0.2.9]}}")
    flags = "--dns 192.0.2.2,2001:DB8::2 --dns 192.0.2.3 --dns-search Flag.example. --dns-search ."
    assert main.main(["up", "--config", str(file), *flags.split()]) == 0
    monkeypatch.setenv("VMNET_DNS", "192.0.2.4, 192.0.2.5")
    assert main.main(["up", "--config", str(file)]) == 0
    assert main.main(["up"]) == 0
    first, second, third = (config.settings.told for config in asked)
    assert first.nameservers == ("192.0.2.2", "2001:db8::2", "192.0.2.3")
    assert (first.domain_search, first.ntp_servers) == (("flag.example",), ("192.0.2.9",))
    assert (second.nameservers, second.domain_search) == (("192.0.2.4", "192.0.2.5"), ("file.example",))
    assert (third.nameservers, third.domain_search) == (("192.0.2.4", "192.0.2.5"), None)


@pytest.mark.parametrize("server", ["", "x", "127.0.0.11", "::1", "fe80::1", "10.0.0.1#5", "10.0.0.1,", "0.0.0.0"])  # noqa: S104
def test_what_is_no_name_server_for_a_guest(capsys: pytest.CaptureFixture[str], server: str) -> None:
    assert main.main(["up", f"--dns={server}"]) == 2
    assert "name server" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("variable", "value", "words"),
    [
        ("TAP", "a b", "up"),
        ("INTERFACE", "", "up"),
        ("OWNER", "qemu", "up"),
        ("QUEUES", "0", "up"),
        ("MAC", "x", "up"),
        ("MTU", "1", "up"),
        ("HOSTNAME", "-", "up"),
        ("DHCP", "yes", "up"),
        ("LEASE_TIME", "1", "up"),
        ("IPV6", "yes", "up"),
        ("ISOLATION", "none", "up"),
        ("ALLOW_ADDRESS", "x", "up"),
        ("ALLOW_MAC", "x", "up"),
        ("SERVER_USER", "0", "up"),
        ("SANDBOX", "1", "up"),
        ("DNS", "x", "up"),
        ("DNS_SEARCH", "a..b", "up"),
        ("NETNS", "", "up"),
        ("STATE_DIR", "", "up"),
        ("RESOLV_CONF", "", "up"),
        ("TIMEOUT", "long", "wait --for ready"),
        ("GRACE", "long", "launch vm.xml"),
        ("STATE_DIR", "/x*", "exporter"),
    ],
)
def test_a_variable_s_value_is_refused_by_the_variable_s_name(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], variable: str, value: str, words: str
) -> None:
    monkeypatch.setenv(f"VMNET_{variable}", value)
    assert main.main(words.split()) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert f"VMNET_{variable}: " in line


def test_a_flag_s_value_is_refused_without_the_variable_s_name(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("VMNET_TAP", "tap1")
    assert main.main(["up", "--tap", "a b"]) == 2
    assert "VMNET_TAP" not in capsys.readouterr().err


def test_a_flag_beats_the_environment_which_beats_the_default(
    asked: list[Config], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VMNET_TAP", "vm0")
    monkeypatch.setenv("VMNET_MTU", "1400")
    assert main.main(["up", "--mtu", "1300"]) == 0
    (config,) = asked
    assert (config.settings.tap, config.settings.mtu, config.interface) == ("vm0", 1300, "")


def test_a_variable_beats_the_file_which_beats_the_default(
    asked: list[Config], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "vmnet.yaml"
    file.write_text(
        "interfaces: {net1: {tap: vm0, mtu: 1400, hostname: vm, lease_time: 600, ntp: [10.0.0.1], dhcp: off,"
        " ipv6: on, autonomous: on}}"
    )
    monkeypatch.setenv("VMNET_MTU", "1300")
    monkeypatch.setenv("VMNET_IPV6", "off")
    monkeypatch.setenv("VMNET_CONFIG", str(file))
    assert main.main(["up", "--hostname", "guest", "--lease-time", "infinite"]) == 0
    (config,) = asked
    assert config.interface == "net1"
    assert config.settings == Settings(
        tap="vm0",
        mtu=1300,
        hostname="guest",
        dhcp="off",
        told=Told(lease_time=0xFFFFFFFF, ntp_servers=("10.0.0.1",), ipv6=False, autonomous=True),
    )


def test_a_wrong_file_is_a_usage_error_of_one_line_and_of_no_concern_to_down(
    asked: list[Config], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "vmnet.yaml"
    file.write_text("interfaces: {eth0: {mcc: 1}}")
    assert main.main(["up", "--config", str(file)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert json.loads(line)["message"] == f"{file}: interfaces.eth0.mcc: there is no such key"
    assert asked == []
    monkeypatch.setattr(lifecycle, "down", lambda _config: None)
    monkeypatch.setenv("VMNET_CONFIG", str(file))
    assert main.main(["down"]) == 0


def test_the_environment_is_checked_like_a_flag(
    asked: list[Config], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("VMNET_MTU", "12")
    assert main.main(["up"]) == 2
    assert "MTU '12'" in capsys.readouterr().err
    assert asked == []


def test_the_pods_name_is_the_default_host_name_unless_the_pod_is_elsewhere(asked: list[Config]) -> None:
    main.main(["up"])
    main.main(["up", "--netns", "pod"])
    assert [bool(config.default_hostname) for config in asked] == [True, False]


def test_warnings_and_ready_are_one_json_line_each(
    asked: list[Config], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.main(["up"]) == 0
    written = capsys.readouterr()
    assert written.out == ""
    assert [json.loads(line)["event"] for line in written.err.splitlines()] == ["not-carried-over", "ready"]
    assert asked


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (UsageError("u"), 2),
        (NotYetError("n"), 3),
        (KernelError(1, "k"), 4),
        (RolledBackError("r"), 4),
        (DriftError("d"), 7),
        (ZeroDivisionError("a bug"), 1),
        (KeyboardInterrupt(), 130),
    ],
)
def test_every_error_is_its_exit_code_and_one_line(
    error: BaseException, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(lifecycle, "up", _failing(error))
    assert main.main(["up"]) == code
    written = capsys.readouterr()
    (line,) = written.err.splitlines()
    assert json.loads(line)["level"] == "error"
    assert "Traceback" not in written.err
    assert written.out == ""


def test_a_bug_shows_its_traceback_when_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VMNET_DEBUG", "1")
    monkeypatch.setattr(lifecycle, "up", _failing(ZeroDivisionError()))
    with pytest.raises(ZeroDivisionError):
        main.main(["up"])


@pytest.mark.parametrize(
    "arguments",
    ["", "fly", "up --speed", "up --mtu", "up eth0", "up --inter eth0", "down --tap t"],
)
def test_what_is_no_command_is_a_usage_error_in_one_line(
    arguments: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.main(arguments.split()) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "--help" in json.loads(line)["message"]


@pytest.mark.parametrize(("drift", "code"), [((), 0), ((str(AlterLink("tap0", (("up", True),))),), 7)])
def test_status_says_drift_with_its_exit_code(
    drift: tuple[str, ...], code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    seen = Sight(standing.Report(_JOURNAL, drift, ServerReport("serving", FamilyReport("bound"))))
    monkeypatch.setattr(place, "at", lambda _config: nullcontext())
    monkeypatch.setattr(sight, "look_at_all", lambda _place, _config: (seen,))
    assert main.main(["status", "--json"]) == code
    shown = json.loads(capsys.readouterr().out)
    assert (shown["state"], shown["drift"]) == ("drift" if drift else "up", list(drift))
    assert main.main(["status"]) == code
    assert "IPv4 10.0.0.5/24: bound" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("flags", "begin"),
    [
        ("", "the pod has\n└─ eth0  MAC 02:00:00:00:00:01"),
        ("--json", '{\n  "schema": 1,'),
        ("--format json", '{\n  "schema": 1,'),
        ("--format mermaid", "flowchart LR\n"),
        ("--format svg", "<svg "),
    ],
)
def test_a_plan_is_written_in_the_format_asked_for(
    flags: str, begin: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(lifecycle, "plan", lambda _config: lifecycle.Plan(_JOURNAL, (), already_up=False))
    assert main.main(["plan", *flags.split()]) == 0
    text = capsys.readouterr().out
    assert text.startswith(begin)
    assert text.endswith("\n")
    assert not text.endswith("\n\n")


@pytest.fixture
def examined(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Config, gather.Wishes]]:
    """Collect what `doctor` is asked for; what it finds depends on the isolation that is wished for."""
    calls: list[tuple[Config, gather.Wishes]] = []

    def look(config: Config, wishes: gather.Wishes) -> tuple[Evidence, ...]:
        calls.append((config, wishes))
        return (replace(before(settings=config.settings), listened=wishes.seconds),)

    monkeypatch.setattr(gather, "gather_all", look)
    return calls


def test_doctor_is_asked_with_the_settings_of_up(
    examined: list[tuple[Config, gather.Wishes]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.main(["doctor", "--domain", "vm.xml", "--listen", "2.5", "--mtu", "1400"]) == 0
    ((config, wishes),) = examined
    assert (config.settings.mtu, wishes) == (1400, gather.Wishes("vm.xml", 2.5))
    assert "checks, listened for 2.5 s: " in capsys.readouterr().out


def test_doctor_ends_with_7_on_a_warning(
    examined: list[tuple[Config, gather.Wishes]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.main(["doctor", "--json", "--isolation", "off"]) == 7
    said = json.loads(capsys.readouterr().out)
    assert [finding["code"] for finding in said["findings"] if finding["severity"] == "warning"] == ["VMN-307"]
    assert examined[0][1] == gather.Wishes("", gather.DEFAULT_SECONDS)


def test_what_doctor_cannot_listen_for_is_a_usage_error(
    examined: list[tuple[Config, gather.Wishes]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.main(["doctor", "--listen", "soon"]) == 2
    assert examined == []
    assert "listen 'soon'" in capsys.readouterr().err
