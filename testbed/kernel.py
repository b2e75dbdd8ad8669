"""A distribution kernel and an initramfs, for a guest that boots in a second or two.

The kernel is the one that Debian's `linux-image-cloud-amd64` depends on, downloaded and unpacked but never
installed, and kept in a cache; it drives virtio NICs only, which is all there is. The initramfs holds busybox, the
virtio modules, our `/init`, two DHCP clients and one of DHCPv6.
"""

from __future__ import annotations

import os
import re
import shutil
import stat
import struct
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from testbed.netns import TestbedError, run
from testbed.once import one_at_a_time

if TYPE_CHECKING:
    from collections.abc import Iterable

HERE = Path(__file__).parent
CACHE = Path(os.environ.get("VMNET_GUEST_CACHE", HERE.parent / ".cache" / "guest"))
META_PACKAGE = "linux-image-cloud-amd64"
BUSYBOX = Path("/bin/busybox")
IPCONFIG = Path("/usr/lib/klibc/bin/ipconfig")
KLIBC = "klibc-*.so"
DHCPCD = Path("/usr/sbin/dhcpcd")
LOADER = Path("/lib64/ld-linux-x86-64.so.2")
LIBC = Path("/lib/x86_64-linux-gnu/libc.so.6")
"""All that dhcpcd is linked with."""
MODULES = (
    "virtio_ring",
    "virtio",
    "virtio_pci_modern_dev",
    "virtio_pci_legacy_dev",
    "virtio_pci",
    "failover",
    "net_failover",
    "virtio_net",
    "af_packet",
)
"""In the order of their dependencies; what a kernel has built in is left out."""
UNPACKERS = {
    b"\x02\x21\x4c\x18": ("lz4", "-dc"),
    b"\xfd7zXZ\0": ("xz", "-dc"),
    b"\x28\xb5\x2f\xfd": ("zstd", "-dc"),
}
SIZE_FIELD = 4
"""The build appends the unpacked size to the compressed kernel."""
DIRECTORIES = (
    "bin",
    "dev",
    "etc",
    "lib",
    "lib64",
    "modules",
    "proc",
    "run",
    "sys",
    "tmp",
    "var",
    "var/lib",
    "var/lib/dhcpcd",
)


@dataclass(frozen=True, slots=True)
class Kernel:
    """A kernel QEMU can boot, and the modules its NIC needs, in order."""

    release: str
    image: Path
    """vmlinux where the kernel has a PVH entry (half a second quicker under TCG), else vmlinuz."""
    modules: tuple[Path, ...]


def cached_kernel(cache: Path = CACHE) -> Kernel | None:
    """Give the kernel that was fetched before."""
    for order in cache.glob("*/modules.order"):
        home = order.parent
        modules = tuple(home / name for name in order.read_text(encoding="ascii").split())
        return Kernel(home.name, next(home.glob("vmlinu?")), modules)
    return None


def kernel(cache: Path = CACHE) -> Kernel:
    """Give a kernel, fetching it the first time: one download of about 30 MB, a few seconds of unpacking."""
    with one_at_a_time(cache):
        return cached_kernel(cache) or _fetch(cache)


def _fetch(cache: Path) -> Kernel:
    with tempfile.TemporaryDirectory(prefix="fetch-", dir=cache) as name:
        tree = Path(name)
        tree.chmod(0o755)
        package = _download(tree)
        [archive] = tree.glob("*.deb")
        run(["dpkg", "-x", archive, tree / "root"], timeout=120)
        keep(tree / "root", tree / "kept")
        release = package.removeprefix("linux-image-")
        (tree / "kept").rename(cache / release)
    kept = cached_kernel(cache)
    if kept is None:
        raise TestbedError(f"{package} holds no kernel we understand")
    return kept


def _download(directory: Path) -> str:
    """Download the package that the meta package stands for today, and name it."""
    try:
        return _download_by_lists_of_old(directory)
    except TestbedError:
        run(["apt-get", "-qq", "update"], timeout=300)
        return _download_by_lists_of_old(directory)


def _download_by_lists_of_old(directory: Path) -> str:
    """Try with the package lists that are there: none on a fresh machine, or ones that name what has gone."""
    depends = run(["apt-cache", "depends", META_PACKAGE], check=False).stdout
    found = re.search(r"Depends: (linux-image-\S+)", depends)
    if not found:
        raise TestbedError(f"apt knows no {META_PACKAGE}")
    run(["env", "-C", directory, "apt-get", "-qq", "download", found[1]], timeout=300)
    return found[1]


