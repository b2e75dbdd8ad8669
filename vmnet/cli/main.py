"""The verbs. Each imports its own room when called; here an error becomes an exit code, and nowhere else."""

from __future__ import annotations

import _signal  # type: ignore[import-not-found] # `signal` wraps it; typeshed does not
import gc
import os
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

from vmnet import __version__
from vmnet.cli import options, standard_streams
from vmnet.cli.verbs import BRING_UP, INTEGRATE, LOOK, VARIABLE_PREFIX, Parser, Verb
from vmnet.cli.verbs import parser as parser_of
from vmnet.errors import BoundElsewhereError, OutputError, UsageError, VmnetError, WaitTimeoutError
from vmnet.model.settings import Settings
from vmnet.settings import config as checks
from vmnet.settings.config import Config, FromFile
from vmnet.show.log import escape, say
from vmnet.show.termination import leave

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Container, Sequence

    from vmnet.agent.lifecycle import Outcome
    from vmnet.model.settings import Told
    from vmnet.saved.schema import Journal
    from vmnet.show.outline import Node

_T = TypeVar("_T")


_LONGEST_SOCKET_PATH = 107


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb and return the exit code."""
    standard_streams.guard()
    _signal.signal(_signal.SIGCHLD, _signal.SIG_DFL)  # were it ignored, our children would leave no exit code
    try:
        code = _run_verb(sys.argv[1:] if arguments is None else arguments)
    except VmnetError as error:
        if isinstance(error, OutputError):
            standard_streams.discard_output()
        text = _at_place(error)
        say("error", type(error).__name__, text, code=error.exit_code, retryable=error.retryable)
        leave(escape(text))
        return error.exit_code
    except BrokenPipeError:
        standard_streams.discard_output()
        return 1
    except KeyboardInterrupt:
        say("error", "Interrupted", "interrupted")
        return 130
    except Exception as error:
        if os.environ.get("VMNET_DEBUG"):
            raise
        text = f"{type(error).__name__}: {error}; a bug in vmnet {__version__}, VMNET_DEBUG=1 shows where"
        say("error", "UnexpectedError", text, code=1)
        leave(escape(text))
        return 1
    return code


def _run_verb(words: Sequence[str]) -> int:
    try:
        asked = parser(words).parse_args(words)
        code: int = _run_at_place(asked)
    finally:
        sys.stdout.flush()  # also what --help has written, which leaves by SystemExit
    return code


def _run_at_place(asked: argparse.Namespace) -> int:
    """Run it; an error learns which flags make the commands right that it names."""
    try:
        code: int = asked.run(asked)
    except VmnetError as error:
        named = [(f"--{name.replace('_', '-')}", name) for name in ("interface", "netns", "state_dir")]
        said = ((flag, _text(asked, name)) for flag, name in named if hasattr(asked, "netns"))
        error.place = tuple(word for flag, value in said if value for word in (flag, value))
        raise
    return code


def _at_place(error: VmnetError) -> str:
    """Return what an error says with commands that act where this one did."""
    if "`vmnet " not in str(error):
        return str(error)
    from vmnet.settings.advice import at_this_place

    return at_this_place(str(error), error.place)


def parser(words: Container[str] | None = None) -> Parser:
    """Make the command line's parser: whole, or with the options of the verbs among `words` only."""
    return parser_of(VERBS, words)


def _config(asked: argparse.Namespace) -> Config:
    """Join flags, environment and configuration file into a checked Config."""
    said = _Said(asked, _from_file(asked))
    return Config(
        interface=said("interface", lambda text: checks.link_name(text, "interface")) or "",
        settings=_settings(said),
        tap_is_named=said("tap", str) is not None,
        default_hostname="" if (netns := said("netns", checks.namespace)) else os.uname().nodename,
        netns=netns or "",
        state_dir=said("state_dir", checks.state_directory) or checks.DEFAULT_STATE_DIR,
        resolv_conf=said("resolv_conf", checks.resolver_path) or "",
        on_node=said("on_node", lambda text: checks.switch(text, "on-node")) or False,
    )


