"""The compiled replies of both families in bytes: what was written reads back, and nothing else is taken."""

from __future__ import annotations

import pytest

from vmnet.server.compiled import Compiled, dumps, dumps_failure, loads

MAC = bytes(range(6))
DATA = dumps(Compiled(MAC, b"dhcp", b"routers", b"6"))


def test_what_was_written_reads_back() -> None:
    again = loads(DATA)
    assert (again.vm_mac, again.dhcp, again.advertisements, again.dhcpv6) == (MAC, b"dhcp", b"routers", b"6")


def test_a_cut_off_pipe_is_refused_wherever_it_was_cut() -> None:
    for length in range(len(DATA)):
        with pytest.raises(ValueError, match="compiled replies"):
            loads(DATA[:length])


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "no compiled replies came"),
        (b"Traceback", "not compiled replies of this version"),
        (DATA.replace(b"compiled-2", b"compiled-1"), "not compiled replies of this version"),
        (DATA + b"\0", "13 octets instead of 12"),
        (dumps_failure("compile: it broke"), "^compile: it broke$"),
        (dumps_failure(""), "compile failed"),
    ],
)
def test_anything_else_is_refused_by_name(data: bytes, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        loads(data)
