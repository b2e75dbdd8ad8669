"""A program that holds a tap as QEMU does, and nothing more."""

HOLDS = """
import fcntl, os, signal, struct, sys
tap = os.open("/dev/net/tun", os.O_RDWR)
fcntl.ioctl(tap, 0x400454CA, struct.pack("16sH22x", sys.argv[1].encode(), 0x5002))
print("held", flush=True)
signal.pause()
"""
"""Attaches to a tap as QEMU does (TUNSETIFF, linux/if_tun.h)."""
