"""What scapy may do while vmnet imports it: the compiler stands in the start of each VM."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

WATCHED = """
import json, os, socket, sys

exists = os.path.exists
os.path.exists = lambda path: str(path).endswith("wireshark/manuf") or exists(path)
seen = []
sys.addaudithook(lambda event, words: seen.append([event, str(words[0]), str(words[1:])]))
from vmnet.compile import scapy_layers

scapy_layers.ipv6_layers()
print(json.dumps({"opened": [path for event, path, _ in seen if event == "open"],
                  "sockets": [rest for event, _, rest in seen if event == "socket.__new__"],
                  "exists": [name for name in ["wireshark/manuf"] if os.path.exists(name)]}))
"""
"""All that is opened while scapy is imported, on a machine that seems to have Wireshark."""


@pytest.fixture(scope="module")
def seen() -> dict[str, list[str]]:
    done = subprocess.run([sys.executable, "-c", WATCHED], capture_output=True, text=True, check=True)
    return dict(json.loads(done.stdout))


def test_no_table_of_mac_vendors_is_read(seen: dict[str, list[str]]) -> None:
    assert [path for path in seen["opened"] if "/scapy/" in path]
    assert not [path for path in seen["opened"] if "manuf" in path or "bluetooth" in path]


def test_the_question_for_files_is_as_before(seen: dict[str, list[str]]) -> None:
    assert seen["exists"]


def test_no_socket_is_opened_to_ask_for_routes_or_links(seen: dict[str, list[str]]) -> None:
    assert seen["sockets"] == []
