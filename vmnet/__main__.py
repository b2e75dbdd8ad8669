"""Where vmnet's processes of a moment begin and end: the command, KubeVirt's hook sidecar, libvirt's hook.

Scripts that `vmnet hook install` wrote name this module and `hook`: both keep their place.
"""

from __future__ import annotations

import gc
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NoReturn


def main() -> NoReturn:
    """Run the command line: `vmnet`, also as `python -m vmnet`."""
    _run(_command)


def on_define_domain() -> NoReturn:
    """Run the verb of that name: KubeVirt's hook sidecar looks for a program."""
    sys.argv[1:1] = ["onDefineDomain"]
    _run(_command)


def hook() -> NoReturn:
    """Run libvirt's hook, as its script says: `… STATE_DIR DOMAIN OPERATION SUB-OPERATION EXTRA`."""
    from vmnet.doors.libvirt import hook as door

    _run(door.main)


def _run(work: Callable[[], int]) -> NoReturn:
    """End the process with the exit code that `work` returns.

    It lives for a moment. Collecting its garbage would cost each start 10 ms, and taking the interpreter down
    object by object 20 ms of each end.
    """
    gc.disable()
    code = work()
    try:
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                stream.flush()
    finally:
        os._exit(code)


def _command() -> int:
    if sys.argv[1:2] == ["probe"]:
        from vmnet.diagnosis import probe

        code = probe.main(sys.argv[2:])
        if code is not None:
            return code
    from vmnet.cli import main as cli

    return cli.main()


if __name__ == "__main__":
    main()
