"""What the guest has made of a lease so far, of either family: the states between which `after` moves."""

from __future__ import annotations

SILENT = "silent"
"""Nothing was heard of the guest."""
ASKED = "asked"
"""It asked, and holds nothing of ours: it was refused, or chose another server."""
OFFERED = "offered"
BOUND = "bound"
RELEASED = "released"
DECLINED = "declined"
