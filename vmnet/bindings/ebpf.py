"""eBPF instructions (RFC 9669) from calls with labels, in this machine's byte order. Pure.

`packet_filter` of the server writes classic BPF, which sees neither checksums nor segments.
"""

from __future__ import annotations

import struct
import sys

R0, R1, R2, R3, R4, R5, R6, R7, R8, R9, R10 = range(11)
"""R0 is what a call returns, R1 to R5 are its arguments, R6 to R9 outlive it, R10 is the end of the stack."""
SIZE_32, SIZE_16, SIZE_8 = 0x00, 0x08, 0x10
# RFC 9669 §4 and §5: the class in the lowest three bits; immediate or register operand; the operation
_LDX_MEM, _ALU64, _JMP, _REGISTER = 0x61, 0x07, 0x05, 0x08
_ADD, _LSH, _AND, _MOV = 0x00, 0x60, 0x50, 0xB0
_JA, _JEQ, _JGT, _JSET, _JNE, _JSGE, _CALL, _EXIT, _JLT, _JSLT = (
    *(0x00, 0x10, 0x20, 0x40, 0x50, 0x70, 0x80, 0x90, 0xA0, 0xC0),
)


class Assembler:
    """Collects instructions; jumps go forward to labels."""

    def __init__(self) -> None:
        self._instructions: list[tuple[int, int, int, int, int]] = []
        self._labels: dict[str, int] = {}
        self._jumps: list[tuple[int, str]] = []

    def assembled(self) -> bytes:
        """Encode all of it (RFC 9669 §3.1): code, both registers, offset, immediate.

        Raises:
            KeyError: a jump goes to a label that there is not.
        """
        encoded = bytearray()
        targets = {at: self._labels[label] - at - 1 for at, label in self._jumps}
        for at, (code, to, source, offset, immediate) in enumerate(self._instructions):
            registers = to | source << 4 if sys.byteorder == "little" else to << 4 | source
            encoded += struct.pack("=BBhi", code, registers, targets.get(at, offset), immediate)
        return bytes(encoded)

    def label(self, name: str) -> None:
        """Name the place of the next instruction."""
        self._labels[name] = len(self._instructions)

    def move(self, to: int, source: int) -> None:
        """Copy a register."""
        self._add(_ALU64 | _MOV | _REGISTER, to, source)

    def set(self, to: int, value: int) -> None:
        """Set a register to a number of 32 bits, sign-extended."""
        self._add(_ALU64 | _MOV, to, immediate=value)

    def add(self, to: int, value: int) -> None:
        """Add a number."""
        self._add(_ALU64 | _ADD, to, immediate=value)

    def add_register(self, to: int, source: int) -> None:
        """Add a register."""
        self._add(_ALU64 | _ADD | _REGISTER, to, source)

    def mask(self, to: int, value: int) -> None:
        """Keep these bits."""
        self._add(_ALU64 | _AND, to, immediate=value)

    def shift_left(self, to: int, bits: int) -> None:
        """Multiply by a power of two."""
        self._add(_ALU64 | _LSH, to, immediate=bits)

    def load(self, size: int, to: int, source: int, offset: int) -> None:
        """Load from where a register points to."""
        self._add(_LDX_MEM | size, to, source, offset)

    def call(self, helper: int, context: int, argument: int) -> None:
        """Call a helper with the context and a number."""
        self.move(R1, context)
        self.set(R2, argument)
        self.call_prepared(helper)

    def call_prepared(self, helper: int) -> None:
        """Call a helper whose arguments are in their registers."""
        self._add(_JMP | _CALL, immediate=helper)

    def exit(self) -> None:
        """End with R0."""
        self._add(_JMP | _EXIT)

    def jump(self, label: str) -> None:
        """Jump."""
        self._jump(_JA, 0, 0, label)

    def jump_if_equal(self, register: int, value: int, label: str) -> None:
        """Jump where the register has this value."""
        self._jump(_JEQ, register, value, label)

    def jump_if_not_equal(self, register: int, value: int, label: str) -> None:
        """Jump where it has another."""
        self._jump(_JNE, register, value, label)

    def jump_if_less(self, register: int, value: int, label: str) -> None:
        """Jump where it is less, without sign."""
        self._jump(_JLT, register, value, label)

    def jump_if_greater(self, register: int, value: int, label: str) -> None:
        """Jump where it is more, without sign."""
        self._jump(_JGT, register, value, label)

    def jump_if_any(self, register: int, bits: int, label: str) -> None:
        """Jump where one of these bits is set."""
        self._jump(_JSET, register, bits, label)

    def jump_if_negative(self, register: int, label: str) -> None:
        """Jump where it is negative."""
        self._jump(_JSLT, register, 0, label)

    def jump_if_not_negative(self, register: int, label: str) -> None:
        """Jump where it is not."""
        self._jump(_JSGE, register, 0, label)

    def _jump(self, operation: int, register: int, value: int, label: str) -> None:
        self._jumps.append((len(self._instructions), label))
        self._add(_JMP | operation, register, immediate=value)

    def _add(self, code: int, to: int = 0, source: int = 0, offset: int = 0, immediate: int = 0) -> None:
        self._instructions.append((code, to, source, offset, immediate))
