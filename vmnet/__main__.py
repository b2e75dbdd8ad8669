"""`python -m vmnet`."""

import sys

from vmnet.cli import main

sys.exit(main())
