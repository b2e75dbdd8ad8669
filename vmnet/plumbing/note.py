"""The journal's twin: the saved facts written on the pod's NIC itself, as alternative names of the link.

A launcher container that restarts with an empty file system finds the binding in place and no journal. What it
needs is then still in the namespace: the kernel keeps any number of alternative names of up to 127 characters on a
link (ip-link(8), altname), as long as the link lives, whatever becomes of bridge, tap and stand-in.

    vmnet.IIIIIIII.NN.MM.TEXT    interface's checksum, part NN of MM, a part of the compressed text
"""

from __future__ import annotations

import binascii
import zlib

from vmnet.model import NOTE_PREFIX

_PART = 100
"""Characters of text a name carries; with what stands before it stays below ALTIFNAMSIZ (linux/if.h)."""
_MOST_PARTS = 99
_LARGEST_TEXT = 64 * 1024
_TO_NAME = bytes.maketrans(b"+/", b"-_")
_FROM_NAME = bytes.maketrans(b"-_", b"+/")


def write(ifname: str, text: str) -> tuple[str, ...]:
    """Return the names that carry `text`, in order; none where it is too large to be carried."""
    packed = binascii.b2a_base64(zlib.compress(text.encode(), 9), newline=False).translate(_TO_NAME).rstrip(b"=")
    parts = [packed[at : at + _PART].decode() for at in range(0, len(packed), _PART)]
    if len(parts) > _MOST_PARTS:
        return ()
    whose = zlib.crc32(ifname.encode())
    return tuple(
        f"{NOTE_PREFIX}{whose:08x}.{number:02}.{len(parts):02}.{part}" for number, part in enumerate(parts, 1)
    )


def read(names: tuple[str, ...]) -> str:
    """Return the text that the names carry.

    Raises:
        ValueError: parts are missing, of different notes, or not ours at all.
    """
    parts = sorted(name.removeprefix(NOTE_PREFIX).split(".", 3) for name in names)
    if not parts or any(len(part) != 4 for part in parts):
        raise ValueError("it is not of our form")
    count = len(parts)
    if [part[:3] for part in parts] != [
        [parts[0][0], f"{number:02}", f"{count:02}"] for number in range(1, count + 1)
    ]:
        raise ValueError("parts of it are missing")
    packed = "".join(part[3] for part in parts).encode("ascii", "replace").translate(_FROM_NAME)
    try:
        unpacker = zlib.decompressobj()
        data = unpacker.decompress(binascii.a2b_base64(packed + b"=" * (-len(packed) % 4)), _LARGEST_TEXT)
        if not unpacker.eof:
            raise ValueError("it is cut off or too large")
        return data.decode()
    except (zlib.error, binascii.Error, UnicodeDecodeError) as error:
        raise ValueError(f"it is damaged: {error}") from error