def keep(root: Path, kept: Path) -> None:
    """Keep the image and the modules of an unpacked package; the list of modules comes last, as the seal."""
    kept.mkdir()
    [image] = (root / "boot").glob("vmlinuz-*")
    [config] = (root / "boot").glob("config-*")
    uncompressed = vmlinux(image) if "CONFIG_PVH=y" in config.read_text(encoding="ascii") else b""
    if uncompressed:
        (kept / "vmlinux").write_bytes(uncompressed)
    else:
        shutil.copy(image, kept / "vmlinuz")
    order = []
    for name in MODULES:
        for module in root.glob(f"**/lib/modules/**/{name}.ko*"):
            (kept / f"{name}.ko").write_bytes(unpacked(module))
            order.append(f"{name}.ko")
    (kept / "modules.order").write_text("\n".join(order), encoding="ascii")


def unpacked(module: Path) -> bytes:
    """Give a kernel module as busybox's insmod takes it: from Debian 13 on they are compressed.

    Raises:
        TestbedError: by a program that is not here.
    """
    data = module.read_bytes()
    unpack = next((how for magic, how in UNPACKERS.items() if data.startswith(magic)), None)
    if unpack is None:
        return data
    if shutil.which(unpack[0]) is None:
        raise TestbedError(f"{module.name} is compressed; install {unpack[0]}")
    return subprocess.run(unpack, input=data, capture_output=True, check=True).stdout


def vmlinux(image: Path) -> bytes:
    """Unpack the ELF image inside a bzImage (Documentation/arch/x86/boot.rst); empty where we cannot."""
    data = image.read_bytes()
    setup_sectors = data[0x1F1] or 4
    offset, length = struct.unpack_from("<II", data, 0x248)
    start = (setup_sectors + 1) * 512 + offset
    payload = data[start : start + length - SIZE_FIELD]
    unpack = next((how for magic, how in UNPACKERS.items() if payload.startswith(magic)), None)
    if unpack is None or shutil.which(unpack[0]) is None:
        return b""
    done = subprocess.run(unpack, input=payload, capture_output=True, check=False)
    return done.stdout if done.returncode == 0 and done.stdout.startswith(b"\x7fELF") else b""


def initramfs(made_for: Kernel, target: Path) -> Path:
    """Write the initramfs, about 6 MB."""
    files = [
        ("init", (HERE / "guest.init").read_bytes(), 0o755),
        ("bin/busybox", BUSYBOX.read_bytes(), 0o755),
        ("bin/udhcpc.script", (HERE / "udhcpc.script").read_bytes(), 0o755),
        ("bin/ipconfig", IPCONFIG.read_bytes(), 0o755),
        ("bin/dhcpcd", DHCPCD.read_bytes(), 0o755),
        ("bin/dhcpcd.script", (HERE / "dhcpcd.script").read_bytes(), 0o755),
        (str(LOADER).removeprefix("/"), LOADER.read_bytes(), 0o755),
        (f"lib/{LIBC.name}", LIBC.read_bytes(), 0o755),
        *((f"lib/{library.name}", library.read_bytes(), 0o755) for library in Path("/lib").glob(KLIBC)),
        *(
            (f"modules/{number:02}-{module.name}", module.read_bytes(), 0o644)
            for number, module in enumerate(made_for.modules)
        ),
    ]
    target.write_bytes(newc(files))
    return target


def newc(files: Iterable[tuple[str, bytes, int]]) -> bytes:
    """A cpio archive as the kernel unpacks it (Documentation/driver-api/early-userspace/buffer-format.rst)."""
    entries = [(name, b"", stat.S_IFDIR | 0o755, 0) for name in DIRECTORIES]
    entries.append(("dev/console", b"", stat.S_IFCHR | 0o600, 0x501))
    entries += [(name, data, stat.S_IFREG | mode, 0) for name, data, mode in files]
    entries.append(("TRAILER!!!", b"", 0, 0))
    return b"".join(_entry(number, *entry) for number, entry in enumerate(entries, 1))


def _entry(inode: int, name: str, data: bytes, mode: int, device: int) -> bytes:
    """One file: thirteen hexadecimal fields, the name, the data, each part padded to four bytes."""
    fields = (
        inode, mode, 0, 0, 1, 0, len(data), 0, 0, device >> 8, device & 0xFF, len(name) + 1, 0,
    )  # fmt: skip
    header = b"070701" + b"".join(b"%08X" % field for field in fields) + name.encode() + b"\0"
    return _padded(header) + _padded(data)


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)
