"""Kernel modules are plain files in Debian 12 and compressed ones in Debian 13."""

from __future__ import annotations

import lzma
import shutil
from typing import TYPE_CHECKING

import pytest

from testbed import kernel
from testbed.netns import TestbedError

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_mock import MockerFixture

MODULE = b"\x7fELF and the rest of it"


def test_a_plain_module_is_taken_as_it_is(tmp_path: Path) -> None:
    module = tmp_path / "virtio_net.ko"
    module.write_bytes(MODULE)
    assert kernel.unpacked(module) == MODULE


def test_a_module_of_debian_13_is_unpacked(tmp_path: Path, mocker: MockerFixture) -> None:
    module = tmp_path / "virtio_net.ko.xz"
    module.write_bytes(lzma.compress(MODULE))
    mocker.patch.object(shutil, "which", return_value="/usr/bin/xz")
    ran = mocker.patch("subprocess.run")
    ran.return_value.stdout = MODULE
    assert kernel.unpacked(module) == MODULE
    assert ran.call_args.args[0] == ("xz", "-dc")


def test_without_the_program_that_unpacks_it_it_is_named(tmp_path: Path, mocker: MockerFixture) -> None:
    module = tmp_path / "virtio_net.ko.xz"
    module.write_bytes(lzma.compress(MODULE))
    mocker.patch.object(shutil, "which", return_value=None)
    with pytest.raises(TestbedError, match="install xz"):
        kernel.unpacked(module)


def test_the_modules_of_a_package_are_found_wherever_it_keeps_them(tmp_path: Path) -> None:
    root = tmp_path / "root"
    modules = root / "usr/lib/modules/6.12.0/kernel/drivers/net"
    modules.mkdir(parents=True)
    (modules / "virtio_net.ko").write_bytes(MODULE)
    (modules / "virtio_net_sim.ko").write_bytes(b"another")
    (root / "boot").mkdir()
    (root / "boot/vmlinuz-6.12.0").write_bytes(b"a kernel")
    (root / "boot/config-6.12.0").write_text("CONFIG_PVH is not set\n", encoding="ascii")
    kernel.keep(root, tmp_path / "kept")
    assert (tmp_path / "kept/modules.order").read_text(encoding="ascii") == "virtio_net.ko"
    assert (tmp_path / "kept/virtio_net.ko").read_bytes() == MODULE