def _from_file(asked: argparse.Namespace) -> FromFile:
    """Read the configuration file, for the verbs that take one: `down` must not fail for want of it."""
    path = _text(asked, "config") if hasattr(asked, "config") else None
    if path is None:
        return FromFile()
    from vmnet.settings import file

    return file.read(path, _text(asked, "interface") or "")


def _text(asked: argparse.Namespace, option: str) -> str | None:
    """Return what a flag, else its environment variable, says."""
    flag: str | list[str] | None = getattr(asked, option, None)
    if isinstance(flag, list):
        return ",".join(flag)
    return os.environ.get(_variable(option)) if flag is None else flag


def _variable(option: str) -> str:
    return f"{VARIABLE_PREFIX}{option.upper()}"


def _value(asked: argparse.Namespace, option: str, check: Callable[[str], _T]) -> _T | None:
    """Return what a flag or its variable says, checked; None where neither does.

    Raises:
        UsageError: as `check` does; it names the variable if that is where the value is from.
    """
    text = _text(asked, option)
    if text is None:
        return None
    try:
        return check(text)
    except UsageError as error:
        if getattr(asked, option, None) is not None:
            raise
        raise UsageError(f"{_variable(option)}: {error}") from error


class _Said:
    """What is asked for, an option at a time: by a flag, else by its variable, else by the file."""

    def __init__(self, asked: argparse.Namespace, from_file: FromFile) -> None:
        self._asked = asked
        self._texts = from_file.texts
        self.told = from_file.told

    def __call__(self, option: str, check: Callable[[str], _T]) -> _T | None:
        """Return the checked value of an option, None where nobody speaks of it."""
        if (value := _value(self._asked, option, check)) is not None:
            return value
        return check(self._texts[option]) if option in self._texts else None


def _settings(said: _Said) -> Settings:
    queues = said("queues", checks.queue_count)
    found = {
        "tap": said("tap", lambda text: checks.link_name(text, "tap")),
        "multi_queue": None if queues is None else queues > 1,
        "mac": said("mac", checks.mac_address),
        "mtu": said("mtu", checks.mtu_bytes),
        "hostname": said("hostname", checks.host_name),
        "dhcp": said("dhcp", checks.dhcp_mode),
        "sandbox": said("sandbox", lambda text: checks.switch(text, "sandbox")),
        "isolation": said("isolation", checks.isolation),
        "allow_addresses": said("allow_address", lambda text: checks.listed(text, checks.prefix)),
        "allow_macs": said("allow_mac", lambda text: checks.listed(text, checks.mac_address)),
    }
    found["owner"], found["group"] = said("owner", checks.owner_ids) or (None, None)
    found["server_user"], found["server_group"] = said("server_user", checks.server_ids) or (None, None)
    return replace(Settings(told=_told(said)), **_given(found))


def _told(said: _Said) -> Told:
    found = {
        "lease_time": said("lease_time", checks.lease_seconds),
        "ipv6": said("ipv6", lambda text: checks.switch(text, "ipv6")),
        "nameservers": said("dns", checks.name_servers),
        "domain_search": said("dns_search", checks.search_domains),
    }
    return replace(said.told, **_given(found))


def _given(found: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in found.items() if value is not None}


def _plan(asked: argparse.Namespace) -> int:
    from vmnet.agent import lifecycle
    from vmnet.diagnosis import plan

    found = lifecycle.plan(_config(asked))
    if asked.format == "text":
        from vmnet.show import screen

        screen.show(plan.plan_outline(found))
    elif asked.format == "json":
        _print(plan.plan_json(found))
    else:
        from vmnet.diagnosis.drawing import drawn

        _print(drawn(found.journal, asked.format).removesuffix("\n"))
    return 0


