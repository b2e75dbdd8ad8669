"""The verbs. Each imports its own room when called; here an error becomes an exit code, and nowhere else."""

from __future__ import annotations

import argparse
import gc
import os
import sys
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NoReturn

from vmnet import __version__
from vmnet import config as checks
from vmnet.config import Config, FromFile
from vmnet.errors import UsageError, VmnetError, WaitTimeoutError
from vmnet.last_word import leave
from vmnet.log import escape, say
from vmnet.model import Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from vmnet.agent import Outcome
    from vmnet.model import Told
    from vmnet.outline import Node

_VARIABLE_PREFIX = "VMNET_"
_CODES = "exit codes: 0 ok, 1 unexpected, 2 usage, 3 refused before any change, 4 failed and rolled back, 5 \
roll-back incomplete, 6 wait timed out, 7 drift or finding, 8 libvirt failed, 9 domain refused, 10 domain crashed"


class _Parser(argparse.ArgumentParser):
    """argparse, whose complaints are one line and an error of our tree."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message}; see {self.prog} --help")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb and return the exit code."""
    _occupy_standard_descriptors()
    try:
        asked = _parser().parse_args(arguments)
        code: int = asked.run(asked)
        sys.stdout.flush()
    except VmnetError as error:
        say("error", type(error).__name__, str(error), code=error.exit_code, retryable=error.retryable)
        leave(escape(str(error)))
        return error.exit_code
    except BrokenPipeError:
        _discard_stdout()
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


def on_define_domain() -> int:
    """Run the verb of that name: KubeVirt's hook sidecar looks for a program."""
    return main(["onDefineDomain", *sys.argv[1:]])


def _occupy_standard_descriptors() -> None:
    """Keep descriptors 0 to 2 from being given to something of ours when the caller closed them."""
    while True:
        descriptor = os.open(os.devnull, os.O_RDWR)
        if descriptor > 2:
            os.close(descriptor)
            return
        os.set_inheritable(descriptor, True)


def _discard_stdout() -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def _parser() -> _Parser:
    parser = _Parser(
        prog="vmnet",
        description="Hand a pod's network identity to the virtual machine inside it.",
        epilog=f"Every option can also be set as {_VARIABLE_PREFIX}OPTION; a flag wins. {_CODES}",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"vmnet {__version__}")
    verbs = parser.add_subparsers(metavar="VERB", required=True)
    for verb in _VERBS:
        text = f"{verb.help[0].upper()}{verb.help[1:]}."
        sub = verbs.add_parser(verb.name, help=verb.help, description=text, allow_abbrev=False)
        sub.set_defaults(run=verb.run)
        for add in verb.options:
            add(sub)
    return parser


def _add_place(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "--interface",
        metavar="NAME",
        help="the pod interface (default: eth0, else the one with the default route)",
    )
    add("--netns", metavar="NAME|PATH", help="act in this network namespace instead of the current one")
    add("--state-dir", metavar="DIR", help=f"where the pod's facts are kept (default: {checks.DEFAULT_STATE_DIR})")


def _add_json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print JSON")


