"""What is installed below share/ beside the program: completion scripts and manual pages.

`python -m tools.share DIRECTORY` writes it there.
"""

from __future__ import annotations

import sys
from pathlib import Path

from tools import completion, manual


def files() -> dict[str, str]:
    """Return the text of each file by its path below share/."""
    return {
        **{place: completion.script(shell) for shell, place in completion.PLACES.items()},
        **{f"man/man1/{name}": text for name, text in manual.pages().items()},
    }


def write(directory: Path) -> list[str]:
    """Write all files below the directory; return their paths below it."""
    texts = files()
    for path, text in texts.items():
        (directory / path).parent.mkdir(parents=True, exist_ok=True)
        (directory / path).write_text(text, encoding="utf-8")
    return list(texts)


if __name__ == "__main__":
    write(Path(sys.argv[1]))
