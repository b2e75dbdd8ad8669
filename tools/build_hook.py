"""hatchling's hook while a wheel is built: what lies below share/ is made from the very parser that is packed."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class ShareHook(BuildHookInterface[Any]):
    """Adds completion scripts and manual pages to the wheel."""

    _made: tempfile.TemporaryDirectory[str] | None = None

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Make the files; an editable install is for those who work on vmnet, and gets none."""
        if version == "editable":
            return
        sys.path.insert(0, self.root)
        from tools import share

        self._made = tempfile.TemporaryDirectory()
        directory = Path(self._made.name)
        for path in share.write(directory):
            build_data["shared_data"][str(directory / path)] = f"share/{path}"

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Remove them."""
        del version, build_data, artifact_path
        if self._made:
            self._made.cleanup()
