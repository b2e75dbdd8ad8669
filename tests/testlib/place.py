"""A place for an agent: a namespace that has no kernel, and a state directory that keeps nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from vmnet.saved.journal import StateDirectory
from vmnet.saved.schema import Here

if TYPE_CHECKING:
    from vmnet.agent.place import Place

HERE = Here(42, "b00t")
PLACE = cast("Place", type("Place", (), {"netlink": None, "here": HERE, "state": StateDirectory("/dev/null", 42)}))
