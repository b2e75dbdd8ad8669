"""What this process lacks of what `vmnet up` needs, all of it at once, and the flags that give it."""

from __future__ import annotations

import os

_CLONE_DEVICE = "/dev/net/tun"
_NEEDED = {"NET_ADMIN": 12, "NET_RAW": 13}
"""linux/capability.h."""


def remedy() -> str:
    """Say what is missing and how to give it; empty where nothing is."""
    effective = _effective()
    capabilities = [name for name, bit in _NEEDED.items() if not effective >> bit & 1]
    device = not os.access(_CLONE_DEVICE, os.R_OK | os.W_OK)
    if not capabilities and not device:
        return ""
    uid = os.geteuid()
    lacking = [f"CAP_{name}" for name in capabilities] + [_CLONE_DEVICE] * device
    flags = [f"--cap-add {name}" for name in capabilities] + [f"--device {_CLONE_DEVICE}"] * device
    in_kubernetes = f"capabilities.add: [{', '.join(capabilities)}]" if capabilities else "that device"
    said = [f"vmnet runs as uid {uid}: run it as root (`--user 0`, runAsUser: 0)"] if uid and capabilities else []
    said.append(f"missing: {', '.join(lacking)}")
    said.append(f"add `{' '.join(flags)}` (podman, docker) or {in_kubernetes} (Kubernetes)")
    return "; ".join(said)


def _effective() -> int:
    """Return the effective capabilities as bits (proc_pid_status(5)); all where /proc does not say."""
    try:
        with open("/proc/self/status", encoding="ascii", errors="replace") as file:
            return next((int(line[7:], 16) for line in file if line.startswith("CapEff:")), -1)
    except (OSError, ValueError):
        return -1
