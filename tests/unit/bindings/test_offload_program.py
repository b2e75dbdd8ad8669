"""The program for unfinished frames; what it does to frames is in tests/netns/test_unfinished_frames.py."""

from __future__ import annotations

import struct
import zlib

from vmnet.bindings.offload_program import program

LARGEST = 4096
"""BPF_MAXINSNS (linux/bpf_common.h): what any kernel takes."""


def test_its_name_tells_it_from_any_other_and_it_ends() -> None:
    made = program()
    assert made.name == f"vmnet-{zlib.crc32(made.instructions):08x}"
    instructions = list(struct.iter_unpack("=BBhi", made.instructions))
    assert instructions[-1][0] == 0x95
    assert len(instructions) <= LARGEST


def test_it_only_jumps_forward_and_never_out_of_itself() -> None:
    instructions = list(struct.iter_unpack("=BBhi", program().instructions))
    jumps = [
        (at, offset)
        for at, (code, _, offset, _) in enumerate(instructions)
        if code & 7 == 5 and code not in (0x85, 0x95)
    ]
    assert jumps
    assert all(0 <= offset < len(instructions) - at - 1 for at, offset in jumps)
