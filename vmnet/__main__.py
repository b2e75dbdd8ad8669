"""The command `vmnet`, also as `python -m vmnet`."""

from __future__ import annotations

import gc
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn


def main() -> NoReturn:
    """Run the command line and end the process.

    Most verbs live for a moment. Collecting their garbage would cost each start 10 ms, and taking the interpreter
    down object by object 20 ms of each end.
    """
    gc.disable()
    code = _run()
    try:
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                stream.flush()
    finally:
        os._exit(code)


def _run() -> int:
    if sys.argv[1:2] == ["probe"]:
        from vmnet.diagnosis import probe

        code = probe.main(sys.argv[2:])
        if code is not None:
            return code
    from vmnet.cli import main as cli

    return cli.main()


if __name__ == "__main__":
    main()