def _add_settings(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--tap", metavar="NAME", help="the tap to make for the VM (default: tap0)")
    add("--owner", metavar="UID[:GID]", help="who may open the tap without privileges (default: root alone)")
    add("--queues", metavar="N", help="queues of the VM's NIC; QEMU opens the tap as often (default: 1)")
    add("--mac", metavar="MAC", help="the VM's MAC (default: the pod's)")
    add("--mtu", metavar="BYTES", help="the MTU the guest is told (default: the pod's)")
    add("--hostname", metavar="NAME", help="the host name the guest is told (default: the pod's)")
    add("--resolv-conf", metavar="FILE", help=f"where DNS is read from (default: {checks.DEFAULT_RESOLV_CONF})")
    add(
        "--isolation", metavar="HOW", help="what keeps the guest apart: strict, dhcp-only or off (default: strict)"
    )
    further = "that the guest may use besides its own; may be given again"
    add("--allow-address", metavar="CIDR", action="append", help=f"a further address or prefix {further}")
    add("--allow-mac", metavar="MAC", action="append", help=f"a further MAC {further}")
    add("--server-user", metavar="UID[:GID]", help="who the DHCP server becomes (default: nobody)")
    add(
        "--sandbox", metavar="on|off", help="whether the DHCP server gives its privileges up; off is for debugging"
    )
    add("--dhcp", metavar="|".join(checks.DHCP_MODES), help="who answers the guest's DHCP (default: on, vmnet)")
    add("--lease-time", metavar="SECONDS", help="of DHCP, or infinite (default: 86400)")
    add("--ipv6", metavar="on|off", help="whether the guest is told of the pod's IPv6 (default: on)")
    add("--config", metavar="FILE", help="all of this and more, YAML or JSON; flags and variables win")


def _add_resume(parser: argparse.ArgumentParser) -> None:
    text = "only bring back what is up already: do not undo somebody's `down`"
    parser.add_argument("--resume", action="store_true", help=text)


def _add_command(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--keep", action="store_true", help="leave the binding up when COMMAND has ended")
    add("command", nargs="*", metavar="COMMAND", help="what to run, after --; without it, until SIGTERM or SIGINT")


def _add_hook(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("action", choices=("install", "uninstall"), help="put the hook in place, or remove it")
    add("--dir", metavar="DIR", default=checks.DEFAULT_HOOKS_DIR, help="libvirt's hooks (default: %(default)s)")
    add("--state-dir", metavar="DIR", help=f"where the hook keeps its facts (default: {checks.DEFAULT_STATE_DIR})")


def _add_format(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--format", choices=checks.RENDER_FORMATS, required=True, help="for whom it is written")


def _add_model(parser: argparse.ArgumentParser) -> None:
    text = "the NIC's model in the domain (default: what the domain says, else virtio)"
    parser.add_argument("--model", metavar="MODEL", help=text)


def _add_launch(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--connect", metavar="URI", help="where libvirt is (default: the system's, started where it does not run)")
    grace = f"how long the guest may take to shut down after SIGTERM (default: {checks.DEFAULT_GRACE:g})"
    add("--grace", metavar="SECONDS", help=grace)
    add("--keep", action="store_true", help="leave the binding up when the domain has ended")
    add("domain", metavar="DOMAIN.xml", help="the domain as libvirt takes it")


def _add_exporter(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    where = f"unix:PATH or HOST:PORT (default: {checks.DEFAULT_LISTEN})"
    add("--listen", metavar="ADDRESS", help=where)
    text = f"may be given again; * stands for any one name (default: {checks.DEFAULT_STATE_DIR})"
    add("--state-dir", metavar="DIR", action="append", help=f"where facts of pods are kept; {text}")


def _add_doctor(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--all", action="store_true", help="show the checks that found nothing, too")
    add("--domain", metavar="FILE", help="a domain's XML, to be compared with the binding")
    ear = "how long to listen for other DHCP servers and routers; nothing is sent (default: 1; 0 for not at all)"
    add("--listen", metavar="SECONDS", help=ear)
    parser.epilog = "example: vmnet doctor --all; each code is explained in docs/doctor.md"


def _add_status(parser: argparse.ArgumentParser) -> None:
    again = "show it again and again, looking every so many seconds (default: 1), until Ctrl-C"
    parser.add_argument("--watch", metavar="SECONDS", nargs="?", const="1", help=again)
    parser.epilog = "example: vmnet status --watch; what it says is explained in docs/watching.md"


def _add_wait(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    goals = "the server serves; the guest has asked; it has its address; it answers for it"
    add("--for", dest="goal", choices=("ready", "asked", "bound", "reachable"), required=True, help=goals)
    add("--timeout", metavar="SECONDS", help="how long at most (default: 60)")
    parser.epilog = "example: vmnet wait --for bound --timeout 30; each cause is explained in docs/watching.md"


def _add_capture(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("-w", "--write", metavar="FILE.pcap", help="write them to a file for Wireshark instead of showing them")
    add("--follow", action="store_true", help="go on with those to come, until Ctrl-C")
    parser.epilog = "example: vmnet capture --follow"


def _add_support_bundle(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("-o", "--output", metavar="FILE.tar", default="vmnet-support.tar", help="where (default: %(default)s)")
    add("--redact", action="store_true", help="replace addresses, MACs, host names and domains by placeholders")
    parser.epilog = "example: vmnet support-bundle --redact -o support.tar"


def _add_define_domain(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--vmi", metavar="JSON", help="the VirtualMachineInstance; not looked at")
    add("--domain", metavar="XML", required=True, help="the domain's XML")


def _config(asked: argparse.Namespace) -> Config:
    """Join flags, environment and configuration file into a checked Config."""
    from_file = _from_file(asked)

    def text(option: str) -> str | None:
        said = _text(asked, option)
        return from_file.texts.get(option) if said is None else said

    config = Config(settings=_isolated(_settings(text, from_file.told), text))
    interface, netns, state_dir, resolv_conf = map(text, ("interface", "netns", "state_dir", "resolv_conf"))
    if interface is not None:
        config = replace(config, interface=checks.link_name(interface, "interface"))
    if netns is not None:
        if not netns:
            raise UsageError("network namespace '' is no name or path")
        config = replace(config, netns=netns)
    if state_dir is not None:
        config = replace(config, state_dir=checks.state_directory(state_dir))
    if resolv_conf is not None:
        if not resolv_conf:
            raise UsageError("resolver file '' is no path")
        config = replace(config, resolv_conf=resolv_conf)
    if not config.netns:
        config = replace(config, default_hostname=os.uname().nodename)
    return config


def _from_file(asked: argparse.Namespace) -> FromFile:
    """Read the configuration file, for the verbs that take one: `down` must not fail for want of it."""
    path = _text(asked, "config") if hasattr(asked, "config") else None
    if path is None:
        return FromFile()
    from vmnet import config_file

    return config_file.read(path, _text(asked, "interface") or "")


def _text(asked: argparse.Namespace, option: str) -> str | None:
    """Return what a flag, else its environment variable, says."""
    flag: str | list[str] | None = getattr(asked, option, None)
    if isinstance(flag, list):
        return ",".join(flag)
    return os.environ.get(f"{_VARIABLE_PREFIX}{option.upper()}") if flag is None else flag


def _settings(text: Callable[[str], str | None], told: Told) -> Settings:
    lease_time, dhcp, ipv6 = text("lease_time"), text("dhcp"), text("ipv6")
    if lease_time is not None:
        told = replace(told, lease_time=checks.lease_seconds(lease_time))
    if ipv6 is not None:
        told = replace(told, ipv6=checks.switch(ipv6, "ipv6"))
    settings = Settings(told=told)
    if dhcp is not None:
        settings = replace(settings, dhcp=checks.dhcp_mode(dhcp))
    options = ("tap", "owner", "queues", "mac", "mtu", "hostname")
    tap, owner, queues, mac, mtu, hostname = map(text, options)
    if tap is not None:
        settings = replace(settings, tap=checks.link_name(tap, "tap"))
    if owner is not None:
        uid, gid = checks.owner_ids(owner)
        settings = replace(settings, owner=uid, group=gid)
    if queues is not None:
        settings = replace(settings, multi_queue=checks.queue_count(queues) > 1)
    if mac is not None:
        settings = replace(settings, mac=checks.mac_address(mac))
    if mtu is not None:
        settings = replace(settings, mtu=checks.mtu_bytes(mtu))
    if hostname is not None:
        settings = replace(settings, hostname=checks.host_name(hostname))
    return _server_settings(settings, text)


def _server_settings(settings: Settings, text: Callable[[str], str | None]) -> Settings:
    sandbox, server_user = map(text, ("sandbox", "server_user"))
    if sandbox is not None:
        settings = replace(settings, sandbox=checks.switch(sandbox, "sandbox"))
    if server_user is not None:
        uid, gid = checks.server_ids(server_user)
        settings = replace(settings, server_user=uid, server_group=gid)
    return settings


def _isolated(settings: Settings, text: Callable[[str], str | None]) -> Settings:
    isolation, addresses, macs = map(text, ("isolation", "allow_address", "allow_mac"))
    if isolation is not None:
        settings = replace(settings, isolation=checks.isolation(isolation))
    if addresses is not None:
        settings = replace(settings, allow_addresses=checks.listed(addresses, checks.prefix))
    if macs is not None:
        settings = replace(settings, allow_macs=checks.listed(macs, checks.mac_address))
    return settings


def _plan(asked: argparse.Namespace) -> int:
    from vmnet import agent, show

    found = agent.plan(_config(asked))
    _print(show.plan_json(found) if asked.json else show.plan_text(found))
    return 0


def _up(asked: argparse.Namespace) -> int:
    from vmnet import agent

    _tell_ready(agent.up(replace(_config(asked), resume=asked.resume)))
    return 0


def _tell_ready(outcome: Outcome) -> None:
    leases, settings = outcome.journal.leases, outcome.journal.settings
    for warning in leases.warnings:
        say("warning", "not-carried-over", warning)
    if not settings.sandbox:
        say("warning", "sandbox-off", checks.SANDBOX_OFF)
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
    from vmnet import agent

    journal = agent.down(_config(asked))
    if journal is None:
        say("info", "down", "nothing is up here", changed=False)
    else:
        say("info", "down", f"{journal.pod.ifname} is as it was found", interface=journal.pod.ifname, changed=True)
    return 0


def _status(asked: argparse.Namespace) -> int:
    from vmnet import agent
    from vmnet.watching import live, sight, status

    config = _config(asked)
    if asked.watch is not None:
        return live.watch(config, checks.seconds(asked.watch, "watch"), as_json=asked.json)
    with agent.at(config) as place:
        seen = sight.look(place, config)
    _show(asked, status.value(seen), status.outline(seen))
    return 7 if seen.report.drift else 0


def _wait(asked: argparse.Namespace) -> int:
    from vmnet.watching import wait

    timeout = _text(asked, "timeout")
    seconds = wait.DEFAULT_SECONDS if timeout is None else checks.seconds(timeout, "timeout")
    waited = wait.wait(_config(asked), asked.goal, seconds)
    _show(asked, wait.value(waited), wait.outline(waited))
    if waited.cause:
        raise WaitTimeoutError(f"not {waited.goal} within {seconds:g} s: {waited.cause.word}")
    return 0


def _capture(asked: argparse.Namespace) -> int:
    from vmnet.watching import capture

    capture.capture(_config(asked), capture.Wishes(asked.write or "", asked.follow, asked.json))
    return 0


def _support_bundle(asked: argparse.Namespace) -> int:
    from vmnet.watching import bundle

    for name, why in bundle.bundle(_config(asked), asked.output, redact=asked.redact).items():
        say("warning", "not-bundled", f"{name} is not in it: {why}")
    say("info", "bundled", f"{asked.output} is written; look through it before you send it", path=asked.output)
    return 0


def _show(asked: argparse.Namespace, value: object, nodes: Sequence[Node]) -> None:
    """Print for machines, or for people."""
    if asked.json:
        import json

        _print(json.dumps(value, indent=2, ensure_ascii=False))
    else:
        from vmnet import screen

        screen.show(nodes)


def _doctor(asked: argparse.Namespace) -> int:
    from vmnet.doctor import report
    from vmnet.doctor.evidence import INFO
    from vmnet.doctor.gather import DEFAULT_SECONDS, Wishes, gather
    from vmnet.doctor.table import examine, worst

    listen = _text(asked, "listen")
    seconds = DEFAULT_SECONDS if listen is None else checks.seconds(listen, "listen")
    evidence = gather(_config(asked), Wishes(asked.domain or "", seconds))
    if asked.json:
        _print(report.as_json(evidence))
    else:
        from vmnet import screen

        screen.show(report.outline(evidence, every=asked.all))
    return 0 if worst(examine(evidence)) == INFO else 7


def _metrics(asked: argparse.Namespace) -> int:
    from vmnet import agent, metrics

    config = _config(asked)
    bindings = [
        metrics.Binding(
            report.journal.pod.ifname,
            report.journal.netns_cookie,
            config.state_dir,
            report.server or None,
            len(report.drift),
        )
        for report in agent.statuses(config)
        if report.journal
    ]
    sys.stdout.buffer.write(metrics.text(bindings))
    return 0


def _exporter(asked: argparse.Namespace) -> int:
    from vmnet import exporter

    gc.enable()  # it lives for long
    said = asked.state_dir or (_text(asked, "state_dir") or checks.DEFAULT_STATE_DIR).split(",")
    return exporter.export(_text(asked, "listen") or checks.DEFAULT_LISTEN, list(map(checks.state_pattern, said)))


def _serve(asked: argparse.Namespace) -> int:
    from vmnet import agent

    agent.serve(_config(asked))
    return 1


def _run(asked: argparse.Namespace) -> int:
    from vmnet import run

    return run.run(_config(asked), run.Job(tuple(asked.command), asked.keep), _tell_ready)


def _render(asked: argparse.Namespace) -> int:
    from vmnet import agent
    from vmnet.guest.render import render

    leases = agent.plan(_config(asked)).journal.leases
    rendered = render(leases, asked.format)
    for warning in (*leases.warnings, *rendered.warnings):
        say("warning", "not-carried-over", warning)
    _print(rendered.text.removesuffix("\n"))
    return 0


def _hook(asked: argparse.Namespace) -> int:
    from vmnet.guest import hook_script

    if asked.action == "install":
        hook_script.install(asked.dir, _config(asked).state_dir)
    else:
        hook_script.uninstall(asked.dir)
    return 0


def _domain(asked: argparse.Namespace) -> int:
    from vmnet.guest import domain

    return _print_domain(sys.stdin.buffer.read(domain.LARGEST + 1), asked)


def _define_domain(asked: argparse.Namespace) -> int:
    return _print_domain(os.fsencode(asked.domain), asked)


def _print_domain(xml: bytes, asked: argparse.Namespace) -> int:
    from vmnet.guest.filter import filtered

    sys.stdout.buffer.write(filtered(xml, _config(asked), _text(asked, "model") or ""))
    return 0


def _launch(asked: argparse.Namespace) -> int:
    from vmnet.guest.launch import Job, launch

    gc.enable()  # it lives as long as its domain
    grace = _text(asked, "grace")
    job = Job(
        path=asked.domain,
        uri=_text(asked, "connect") or "",
        grace=checks.DEFAULT_GRACE if grace is None else checks.seconds(grace, "grace"),
        model=_text(asked, "model") or "",
        keep=asked.keep,
    )
    return launch(_config(asked), job)


@dataclass(frozen=True, slots=True)
class _Verb:
    """A verb of the command line: what runs it, and which groups of options it takes."""

    name: str
    run: Callable[[argparse.Namespace], int]
    help: str
    options: tuple[Callable[[argparse.ArgumentParser], None], ...]


_VERBS = (
    _Verb(
        "plan",
        _plan,
        "say what is there, what `up` would change and what the guest will be told",
        (_add_place, _add_settings, _add_json),
    ),
    _Verb(
        "up",
        _up,
        "hand the pod's identity over and serve it; returns when no DISCOVER can be lost",
        (_add_place, _add_settings, _add_resume),
    ),
    _Verb("down", _down, "give the pod back exactly as it was found", (_add_place,)),
    _Verb(
        "status",
        _status,
        "say how binding and guest stand, and what is not as it shall be; exit 7 on any difference",
        (_add_place, _add_status, _add_json),
    ),
    _Verb(
        "wait",
        _wait,
        "wait for the server, or for the guest; exit 6 with the cause where it does not come in time",
        (_add_place, _add_wait, _add_json),
    ),
    _Verb(
        "capture",
        _capture,
        "show the last frames of DHCP, ARP and router discovery between guest and server",
        (_add_place, _add_capture, _add_json),
    ),
    _Verb(
        "doctor",
        _doctor,
        "look for what is wrong, or in the way of `up`, and say what to do; exit 7 on a warning or an error",
        (_add_place, _add_settings, _add_doctor, _add_json),
    ),
    _Verb(
        "support-bundle",
        _support_bundle,
        "write one tar with all that somebody needs who is asked for help",
        (_add_place, _add_support_bundle),
    ),
    _Verb("metrics", _metrics, "print what `status` counts, for Prometheus", (_add_place,)),
    _Verb("exporter", _exporter, "serve the metrics of all bindings of a node", (_add_exporter,)),
    _Verb("serve", _serve, "run the DHCP server of a binding that is up, in the foreground", (_add_place,)),
    _Verb(
        "run",
        _run,
        "`up`, then COMMAND with the server kept alive beside it, then `down`; exit as COMMAND did",
        (_add_place, _add_settings, _add_command),
    ),
    _Verb(
        "render",
        _render,
        "print what the guest will be told, as configuration for guests without a DHCP client",
        (_add_place, _add_settings, _add_format),
    ),
    _Verb(
        "domain",
        _domain,
        "read a domain's XML and write it with the interface for the pod's tap in it",
        (_add_place, _add_settings, _add_model),
    ),
    _Verb(
        "onDefineDomain",
        _define_domain,
        "the same for KubeVirt's hook sidecar",
        (_add_place, _add_settings, _add_model, _add_define_domain),
    ),
    _Verb(
        "launch",
        _launch,
        "`up`, then the domain through libvirt and looked after until it ends, then `down`",
        (_add_place, _add_settings, _add_model, _add_launch),
    ),
    _Verb("hook", _hook, "let libvirt bring bindings up and down with its domains", (_add_hook,)),
)


def _print(text: str) -> None:
    print(text)  # noqa: T201 # what was asked for goes to stdout
