"""Why a test that floods is run when no others are."""

from __future__ import annotations

LOUD = (
    "what it sends fills the kernel's backlog, which all network namespaces share: frames of others would be lost"
)
