"""What demo and tests need beside the Debian packages that are installed: `python -m testbed.parts` fetches it."""

from __future__ import annotations

import sys

from testbed import unpacked
from testbed.kernel import kernel
from testbed.netns import TestbedError


def main() -> int:
    """Fetch all of it; says in one line what is missing."""
    try:
        sys.stdout.write(f"{kernel().image}\n")
        for name in unpacked.KEPT:
            sys.stdout.write(f"{unpacked.programs(name)}\n")
    except TestbedError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
