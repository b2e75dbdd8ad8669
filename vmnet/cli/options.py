"""Groups of options: each function adds those of one to a verb's parser."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vmnet.model.settings import ISOLATIONS
from vmnet.settings import config as checks

if TYPE_CHECKING:
    import argparse


def place(parser: argparse.ArgumentParser) -> None:
    """Where it acts."""
    add = parser.add_argument
    add(
        "--interface",
        metavar="NAME",
        help="the pod interface (default: eth0, else the one with the default route)",
    )
    add("--netns", metavar="NAME|PATH", help="act in this network namespace instead of the current one")
    add(
        "--state-dir",
        metavar="DIR",
        help=f"where vmnet keeps the pod's configuration (default: {checks.DEFAULT_STATE_DIR})",
    )


def as_json(parser: argparse.ArgumentParser) -> None:
    """For verbs that print for people otherwise."""
    parser.add_argument("--json", action="store_true", help="print JSON")


def plan_format(parser: argparse.ArgumentParser) -> None:
    """How `plan` is written."""
    add = parser.add_argument
    add("--format", choices=checks.PLAN_FORMATS, default="text", help="output format (default: %(default)s)")
    add("--json", action="store_const", const="json", dest="format", help="the same as --format json")


def settings(parser: argparse.ArgumentParser) -> None:
    """What the user wants of a binding."""
    add = parser.add_argument
    add("--tap", metavar="NAME", help="the tap to make for the VM (default: tap0, or the next free name)")
    add("--owner", metavar="UID[:GID]", help="who may open the tap without privileges (default: only root)")
    add("--queues", metavar="N", help="number of queues of the VM's NIC, as in QEMU's queues= (default: 1)")
    add("--mac", metavar="MAC", help="the VM's MAC (default: the pod's)")
    add("--mtu", metavar="BYTES", help="the guest's MTU (default: the pod's)")
    add("--hostname", metavar="NAME", help="the guest's host name (default: the pod's)")
    add(
        "--resolv-conf",
        metavar="FILE",
        help=f"file to read the DNS settings from (default: {checks.DEFAULT_RESOLV_CONF})",
    )
    add(
        "--dns",
        metavar="ADDRESS",
        action="append",
        help="DNS server, instead of those in resolv.conf; repeatable",
    )
    add(
        "--dns-search",
        metavar="DOMAIN",
        action="append",
        help="search domain, instead of those in resolv.conf; repeatable",
    )
    add(
        "--isolation",
        metavar="|".join(ISOLATIONS),
        help="which frames of the guest are filtered (default: strict)",
    )
    further = "that the guest may also use; repeatable"
    add("--allow-address", metavar="CIDR", action="append", help=f"address or prefix {further}")
    add("--allow-mac", metavar="MAC", action="append", help=f"MAC {further}")
    add("--server-user", metavar="UID[:GID]", help="user that the DHCP server runs as (default: 65525)")
    add("--sandbox", metavar="on|off", help="whether the DHCP server drops its privileges; off is for debugging")
    add(
        "--on-node",
        metavar="on|off",
        help="accept a network namespace that looks like a node's (default: off)",
    )
    add("--dhcp", metavar="|".join(checks.DHCP_MODES), help="who answers the guest's DHCP (default: on, vmnet)")
    add("--lease-time", metavar="SECONDS", help="DHCP lease time, or infinite (default: 86400)")
    add("--ipv6", metavar="on|off", help="whether the guest gets the pod's IPv6 (default: on)")
    add(
        "--config", metavar="FILE", help="file with these settings and more, YAML or JSON; flags and variables win"
    )


def resume(parser: argparse.ArgumentParser) -> None:
    """Of `up`."""
    text = "only repair an existing binding; exit with 3 if there is none, as after a `down`"
    parser.add_argument("--resume", action="store_true", help=text)


def power_button(parser: argparse.ArgumentParser) -> None:
    """Of verbs that run QEMU."""
    add = parser.add_argument
    add(
        "--qmp",
        metavar="SOCKET",
        help="QEMU's QMP socket (-qmp unix:SOCKET,server=on,wait=off): SIGTERM then "
        "presses the guest's power button",
    )
    grace = f"how long the guest may take to shut down (default: {checks.DEFAULT_GRACE:g})"
    add("--grace", metavar="SECONDS", help=grace)


def force(parser: argparse.ArgumentParser) -> None:
    """Of `down`."""
    text = "even while a program has the tap open: its VM loses its network"
    parser.add_argument("--force", action="store_true", help=text)


def command(parser: argparse.ArgumentParser) -> None:
    """Of `power-button`."""
    parser.add_argument("command", nargs="+", metavar="COMMAND", help="QEMU's command line, after --")


def run(parser: argparse.ArgumentParser) -> None:
    """Of `run`."""
    add = parser.add_argument
    add("--keep", action="store_true", help="leave the binding up when COMMAND has ended")
    add("command", nargs="*", metavar="COMMAND", help="what to run, after --; without it, until SIGTERM or SIGINT")


def hook(parser: argparse.ArgumentParser) -> None:
    """Of `hook`."""
    add = parser.add_argument
    add("action", choices=("install", "uninstall"), help="install or remove the hook")
    add(
        "--dir",
        metavar="DIR",
        default=checks.DEFAULT_HOOKS_DIR,
        help="libvirt's hooks directory (default: %(default)s)",
    )
    add("--state-dir", metavar="DIR", help=f"where the hook keeps its state (default: {checks.DEFAULT_STATE_DIR})")


def render_format(parser: argparse.ArgumentParser) -> None:
    """How `render` writes."""
    parser.add_argument(
        "--format", choices=checks.RENDER_FORMATS, required=True, help="format of the configuration"
    )


def model(parser: argparse.ArgumentParser) -> None:
    """For verbs that write a domain."""
    text = "the NIC's model in the domain (default: what the domain says, else virtio)"
    parser.add_argument("--model", metavar="MODEL", help=text)


def launch(parser: argparse.ArgumentParser) -> None:
    """Of `launch`."""
    add = parser.add_argument
    add(
        "--connect",
        metavar="URI",
        help="libvirt's URI (default: the system's libvirtd, started if it does not run)",
    )
    grace = f"how long the guest may take to shut down after SIGTERM (default: {checks.DEFAULT_GRACE:g})"
    add("--grace", metavar="SECONDS", help=grace)
    add("--keep", action="store_true", help="leave the binding up when the domain has ended")
    add("domain", metavar="DOMAIN.xml", help="the domain as libvirt takes it")


def exporter(parser: argparse.ArgumentParser) -> None:
    """Of `exporter`."""
    add = parser.add_argument
    add("--listen", metavar="ADDRESS", help=f"unix:PATH or HOST:PORT (default: {checks.DEFAULT_LISTEN})")
    text = f"repeatable; * matches one directory (default: {checks.DEFAULT_STATE_DIR})"
    add("--state-dir", metavar="DIR", action="append", help=f"state directory of the pods; {text}")


def doctor(parser: argparse.ArgumentParser) -> None:
    """Of `doctor`."""
    add = parser.add_argument
    add("--all", action="store_true", help="also show the checks that found nothing")
    add("--domain", metavar="FILE", help="a libvirt domain's XML to compare with the binding")
    duration = (
        "how long to listen for other DHCP servers and routers; sends nothing (default: 1; 0: do not listen)"
    )
    add("--listen", metavar="SECONDS", help=duration)


def status(parser: argparse.ArgumentParser) -> None:
    """Of `status`."""
    again = "keep showing it, every SECONDS (default: 1), until Ctrl-C"
    parser.add_argument("--watch", metavar="SECONDS", nargs="?", const="1", help=again)


def wait(parser: argparse.ArgumentParser) -> None:
    """Of `wait`."""
    add = parser.add_argument
    goals = (
        "ready: the server is serving; asked: the guest has asked for a lease; bound: it has one; "
        "reachable: it answers for its address"
    )
    add("--for", dest="goal", choices=("ready", "asked", "bound", "reachable"), required=True, help=goals)
    add("--timeout", metavar="SECONDS", help="how long at most (default: 60)")


def probe(parser: argparse.ArgumentParser) -> None:
    """Of `probe`."""
    add = parser.add_argument
    goals = "ready: the server is serving (default); bound: the guest has its lease"
    add("--for", dest="goal", choices=("ready", "bound"), default="ready", help=goals)
    add("--interface", metavar="NAME", help="the pod interface (default: the one that is bound)")
    add(
        "--state-dir",
        metavar="DIR",
        help=f"where vmnet keeps the pod's configuration (default: {checks.DEFAULT_STATE_DIR})",
    )


def capture(parser: argparse.ArgumentParser) -> None:
    """Of `capture`."""
    add = parser.add_argument
    add("-w", "--write", metavar="FILE.pcap", help="write the frames as pcap, for Wireshark; - is stdout")
    add("--follow", action="store_true", help="keep showing new frames, until Ctrl-C")


def support_bundle(parser: argparse.ArgumentParser) -> None:
    """Of `support-bundle`."""
    add = parser.add_argument
    add(
        "-o",
        "--output",
        metavar="FILE.tar",
        default="vmnet-support.tar",
        help="file to write; - is stdout (default: %(default)s)",
    )
    add("--redact", action="store_true", help="replace addresses, MACs, host names and domains with placeholders")


def define_domain(parser: argparse.ArgumentParser) -> None:
    """Of `onDefineDomain`."""
    add = parser.add_argument
    add("--vmi", metavar="JSON", help="the VirtualMachineInstance: the interface's name and MAC")
    add("--domain", metavar="XML", required=True, help="the domain's XML")
