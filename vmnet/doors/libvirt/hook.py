"""libvirt's hook protocol: what libvirtd runs at each step of every domain's life, and waits for.

    prepare begin    before QEMU and its taps: bring up what the domain wants. Not 0 refuses the start, and libvirt
                     shows what we said on stderr
    release end      the domain is gone, or its start failed: give back what it brought up
    reconnect begin  libvirtd was restarted and finds the domain running: see that it is served. Not 0 kills it
    all others       nothing. What is printed at restore and migrate would become the domain's XML; prepare follows

libvirtd holds the domain's lock meanwhile, so libvirt must not be called from here; and whatever keeps our stdout
or stderr open keeps the domain from starting. Most domains of a host may be none of ours: what they need is here,
and the rest is imported once a domain is known to be.
"""

from __future__ import annotations

import os
import sys

from vmnet.doors.libvirt.hook_log import tell

_LARGEST_XML = 1 << 20
_HINTS = (b"urn:vmnet:", b"ua-vmnet-", b"managed='no'", b'managed="no"')
"""One of these is in every domain of ours; parsing the others would cost them 60 ms more."""


def main() -> int:
    """Run as `… STATE_DIR DOMAIN OPERATION SUB-OPERATION EXTRA`, the XML on stdin; return the exit code."""
    state_dir, domain, operation, step = sys.argv[1:5]
    code = 0
    try:
        if _concerns_us(state_dir, f"{operation} {step}"):
            _run(state_dir, domain, operation)
    except Exception as error:  # noqa: BLE001 # libvirt shall hear one line, and at reconnect never a failure
        code = getattr(error, "exit_code", 1)
        tell(state_dir, "error", f"domain {domain}: {operation}: {_in_words(error)}")
    return 0 if operation == "reconnect" else code


def _concerns_us(state_dir: str, step: str) -> bool:
    """Whether this step may need work, as far as that can be told without the XML."""
    if step in ("release end", "reconnect begin"):
        try:
            return any(name.endswith(".json") for name in os.listdir(f"{state_dir}/hook"))
        except OSError:
            return False
    return step == "prepare begin"


def _run(state_dir: str, name: str, operation: str) -> None:
    if operation == "prepare":
        _prepare(state_dir)
        return
    from vmnet.domain.read import uuid_in

    uuid = uuid_in(sys.stdin.buffer)
    from vmnet.doors.libvirt import hook_steps

    step = hook_steps.release if operation == "release" else hook_steps.reconnect
    step(state_dir, hook_steps.Who(name, uuid))


def _prepare(state_dir: str) -> None:
    data = sys.stdin.buffer.read(_LARGEST_XML + 1)
    if not any(hint in data for hint in _HINTS):
        return
    from vmnet.domain.read import parse
    from vmnet.domain.wishes import wishes

    domain = parse(data.decode(errors="replace"))
    wanted = wishes(domain)
    if wanted:
        from vmnet.doors.libvirt import hook_steps

        hook_steps.prepare(state_dir, domain, wanted)


def _in_words(error: Exception) -> str:
    if hasattr(error, "exit_code"):
        return str(error)
    from vmnet import __version__

    return f"{type(error).__name__}: {error}; a bug in vmnet {__version__}"
