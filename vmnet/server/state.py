"""What a server is at: its own words, and what is read of them. The server process reads this file."""

from __future__ import annotations

COMPILING = "compiling"
"""It listens already, and has no replies to send yet."""
SERVING = "serving"
FAILED = "failed"
"""There will be no replies."""
STATES = (COMPILING, SERVING, FAILED)
