"""The journal's twin: the saved facts written on the pod's NIC itself, as alternative names of the link.

A launcher container that restarts with an empty file system finds the binding in place and no journal. What it
needs is then still in the namespace: the kernel keeps any number of alternative names of up to 127 characters on a
link (ip-link(8), altname), as long as the link lives, whatever becomes of bridge, tap and stand-in.

    vmnet.IIIIIIII.NN.MM.TEXT    the whole text's checksum, part NN of MM, a part of the compressed text
    vmnet.IIIIIIII.00.00.only-in-the-journal    the text is too large to be carried

The second form is a mark: it carries nothing, but tells a pod that is handed over from one that is untouched,
which a journal alone cannot. The checksum keeps two notes apart: one that is written anew stands beside the old
one until that is taken away.
"""

from __future__ import annotations

import binascii
import zlib
from typing import TYPE_CHECKING

from vmnet.model.links import NOTE_PREFIX

if TYPE_CHECKING:
    from collections.abc import Iterable

_PART = 100
"""Characters of text a name carries; with what stands before it stays below ALTIFNAMSIZ (linux/if.h)."""
_MOST_PARTS = 99
_LARGEST_TEXT = 1 << 20
"""Bytes, written and read: the parts hold 7 KiB of compressed text, and facts compress to a tenth or less."""
_MARK = ".00.00.only-in-the-journal"
_TO_NAME = bytes.maketrans(b"+/", b"-_")
_FROM_NAME = bytes.maketrans(b"-_", b"+/")


def write(text: str) -> tuple[str, ...]:
    """Return the names that carry `text`, in order; the mark where it is too large to be carried."""
    data = text.encode()
    if len(data) > _LARGEST_TEXT:
        return (f"{NOTE_PREFIX}{zlib.crc32(data):08x}{_MARK}",)
    packed = binascii.b2a_base64(zlib.compress(data, 9), newline=False).translate(_TO_NAME).rstrip(b"=")
    which = f"{NOTE_PREFIX}{zlib.crc32(packed):08x}"
    parts = [packed[at : at + _PART].decode() for at in range(0, len(packed), _PART)]
    if len(parts) > _MOST_PARTS:
        return (f"{which}{_MARK}",)
    return tuple(f"{which}.{number:02}.{len(parts):02}.{part}" for number, part in enumerate(parts, 1))


def carries(names: Iterable[str]) -> bool:
    """Whether these names, as `write` returns them, carry the text and do not only mark the link."""
    return not any(name.endswith(_MARK) for name in names)


def read(names: Iterable[str]) -> tuple[str, ...]:
    """Return every text that the names carry whole: one, or two where writing another was interrupted."""
    parts: dict[tuple[str, str], dict[str, str]] = {}
    for name in names:
        words = name.removeprefix(NOTE_PREFIX).split(".", 3)
        if len(words) == 4:
            which, number, count, part = words
            parts.setdefault((which, count), {})[number] = part
    texts = (_text(count, numbered) for (_which, count), numbered in sorted(parts.items()))
    return tuple(text for text in texts if text is not None)


def _text(count: str, parts: dict[str, str]) -> str | None:
    """Return the text of a note of `count` parts; None where it is not whole."""
    numbers = sorted(parts)
    if f"{len(numbers):02}" != count or numbers != [f"{number:02}" for number in range(1, len(numbers) + 1)]:
        return None
    packed = "".join(parts[number] for number in numbers).encode("ascii", "replace").translate(_FROM_NAME)
    try:
        unpacker = zlib.decompressobj()
        data = unpacker.decompress(binascii.a2b_base64(packed + b"=" * (-len(packed) % 4)), _LARGEST_TEXT)
        return data.decode() if unpacker.eof else None  # else it is cut off, or too large
    except (zlib.error, binascii.Error, UnicodeDecodeError):
        return None
