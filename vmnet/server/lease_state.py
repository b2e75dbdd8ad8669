"""What the guest has made of a lease so far, of either family.

Between the first of these states the families' `after` moves, by what was said in DHCP. The last two are seen in
what the guest does: the addresses that it uses in ARP and neighbour discovery.
"""

from __future__ import annotations

SILENT = "silent"
"""Nothing was heard of the guest."""
ASKED = "asked"
"""It asked, and holds nothing of ours: it was refused, or chose another server."""
OFFERED = "offered"
BOUND = "bound"
RENEWED = "renewed"
"""Bound, and has said so again."""
RELEASED = "released"
DECLINED = "declined"
STATIC = "static"
"""It uses its address, and has not asked for it: whoever made its image has written it down there."""
FOREIGN_ADDRESS = "foreign-address"
"""It uses an address that is not its."""

SPOKEN = (SILENT, ASKED, OFFERED, BOUND, RENEWED, RELEASED, DECLINED)
"""The states that come of what is said."""
HOLDING = (BOUND, RENEWED)
STATES = (*SPOKEN, STATIC, FOREIGN_ADDRESS)
