"""What nft complains of becomes an error of ours, and nft is found where it is."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

import pytest

from vmnet.errors import KernelError
from vmnet.kernel import firewall

if TYPE_CHECKING:
    from pathlib import Path

OPERATION = "load the isolation rules of table vmnet_eth0"


@pytest.mark.parametrize(
    ("complaint", "code", "says"),
    [
        (
            "/dev/stdin:1:1-21: Error: Could not process rule: Operation not permitted\nadd table\n",
            errno.EPERM,
            "CAP_NET",
        ),
        ("netlink: Error: cache initialization failed: Operation not permitted\n", errno.EPERM, "CAP_NET_ADMIN"),
        (
            "/dev/stdin:1:1-9: Error: Could not process rule: Operation not supported\n",
            errno.EOPNOTSUPP,
            "nftables",
        ),
        ("-:5:3-7: Error: Could not process rule: No such file or directory\n", errno.ENOENT, "No such file"),
        ("-:5:3-7: Error: Could not process rule: Device or resource busy; x\n", errno.EBUSY, "busy"),
        ("-:5:3-7: Error: syntax error, unexpected newline\n", errno.EINVAL, "syntax error, unexpected newline"),
        ("", errno.EINVAL, "nft says"),
    ],
)
def test_what_nft_says_is_the_kernels_word(complaint: str, code: int, says: str) -> None:
    error = firewall._refusal(complaint, OPERATION)
    assert error.errno == code
    assert says in str(error)
    assert str(error).startswith(OPERATION)
    assert "\n" not in str(error)


def test_nft_is_found_in_path_first_and_never_in_the_current_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = tmp_path / "nft"
    mine.touch(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert firewall.program() == str(mine)
    monkeypatch.chdir(tmp_path)
    for path in ("", ".", ":"):
        monkeypatch.setenv("PATH", path)
        assert firewall.program() != "./nft"
        assert firewall.program() in (None, *(f"{place}/nft" for place in firewall._USUAL_PATH.split(":")))


def test_without_nft_the_error_names_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(firewall, "program", lambda: None)
    with pytest.raises(KernelError, match=r"the program nft .package nftables. is missing"):
        firewall.delete("vmnet_eth0", ("netdev",))
