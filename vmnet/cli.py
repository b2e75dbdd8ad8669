"""The verbs. Each imports its own room when called; here an error becomes an exit code, and nowhere else."""

from __future__ import annotations

import gc
import os
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

from vmnet import __version__
from vmnet import config as checks
from vmnet.config import Config, FromFile
from vmnet.errors import UsageError, VmnetError, WaitTimeoutError
from vmnet.last_word import leave
from vmnet.log import escape, say
from vmnet.model import ISOLATIONS, Settings
from vmnet.verbs import BRING_UP, INTEGRATE, LOOK, VARIABLE_PREFIX, Parser, Verb
from vmnet.verbs import parser as parser_of

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Container, Sequence

    from vmnet.agent import Outcome
    from vmnet.model import Told
    from vmnet.outline import Node


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb and return the exit code."""
    _occupy_standard_descriptors()
    try:
        words = sys.argv[1:] if arguments is None else arguments
        asked = parser(words).parse_args(words)
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


def parser(words: Container[str] | None = None) -> Parser:
    """Make the command line's parser: whole, or with the options of the verbs among `words` only."""
    return parser_of(VERBS, words)


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


def _add_plan_format(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--format", choices=checks.PLAN_FORMATS, default="text", help="how it is written (default: %(default)s)")
    add("--json", action="store_const", const="json", dest="format", help="the same as --format json")


def _add_settings(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--tap", metavar="NAME", help="the tap to make for the VM (default: tap0)")
    add("--owner", metavar="UID[:GID]", help="who may open the tap without privileges (default: root alone)")
    add("--queues", metavar="N", help="queues of the VM's NIC; QEMU opens the tap as often (default: 1)")
    add("--mac", metavar="MAC", help="the VM's MAC (default: the pod's)")
    add("--mtu", metavar="BYTES", help="the MTU the guest is told (default: the pod's)")
    add("--hostname", metavar="NAME", help="the host name the guest is told (default: the pod's)")
    add("--resolv-conf", metavar="FILE", help=f"where DNS is read from (default: {checks.DEFAULT_RESOLV_CONF})")
    add("--isolation", metavar="|".join(ISOLATIONS), help="what keeps the guest apart (default: strict)")
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


def _add_doctor(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--all", action="store_true", help="show the checks that found nothing, too")
    add("--domain", metavar="FILE", help="a domain's XML, to be compared with the binding")
    ear = "how long to listen for other DHCP servers and routers; nothing is sent (default: 1; 0 for not at all)"
    add("--listen", metavar="SECONDS", help=ear)


def _add_status(parser: argparse.ArgumentParser) -> None:
    again = "show it again and again, looking every so many seconds (default: 1), until Ctrl-C"
    parser.add_argument("--watch", metavar="SECONDS", nargs="?", const="1", help=again)


def _add_wait(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    goals = "the server serves; the guest has asked; it has its address; it answers for it"
    add("--for", dest="goal", choices=("ready", "asked", "bound", "reachable"), required=True, help=goals)
    add("--timeout", metavar="SECONDS", help="how long at most (default: 60)")


def _add_capture(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("-w", "--write", metavar="FILE.pcap", help="write them to a file for Wireshark instead of showing them")
    add("--follow", action="store_true", help="go on with those to come, until Ctrl-C")


def _add_support_bundle(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("-o", "--output", metavar="FILE.tar", default="vmnet-support.tar", help="where (default: %(default)s)")
    add("--redact", action="store_true", help="replace addresses, MACs, host names and domains by placeholders")


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
    return os.environ.get(f"{VARIABLE_PREFIX}{option.upper()}") if flag is None else flag


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
    if asked.format == "text":
        from vmnet import screen

        screen.show(show.plan_outline(found))
    elif asked.format == "json":
        _print(show.plan_json(found))
    else:
        from vmnet.drawing import drawn

        _print(drawn(found.journal, asked.format).removesuffix("\n"))
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


VERBS = (
    Verb(
        "up",
        BRING_UP,
        _up,
        "hand the pod's identity to the VM, and serve it",
        (_add_place, _add_settings, _add_resume),
        ("vmnet up", "vmnet up --interface eth0 --tap tap0 --owner 107 --hostname vm1"),
        "Returns when no DISCOVER can be lost any more. A second time it puts right what is not as it shall be.",
    ),
    Verb(
        "down",
        BRING_UP,
        _down,
        "give the pod back exactly as it was found",
        (_add_place,),
        ("vmnet down",),
        "Run again, it has nothing to do.",
    ),
    Verb(
        "run",
        BRING_UP,
        _run,
        "`up`, then COMMAND, then `down`",
        (_add_place, _add_settings, _add_command),
        ("vmnet run -- sleep 1", "vmnet run --owner 107 --keep -- ./start-qemu"),
        "The server is kept alive beside COMMAND; exits as COMMAND did.",
    ),
    Verb(
        "launch",
        BRING_UP,
        _launch,
        "`up`, then the domain through libvirt, then `down`",
        (_add_place, _add_settings, _add_model, _add_launch),
        ("vmnet launch vm.xml", "vmnet launch --grace 60 --connect qemu:///system vm.xml"),
        "The domain is looked after until it ends.",
    ),
    Verb(
        "serve",
        BRING_UP,
        _serve,
        "be the DHCP server of a binding that is up, in the foreground",
        (_add_place,),
        ("vmnet serve",),
    ),
    Verb(
        "plan",
        LOOK,
        _plan,
        "say what is there, what `up` changes, what the guest is told",
        (_add_place, _add_settings, _add_plan_format),
        ("vmnet plan", "vmnet plan --format svg >pod.svg", "vmnet plan --format mermaid"),
        "Touches nothing.",
    ),
    Verb(
        "status",
        LOOK,
        _status,
        "say how binding and guest stand, and what has drifted",
        (_add_place, _add_status, _add_json),
        ("vmnet status", "vmnet status --json", "vmnet status --watch"),
        "Exits with 7 on any difference. What it says is explained in docs/watching.md.",
    ),
    Verb(
        "wait",
        LOOK,
        _wait,
        "wait for server or guest, or say why it does not come",
        (_add_place, _add_wait, _add_json),
        ("vmnet wait --for ready", "vmnet wait --for bound --timeout 30"),
        "Exits with 6 and the cause where it does not come in time; each is explained in docs/watching.md.",
    ),
    Verb(
        "capture",
        LOOK,
        _capture,
        "show the last frames of DHCP, ARP and router discovery",
        (_add_place, _add_capture, _add_json),
        ("vmnet capture", "vmnet capture --follow", "vmnet capture --write guest.pcap"),
        "They are those between guest and server.",
    ),
    Verb(
        "doctor",
        LOOK,
        _doctor,
        "look for what is wrong or in the way, and say what to do",
        (_add_place, _add_settings, _add_doctor, _add_json),
        ("vmnet doctor --all", "vmnet doctor --listen 0 --json"),
        "Exits with 7 on a warning or an error. Each code is explained in docs/doctor.md.",
    ),
    Verb(
        "support-bundle",
        LOOK,
        _support_bundle,
        "write one tar with all that is needed to be helped",
        (_add_place, _add_support_bundle),
        ("vmnet support-bundle", "vmnet support-bundle --redact --output support.tar"),
    ),
    Verb(
        "render",
        LOOK,
        _render,
        "print what the guest is told, for guests without DHCP",
        (_add_place, _add_settings, _add_format),
        ("vmnet render --format netplan", "vmnet render --format kernel-ip --hostname vm1"),
    ),
    Verb(
        "domain",
        INTEGRATE,
        _domain,
        "write a domain's XML with the interface for the tap in it",
        (_add_place, _add_settings, _add_model),
        ("vmnet domain <vm.xml >vm-in-pod.xml",),
        "The XML is read from stdin and written to stdout; whatever else it says stays byte for byte.",
    ),
    Verb(
        "onDefineDomain",
        INTEGRATE,
        _define_domain,
        "the same for KubeVirt's hook sidecar",
        (_add_place, _add_settings, _add_model, _add_define_domain),
        ("vmnet onDefineDomain --vmi '{}' --domain \"$(cat vm.xml)\"",),
    ),
    Verb(
        "hook",
        INTEGRATE,
        _hook,
        "let libvirt bring bindings up and down with its domains",
        (_add_hook,),
        ("vmnet hook install", "vmnet hook uninstall"),
    ),
)
"""A verb is added here, with its group, its example and all: help, completion and manual come from it."""


def _print(text: str) -> None:
    print(text)  # noqa: T201 # what was asked for goes to stdout
