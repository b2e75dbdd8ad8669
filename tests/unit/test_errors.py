"""The error tree: exit codes, who must act, and the tree in the docstring."""

from __future__ import annotations

import errno
import inspect

import vmnet.errors
from vmnet.errors import KernelError, NotYetError, RefusedError, UsageError, VmnetError


def _all(kind: type[VmnetError]) -> list[type[VmnetError]]:
    return [kind, *(below for child in kind.__subclasses__() for below in _all(child))]


def test_the_drawn_tree_is_the_tree_with_its_exit_codes() -> None:
    drawn = inspect.getdoc(vmnet.errors) or ""
    for kind in _all(VmnetError)[1:]:
        line = next(line for line in drawn.splitlines() if kind.__name__ in line)
        assert str(kind.exit_code) in line.split(kind.__name__)[1], line


def test_only_waiting_helps_where_it_helps() -> None:
    assert [kind for kind in _all(VmnetError) if kind.retryable] == [NotYetError]
    assert issubclass(NotYetError, RefusedError)


def test_errors_are_builtins_too() -> None:
    assert issubclass(UsageError, ValueError)
    assert issubclass(KernelError, OSError)


def test_a_kernel_error_names_what_was_tried_the_errno_and_what_is_missing() -> None:
    error = KernelError(errno.EPERM, "create bridge k6t-eth0", "CAP_NET_ADMIN")
    assert str(error) == "create bridge k6t-eth0: Operation not permitted; CAP_NET_ADMIN is missing"
    assert error.errno == errno.EPERM
    assert str(KernelError(errno.ENODEV, "set up eth0")) == "set up eth0: No such device"
