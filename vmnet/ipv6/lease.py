"""What the guest is told of IPv6: PodInterface, resolv.conf and the user's settings → Lease6. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vmnet.model import Lease6, PodInterface, Resolver, Settings


def lease6(_pod: PodInterface, _resolver: Resolver, _settings: Settings) -> Lease6 | None:
    """Compose the one lease there is; None where the pod has no IPv6 to be told of."""
    return None
