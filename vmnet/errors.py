"""Every error a user can meet, by who must act.

    VmnetError                      exit  who acts, and how
    ├── UnexpectedError               1   the vmnet developers: a bug
    ├── UsageError (ValueError)       2   whoever typed the command or wrote the configuration
    │   └── OutputError               2   the caller: standard output or the named file takes no more
    ├── RefusedError                  3   the pod's author: nothing was touched, the pod cannot be bound as it is
    │   ├── NotYetError               3   nobody: the CNI is not done; the same call later may succeed
    │   └── BoundElsewhereError       3   the pod's author: another program has bound the interface
    ├── KernelError (OSError)         4   the node's operator: the kernel refused an operation
    ├── RolledBackError               4   the node's operator: the pod is as it was found
    ├── RollbackIncompleteError       5   the node's operator: the message says what is left and how to finish
    ├── WaitTimeoutError              6   the caller: something awaited did not come
    ├── DriftError                    7   the caller: the binding is not as it shall be
    ├── LibvirtError                  8   the node's operator: libvirt cannot be reached or failed
    ├── DomainRefusedError            9   the domain's author: libvirt would not define or start it
    ├── DomainCrashedError           10   the domain's author: the guest or its QEMU crashed
    └── NotBoundError                11   the caller: `status` was asked, and nothing is bound here

A message is one line for people: the cause, then the remedy. `retryable` says whether the same call may
succeed later without anybody acting.
"""

from __future__ import annotations

import os


class VmnetError(Exception):
    """The root: carries the process's exit code and whether trying again may help."""

    exit_code = 1
    retryable = False
    place: tuple[str, ...] = ()
    """The flags that make a command in the message right where this one ran."""


class UnexpectedError(VmnetError):
    """A bug in vmnet: nothing the user did explains it."""


class UsageError(VmnetError, ValueError):
    """A flag, environment variable or file the user wrote is wrong. Nothing was touched."""

    exit_code = 2


class OutputError(UsageError):
    """Standard output, or the file that was named, takes no more: what was asked for is lost."""


class RefusedError(VmnetError):
    """The pod cannot be bound as it is. Nothing was touched."""

    exit_code = 3


class NotYetError(RefusedError):
    """The pod interface is not ready yet. Nothing was touched; the same call may succeed later."""

    retryable = True


class BoundElsewhereError(RefusedError):
    """Another program has bound the pod interface, as KubeVirt does. Nothing was touched."""


class KernelError(VmnetError, OSError):
    """The kernel refused `operation`, a phrase that names the link, with `errno`.

    The text names both, and the capability that is missing where the errno tells that one is.
    """

    exit_code = 4

    def __init__(self, errno: int, operation: str, missing: str = "") -> None:
        OSError.__init__(self, errno, os.strerror(errno))
        self.operation = operation
        self.missing = missing

    def __str__(self) -> str:
        lacking = f"; {self.missing} is missing" if self.missing else ""
        return f"{self.operation}: {self.strerror}{lacking}"


class RolledBackError(VmnetError):
    """Bring-up failed; the pod was given back as it was found."""

    exit_code = 4


class RollbackIncompleteError(VmnetError):
    """Bring-up or take-down failed part-way; the message names what is left and the command that finishes."""

    exit_code = 5


class WaitTimeoutError(VmnetError):
    """Something awaited did not come in time."""

    exit_code = 6


class DriftError(VmnetError):
    """What is there is not what shall be there; the message names the first difference."""

    exit_code = 7


class LibvirtError(VmnetError):
    """libvirt cannot be reached, or failed in a way that is not the domain's."""

    exit_code = 8


class DomainRefusedError(VmnetError):
    """libvirt would not define or start the domain; with libvirt's own reason."""

    exit_code = 9


class DomainCrashedError(VmnetError):
    """The domain ended, and not because the guest or anybody shut it down."""

    exit_code = 10


class NotBoundError(VmnetError):
    """Nothing is bound here. `status` says so with this exit code; nothing raises it."""

    exit_code = 11