def _up(asked: argparse.Namespace) -> int:
    from vmnet.agent import lifecycle

    _tell_ready(lifecycle.up(replace(_config(asked), resume=asked.resume)))
    return 0


def _tell_ready(outcome: Outcome) -> None:
    from vmnet.kernel import inspect

    leases, settings = outcome.journal.leases, outcome.journal.settings
    for warning in outcome.warnings:
        say("warning", "facts-kept", warning)
    for warning in leases.warnings:
        say("warning", "not-carried-over", warning)
    if not settings.sandbox:
        say("warning", "sandbox-off", checks.SANDBOX_OFF)
    closed = inspect.tun_closed_to(settings.owner, settings.group)
    if closed:
        what = f"QEMU as uid {settings.owner} cannot open /dev/net/tun ({closed})"
        remedy = "on the node, run `chmod 0666 /dev/net/tun` (udev's default; a tap still has its owner)"
        say("warning", "tun-closed", f"{what}; {remedy}")
    state = "ready" if outcome.changed else "ready already"
    say(
        "info",
        "ready",
        f"{state}: the VM on {settings.tap} is {', '.join(leases.addresses)}, MAC {leases.chaddr}",
        interface=outcome.journal.pod.ifname,
        tap=settings.tap,
        changed=outcome.changed,
    )


def _down(asked: argparse.Namespace) -> int:
    from vmnet.agent import lifecycle

    _tell_given_back(lifecycle.down(replace(_config(asked), force=asked.force)))
    return 0


def _tell_given_back(journal: Journal | None) -> None:
    if journal is None:
        say("info", "down", "nothing is up here", changed=False)
    else:
        say("info", "down", f"{journal.pod.ifname} is as it was found", interface=journal.pod.ifname, changed=True)


def _status(asked: argparse.Namespace) -> int:
    from vmnet.agent.place import at
    from vmnet.diagnosis import live, sight, status

    config = _config(asked)
    if asked.watch is not None:
        gc.enable()  # it lives for long
        return live.watch(config, checks.seconds(asked.watch, "watch"), as_json=asked.json)
    with at(config) as place:
        seen = sight.look_at_all(place, config)
    _show(asked, status.values(seen), status.outlines(seen))
    return status.exit_code(seen)


def _wait(asked: argparse.Namespace) -> int:
    from vmnet.diagnosis import wait

    gc.enable()  # it may live for long
    timeout = _value(asked, "timeout", lambda text: checks.seconds(text, "timeout"))
    seconds = wait.DEFAULT_SECONDS if timeout is None else timeout
    waited = wait.wait(_config(asked), asked.goal, seconds)
    _show(asked, wait.value(waited), wait.outline(waited))
    if waited.cause:
        raise WaitTimeoutError(f"not {waited.goal} within {seconds:g} s: {waited.cause.word}")
    return 0


def _probe(asked: argparse.Namespace) -> int:
    from vmnet.diagnosis import probe

    said = (_text(asked, "interface") or "", _text(asked, "state_dir") or checks.DEFAULT_STATE_DIR)
    return probe.probe(asked.goal, *said)


def _capture(asked: argparse.Namespace) -> int:
    from vmnet.diagnosis import capture

    gc.enable()  # it may live for long
    capture.capture(_config(asked), capture.Wishes(asked.write or "", asked.follow, asked.json))
    return 0


def _support_bundle(asked: argparse.Namespace) -> int:
    from vmnet.diagnosis import bundle, output

    for name, why in bundle.bundle(_config(asked), asked.output, redact=asked.redact).items():
        say("warning", "not-bundled", f"the bundle has no {name}: {why}")
    text = f"the bundle is in {output.named(asked.output)}; look through it before you send it"
    say("info", "bundled", text, path=asked.output)
    return 0


def _show(asked: argparse.Namespace, value: object, nodes: Sequence[Node]) -> None:
    """Print for machines, or for people."""
    if asked.json:
        import json

        _print(json.dumps(value, indent=2))
    else:
        from vmnet.show import screen

        screen.show(nodes)


