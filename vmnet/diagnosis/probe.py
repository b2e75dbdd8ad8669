"""`vmnet probe`: one question to the binding's server, at hardly more than the price of a Python that starts.

Kubernetes runs a probe every few seconds in every pod. So this is done before the command line is parsed, and
without what costs milliseconds: argparse, json, re, socket, netlink. It looks at nothing but what the server says.
"""

from __future__ import annotations

import _json
import _socket
import errno
import os
import struct
import sys
import time

from vmnet.kernel.own_files import named, own_directory
from vmnet.server.lease_state import HOLDING, STATIC
from vmnet.server.lease_state import STATES as LEASE_STATES
from vmnet.server.state import SERVING
from vmnet.server.state import STATES as SERVER_STATES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

READY, BOUND = GOALS = ("ready", "bound")
"""The server serves; and the guest has its address, of either family."""
DEFAULT_STATE_DIR = "/run/vmnet"
_HERE = (*HOLDING, STATIC)
_SO_NETNS_COOKIE = 71
_PEER = struct.Struct("iII")
"""`struct ucred`: pid, uid, gid."""
_ANSWER_SECONDS = 1.0
_ANSWER_BYTES = 16384
_FLAGS = {"--for": "FOR", "--interface": "INTERFACE", "--state-dir": "STATE_DIR"}


class _No(Exception):  # noqa: N818 # an answer to the question
    """Why the probe fails."""


def main(words: Sequence[str]) -> int | None:
    """Answer with an exit code, 0 or 1; None where the words are not a probe's alone, and argparse has to tell."""
    wishes = understood(words)
    if wishes is None:
        return None
    goal, interface, state_dir = wishes
    return probe(goal, interface, state_dir)


def understood(words: Sequence[str]) -> tuple[str, str, str] | None:
    """The goal, the interface and the state directory that flags, else variables, name."""
    given = {"FOR": READY}
    rest = list(words)
    while rest:
        flag, equals, value = rest.pop(0).partition("=")
        if flag not in _FLAGS or not (equals or rest):
            return None
        given[_FLAGS[flag]] = value if equals else rest.pop(0)
    if given["FOR"] not in GOALS:
        return None
    interface, state_dir = (
        given.get(name, os.environ.get(f"VMNET_{name}", default))
        for name, default in (("INTERFACE", ""), ("STATE_DIR", DEFAULT_STATE_DIR))
    )
    return given["FOR"], interface, state_dir


def probe(goal: str, interface: str, state_dir: str) -> int:
    """Ask, print one line, and return 0 where what is asked for is so, else 1."""
    try:
        line, code = f"{goal}: {_found(goal, interface, state_dir)}", 0
    except (_No, OSError, ValueError) as why:
        reason = getattr(why, "strerror", None) or str(why)
        line, code = f"not {goal}: {_at_place(reason, interface, state_dir)}", 1
    try:
        os.write(1 if code == 0 else 2, line.encode(errors="backslashreplace") + b"\n")
    except OSError:
        return code  # nobody listens
    return code


def _at_place(text: str, interface: str, state_dir: str) -> str:
    """Return it with a command that acts where the probe has asked."""
    if "run `vmnet " not in text:
        return text
    from vmnet.settings.advice import (  # only for one whose probe fails: with the settings' types
        at_this_place,
        place_flags,
    )
    from vmnet.settings.config import Config

    return at_this_place(text, place_flags(Config(interface=interface, state_dir=state_dir)))


def _found(goal: str, interface: str, state_dir: str) -> str:
    namespace = f"{state_dir}/netns-{_cookie()}"
    ifname = interface or _only_binding(namespace)
    state, leases = said(_answer(ifname, namespace))
    if state != SERVING:
        raise _No(f"the DHCP server of {ifname} is {state}")
    if goal == BOUND and not any(lease in _HERE for lease in leases):
        raise _No(f"the guest on {ifname} is {', '.join(leases)}")
    return f"{ifname}, the guest is {', '.join(leases)}"


