"""The names of a search list as they stand in option 119."""

from __future__ import annotations


def domain_names(data: bytes) -> tuple[str, ...]:
    """Read a search list (RFC 3397): names one after the other, whose ends may stand in earlier ones."""
    names, at = [], 0
    while at < len(data):
        labels, end = _labels(data, at)
        names.append(".".join(labels))
        at = end
    return tuple(names)


def _labels(data: bytes, at: int) -> tuple[list[str], int]:
    """The labels of the name that begins there, and where the next one does (RFC 1035 §4.1.4)."""
    labels: list[str] = []
    while length := data[at]:
        if length >= 0xC0:
            elsewhere, _ = _labels(data, int.from_bytes(data[at : at + 2]) & 0x3FFF)
            return labels + elsewhere, at + 2
        labels.append(data[at + 1 : at + 1 + length].decode("ascii"))
        at += 1 + length
    return labels, at + 1