def _doctor(asked: argparse.Namespace) -> int:
    from vmnet.diagnosis import report
    from vmnet.diagnosis.evidence import INFO
    from vmnet.diagnosis.gather import DEFAULT_SECONDS, Wishes, gather_all
    from vmnet.diagnosis.table import examine, worst

    listen = asked.listen  # the variable of that name is an address: the exporter's
    seconds = DEFAULT_SECONDS if listen is None else checks.seconds(listen, "listen")
    evidences = gather_all(_config(asked), Wishes(asked.domain or "", seconds))
    if asked.json:
        _print(report.as_json(evidences))
    else:
        from vmnet.show import screen

        screen.show(report.outlines(evidences, every=asked.all))
    found = tuple(finding for evidence in evidences for finding in examine(evidence))
    return 0 if worst(found) == INFO else 7


def _metrics(asked: argparse.Namespace) -> int:
    from vmnet.diagnosis import standing
    from vmnet.metrics import text as metrics

    config = _config(asked)
    bindings = [
        metrics.Binding(
            report.journal.pod.ifname,
            report.journal.netns_cookie,
            config.state_dir,
            report.server,
            len(report.drift),
        )
        for report in standing.statuses(config)
        if report.journal
    ]
    sys.stdout.buffer.write(metrics.text(bindings))
    return 0


def _exporter(asked: argparse.Namespace) -> int:
    from vmnet.metrics import exporter

    gc.enable()  # it lives for long
    patterns = (
        list(map(checks.state_pattern, asked.state_dir))
        if asked.state_dir
        else _value(asked, "state_dir", lambda text: list(map(checks.state_pattern, text.split(","))))
    )
    listen = _text(asked, "listen") or checks.DEFAULT_LISTEN
    return exporter.export(listen, patterns or [checks.DEFAULT_STATE_DIR])


def _serve(asked: argparse.Namespace) -> int:
    from vmnet.agent import lifecycle

    lifecycle.serve(_config(asked))
    return 1


def _run(asked: argparse.Namespace) -> int:
    from vmnet.doors import run

    command = tuple(asked.command)
    qmp = _text(asked, "qmp")
    if qmp is not None and command:
        command = run.Guest(_qmp(qmp), _grace(asked)).parent(command)
    return run.run(_config(asked), run.Job(command, asked.keep), run.Tell(_tell_ready, _tell_given_back))


def _power_button(asked: argparse.Namespace) -> int:
    from vmnet.doors import run

    qmp = _text(asked, "qmp")
    if qmp is None:
        raise UsageError("--qmp is missing: name the socket that QEMU's -qmp unix:SOCKET,server=on,wait=off makes")
    run.become_parent(run.Guest(_qmp(qmp), _grace(asked)), tuple(asked.command))


def _qmp(path: str) -> str:
    """Check the path of QEMU's socket: not empty, and short enough for AF_UNIX (unix(7), sun_path)."""
    if not path or len(os.fsencode(os.path.abspath(path))) > _LONGEST_SOCKET_PATH:
        raise UsageError(f"--qmp {path!r} is no path of a unix socket: 1 to {_LONGEST_SOCKET_PATH} octets")
    return path


def _grace(asked: argparse.Namespace) -> float:
    grace = _value(asked, "grace", lambda text: checks.seconds(text, "grace"))
    return checks.DEFAULT_GRACE if grace is None else grace


def _render(asked: argparse.Namespace) -> int:
    from vmnet.agent import lifecycle
    from vmnet.lease.render import render

    leases = lifecycle.plan(_config(asked)).journal.leases
    rendered = render(leases, asked.format)
    for warning in (*leases.warnings, *rendered.warnings):
        say("warning", "not-carried-over", warning)
    _print(rendered.text.removesuffix("\n"))
    return 0