def _cookie() -> int:
    """The number of this network namespace, as vmnet.kernel.netns has it."""
    any_socket = _socket.socket(_socket.AF_INET, _socket.SOCK_DGRAM)
    try:
        return int.from_bytes(any_socket.getsockopt(_socket.SOL_SOCKET, _SO_NETNS_COOKIE, 8), sys.byteorder)
    finally:
        any_socket.close()


def _only_binding(namespace: str) -> str:
    try:
        names = sorted(entry.name for entry in os.scandir(namespace) if entry.is_dir(follow_symlinks=False))
    except FileNotFoundError:
        names = []
    except OSError as error:
        raise _unreadable(namespace, error) from None
    if len(names) > 1:
        raise _No(f"several interfaces are bound here ({', '.join(names)}); name one with --interface")
    if not names:
        raise _No("no binding is up here; run `vmnet up` first")
    return names[0]


def _unreadable(path: str, error: OSError) -> _No:
    remedy = "; run the probe as the user of `vmnet up`" if error.errno == errno.EACCES else ""
    return _No(f"cannot read {path}: {error.strerror or error}{remedy}")


def _answer(ifname: str, namespace: str) -> bytes:
    """What the server says: found by its file, as vmnet.control.call does; by its name anybody could answer."""
    try:
        directory = _own(ifname, namespace)
    except FileNotFoundError:
        raise _No(f"{ifname} is not bound here; run `vmnet up` first") from None
    except OSError as error:
        raise _unreadable(f"{namespace}/{ifname}", error) from None
    answer = _asked(directory)
    os.close(directory)
    if answer is None:
        raise _No(f"the DHCP server of {ifname} does not answer")
    return answer


def _own(ifname: str, namespace: str) -> int:
    above = own_directory(namespace)
    try:
        return own_directory(ifname, above)
    finally:
        os.close(above)


def _asked(directory: int) -> bytes | None:
    """Hear the directory's server, which is root's or our own, for a second at most; None where there is none."""
    try:
        door = named("server.sock", directory)
    except OSError:
        return None
    try:
        return _heard(f"/proc/self/fd/{door}")
    finally:
        os.close(door)


def _heard(address: str) -> bytes | None:
    """As vmnet.control.call asks, whose `socket` and `dataclasses` cost more to import than all that is here."""
    asking = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    deadline, answer = time.monotonic() + _ANSWER_SECONDS, b""
    try:
        asking.settimeout(_ANSWER_SECONDS)
        asking.connect(address)
        _, uid, _ = _PEER.unpack(asking.getsockopt(_socket.SOL_SOCKET, _socket.SO_PEERCRED, _PEER.size))
        if uid not in (0, os.geteuid()):
            return None
        while len(answer) <= _ANSWER_BYTES and (left := deadline - time.monotonic()) > 0:
            asking.settimeout(left)
            part = asking.recv(_ANSWER_BYTES)
            if not part:
                return answer
            answer += part
    except OSError:
        return None
    finally:
        asking.close()
    return None


class _Strict:
    """What the decoder below `json` is told; the package around it costs as much as all of this."""

    strict, object_hook, object_pairs_hook = True, None, None
    parse_float, parse_int, parse_constant = float, int, None
    memo: dict[str, str] = {}  # noqa: RUF012


_SCAN = _json.make_scanner(_Strict)  # type: ignore[arg-type] # it reads these attributes, of whatever


def said(answer: bytes) -> tuple[str, list[str]]:
    """The server's state, and the guest's of each family.

    Raises:
        _No: no server of ours says such a thing. A guest may have taken it over.
    """
    try:
        text = answer.decode()
        whole, end = _SCAN(text, 0)
        families = [whole, *filter(None, (whole["ipv6"],))]
        state, leases = str(whole["state"]), [str(family["lease"]) for family in families]
    except (ValueError, LookupError, TypeError, RecursionError, StopIteration):
        raise _No("what answers is not vmnet's DHCP server") from None
    known = state in SERVER_STATES and all(lease in LEASE_STATES for lease in leases)
    if text[end:] != "\n" or not known:
        raise _No("what answers is not vmnet's DHCP server")
    return state, leases
