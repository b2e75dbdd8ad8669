"""The command `vmnet`, also as `python -m vmnet`."""

from __future__ import annotations

import gc
import sys


def main() -> int:
    """Run the command line. Most verbs live for a moment: collecting their garbage would cost each start 10 ms."""
    gc.disable()
    if sys.argv[1:2] == ["probe"]:
        from vmnet import probe

        code = probe.main(sys.argv[2:])
        if code is not None:
            return code
    from vmnet import cli

    return cli.main()


if __name__ == "__main__":
    sys.exit(main())