def _hook(asked: argparse.Namespace) -> int:
    from vmnet.doors.libvirt import hook_script

    if asked.action == "install":
        hook_script.install(asked.dir, _config(asked).state_dir)
    else:
        hook_script.uninstall(asked.dir)
    return 0


def _domain(asked: argparse.Namespace) -> int:
    from vmnet.domain import read

    return _print_domain(sys.stdin.buffer.read(read.LARGEST + 1), asked)


def _define_domain(asked: argparse.Namespace) -> int:
    from vmnet.doors import kubevirt

    wanted = kubevirt.wanted(os.fsencode(asked.vmi or ""), os.environ.get(kubevirt.BINDING, ""))
    asked.mac = asked.mac or os.environ.get("VMNET_MAC") or wanted.mac or None
    try:
        return _print_domain(os.fsencode(asked.domain), asked, wanted.name)
    except BoundElsewhereError as error:
        # Who has bound it wrote its interface already; and where this fails, KubeVirt does not start the VM.
        say("warning", "bound-elsewhere", f"the domain stays as it is: {error}")
        sys.stdout.write(asked.domain)
        return 0


def _print_domain(xml: bytes, asked: argparse.Namespace, name: str = "") -> int:
    from vmnet.doors.libvirt.filter import filtered

    sys.stdout.buffer.write(filtered(xml, _config(asked), _text(asked, "model") or "", name))
    return 0


def _launch(asked: argparse.Namespace) -> int:
    from vmnet.doors.libvirt.launch import Job, launch

    gc.enable()  # it lives as long as its domain
    job = Job(
        path=asked.domain,
        uri=_text(asked, "connect") or "",
        grace=_grace(asked),
        model=_text(asked, "model") or "",
        keep=asked.keep,
    )
    return launch(_config(asked), job)


