"""eBPF instructions, beside their encodings in RFC 9669."""

from __future__ import annotations

import struct

import pytest

from vmnet.bindings.ebpf import R0, R1, R6, R10, SIZE_8, SIZE_16, SIZE_32, Assembler


def _decoded(to: Assembler) -> list[tuple[int, int, int, int]]:
    return list(struct.iter_unpack("=BBhi", to.assembled()))


def test_a_jump_counts_from_the_instruction_behind_it() -> None:
    to = Assembler()
    to.jump_if_equal(R1, 7, "end")
    to.set(R0, -1)
    to.jump("end")
    to.label("end")
    to.exit()
    assert [(code, offset) for code, _registers, offset, _value in _decoded(to)] == [
        *((0x15, 2), (0xB7, 0), (0x05, 0), (0x95, 0)),
    ]


def test_registers_and_numbers() -> None:
    to = Assembler()
    to.move(R6, R1)
    to.set(R0, -1)
    to.call_prepared(135)
    codes = [(code, value) for code, _registers, _offset, value in _decoded(to)]
    assert codes == [(0xBF, 0), (0xB7, -1), (0x85, 135)]
    first = to.assembled()[1]
    assert {first & 0x0F, first >> 4} == {R6, R1}


@pytest.mark.parametrize(("size", "code"), [(SIZE_32, 0x61), (SIZE_16, 0x69), (SIZE_8, 0x71)])
def test_loads_have_a_size(size: int, code: int) -> None:
    to = Assembler()
    to.load(size, R1, R10, -16)
    assert [(found, offset) for found, _registers, offset, _value in _decoded(to)] == [(code, -16)]


def test_a_jump_to_nowhere_is_an_error() -> None:
    to = Assembler()
    to.jump("nowhere")
    with pytest.raises(KeyError):
        to.assembled()
