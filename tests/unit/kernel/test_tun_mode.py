"""Who can open /dev/net/tun by its mode: the first of user, group and others that fits decides."""

from __future__ import annotations

import os
import stat
from types import SimpleNamespace

import pytest

from vmnet.kernel.inspect import tun_closed_to


@pytest.mark.parametrize(
    ("mode", "owner", "who", "closed"),
    [
        (0o666, (0, 0), (64055, None), False),
        (0o600, (0, 0), (64055, None), True),
        (0o600, (0, 0), (64055, 64055), True),
        (0o600, (0, 0), (0, 0), False),
        (0o600, (0, 0), (None, None), False),
        (0o660, (0, 107), (64055, 107), False),
        (0o660, (0, 107), (64055, 64055), True),
        (0o600, (64055, 0), (64055, None), False),
        (0o066, (64055, 0), (64055, None), True),
        (0o606, (0, 107), (64055, 107), True),
        (0o664, (0, 0), (64055, None), True),
    ],
)
def test_who_can_open_it(
    mode: int,
    owner: tuple[int, int],
    who: tuple[int | None, int | None],
    closed: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    there = SimpleNamespace(st_mode=stat.S_IFCHR | mode, st_uid=owner[0], st_gid=owner[1])
    monkeypatch.setattr(os, "stat", lambda _path: there)
    assert bool(tun_closed_to(*who)) is closed
    if closed:
        assert f"mode {mode:04o}" in tun_closed_to(*who)


def test_without_the_device_nobody_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_path: str) -> None:
        raise FileNotFoundError

    monkeypatch.setattr(os, "stat", refuse)
    assert tun_closed_to(64055, None) == ""