VERBS = (
    Verb(
        "up",
        BRING_UP,
        _up,
        "set up the VM's network and start its DHCP server",
        (options.place, options.settings, options.resume),
        ("vmnet up", "vmnet up --interface eth0 --tap tap0 --owner 107 --hostname vm1"),
        "Returns once the DHCP server is ready: you can start the VM then. "
        "Run it again to repair whatever has changed.",
    ),
    Verb(
        "down",
        BRING_UP,
        _down,
        "stop the server and restore the pod exactly as it was",
        (options.place, options.force),
        ("vmnet down",),
        "Refuses while a program has the tap open. Running it again does no harm.",
    ),
    Verb(
        "run",
        BRING_UP,
        _run,
        "`up`, then COMMAND, then `down`",
        (options.place, options.settings, options.power_button, options.run),
        (
            "vmnet run -- sleep 1",
            "vmnet run --owner 107 --keep -- ./start-qemu",
            "vmnet run --qmp qmp.sock --grace 60 -- ./start-qemu",
        ),
        "The server is restarted if it dies. Exits with COMMAND's exit code.",
    ),
    Verb(
        "launch",
        BRING_UP,
        _launch,
        "`up`, then the domain through libvirt, then `down`",
        (options.place, options.settings, options.model, options.launch),
        ("vmnet launch vm.xml", "vmnet launch --grace 60 --connect qemu:///system vm.xml"),
        "Runs until the domain ends. SIGTERM shuts the guest down.",
    ),
    Verb(
        "serve",
        BRING_UP,
        _serve,
        "run the DHCP server of an existing binding in the foreground",
        (options.place,),
        ("vmnet serve",),
    ),
    Verb(
        "plan",
        LOOK,
        _plan,
        "show what `up` would change and what the guest would get",
        (options.place, options.settings, options.plan_format),
        ("vmnet plan", "vmnet plan --format svg >pod.svg", "vmnet plan --format mermaid"),
        "Changes nothing.",
    ),
    Verb(
        "status",
        LOOK,
        _status,
        "show the guest's lease and anything changed since `up`",
        (options.place, options.status, options.as_json),
        ("vmnet status", "vmnet status --json", "vmnet status --watch"),
        "Exits with 7 if something changed, with 11 if nothing is bound; see docs/watching.md.",
    ),
    Verb(
        "wait",
        LOOK,
        _wait,
        "wait until server or guest is ready, or explain why not",
        (options.place, options.wait, options.as_json),
        ("vmnet wait --for ready", "vmnet wait --for bound --timeout 30"),
        "Exits with 6 on timeout and names the cause; docs/watching.md explains each.",
    ),
    Verb(
        "probe",
        LOOK,
        _probe,
        "quick check for Kubernetes' exec probes",
        (options.probe,),
        ("vmnet probe", "vmnet probe --for bound"),
        "Exits with 0 if so, else with 1. It asks only the server; `status` also compares the links and rules.",
    ),
    Verb(
        "capture",
        LOOK,
        _capture,
        "show the last DHCP, ARP and router discovery frames",
        (options.place, options.capture, options.as_json),
        ("vmnet capture --follow", "vmnet capture --write - >guest.pcap"),
        "These are the frames between guest and server.",
    ),
    Verb(
        "doctor",
        LOOK,
        _doctor,
        "find problems, before or after `up`, with their remedies",
        (options.place, options.settings, options.doctor, options.as_json),
        ("vmnet doctor --all", "vmnet doctor --listen 0 --json"),
        "Exits with 7 on a warning or an error. Each code is explained in docs/doctor.md.",
    ),
    Verb(
        "support-bundle",
        LOOK,
        _support_bundle,
        "collect everything a maintainer needs in one tar file",
        (options.place, options.support_bundle),
        ("vmnet support-bundle --redact", "vmnet support-bundle --output - >support.tar"),
    ),
    Verb(
        "metrics",
        LOOK,
        _metrics,
        "print the binding's metrics for Prometheus, once",
        (options.place,),
        ("vmnet metrics",),
    ),
    Verb(
        "render",
        LOOK,
        _render,
        "print the settings as static config, for guests without DHCP",
        (options.place, options.settings, options.render_format),
        ("vmnet render --format netplan", "vmnet render --format kernel-ip --hostname vm1"),
    ),
    Verb(
        "exporter",
        INTEGRATE,
        _exporter,
        "serve the metrics of all bindings on a node over HTTP",
        (options.exporter,),
        ("vmnet exporter", "vmnet exporter --listen unix:/run/vmnet.sock --state-dir '/pods/*/vmnet'"),
    ),
    Verb(
        "domain",
        INTEGRATE,
        _domain,
        "add the interface for the tap to a libvirt domain's XML",
        (options.place, options.settings, options.model),
        ("vmnet domain <vm.xml >vm-in-pod.xml",),
        "Reads the XML from stdin and writes it to stdout; everything else stays byte for byte.",
    ),
    Verb(
        "onDefineDomain",
        INTEGRATE,
        _define_domain,
        "`domain` as KubeVirt's hook sidecar calls it",
        (options.place, options.settings, options.model, options.define_domain),
        ("vmnet onDefineDomain --vmi '{}' --domain \"$(cat vm.xml)\"",),
    ),
    Verb(
        "power-button",
        INTEGRATE,
        _power_button,
        "run QEMU so that SIGTERM shuts its guest down",
        (options.power_button, options.command),
        ("vmnet power-button --qmp qmp.sock --grace 60 -- ./start-qemu",),
        "Needs no privileges and no binding: for QEMU in a container of its own, beside `vmnet run`.",
    ),
    Verb(
        "hook",
        INTEGRATE,
        _hook,
        "make libvirt run `up` and `down` with its domains",
        (options.hook,),
        ("vmnet hook install", "vmnet hook uninstall"),
    ),
)
"""A verb is added here, with its group, its example and all: help, completion and manual come from it."""


def _print(text: str) -> None:
    print(text)  # noqa: T201 # what was asked for goes to stdout
