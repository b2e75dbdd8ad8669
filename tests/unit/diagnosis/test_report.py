"""Findings as people and machines get them.

The expected screens are files of tests/data/screens; VMNET_GOLDEN=write writes them anew, to be read in the diff.
"""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.testlib.evidence import before, bound
from vmnet.diagnosis.evidence import SERVED, Evidence, Heard, Left, Netfilter, Surroundings
from vmnet.diagnosis.report import as_json, outline
from vmnet.diagnosis.server_words import Server
from vmnet.diagnosis.table import CHECKS
from vmnet.kernel.inspect import LinkState
from vmnet.model.settings import Settings
from vmnet.show.outline import plain

if TYPE_CHECKING:
    from collections.abc import Callable

SCREENS = Path(__file__).parents[2] / "data" / "screens"


def sick() -> Evidence:
    """A bound pod with trouble of every severity."""
    evidence = bound()
    return replace(
        evidence,
        drift=("set k6t-eth0 stp=False", "add route default via 10.244.1.1 on eth0"),
        link_states=(
            *(one for one in evidence.link_states if one.ifname != "tap0"),
            LinkState("tap0", carrier=False),
        ),
        netfilter=Netfilter(("iptables", "ip6tables")),
        heard=(Heard("DHCP", "02:00:00:00:00:aa", "10.244.1.66"),),
        listened=1.0,
    )


def hostile() -> Evidence:
    """A place whose names were chosen by somebody else."""
    return replace(before(), left=Left(stale=("/run/vmnet/netns-7/\x1b[2J\neth0",)))


PICTURES: dict[str, tuple[Callable[[], Evidence], bool]] = {
    "doctor-sick": (sick, False),
    "doctor-sick-all": (sick, True),
    "doctor-sound": (before, False),
    "doctor-sound-all": (before, True),
    "doctor-not-isolated": (lambda: before(settings=Settings(isolation="off")), False),
    "doctor-hostile-names": (hostile, False),
    "doctor-host": (lambda: replace(before(), surroundings=Surroundings(is_host=True)), False),
}


@pytest.mark.parametrize("columns", [100, 60])
@pytest.mark.parametrize("name", PICTURES)
def test_screens(name: str, columns: int) -> None:
    evidence, every = PICTURES[name]
    text = plain(outline(evidence(), every=every), columns) + "\n"
    path = SCREENS / f"{name}.{columns}"
    if os.environ.get("VMNET_GOLDEN") == "write":
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")
    assert max(map(len, text.splitlines())) <= columns


def test_what_only_a_server_could_know_is_not_said_to_be_well_without_one() -> None:
    evidence = replace(bound(), server=Server(), server_trouble="it does not answer")
    results = {check["code"]: check["result"] for check in json.loads(as_json((evidence,)))["checks"]}
    served = {check.code for check in CHECKS if check.when == SERVED}
    assert served == {"VMN-404", "VMN-505", "VMN-507", "VMN-508", "VMN-515"}
    assert {results[code] for code in served} == {"not-applicable"}
    assert results["VMN-504"] == "found"


def test_json_says_what_became_of_every_check() -> None:
    said = json.loads(as_json((sick(),)))
    assert said["schema"] == 1
    assert (said["interface"], said["bound"], said["listened_seconds"]) == ("eth0", True, 1.0)
    results = {check["code"]: check["result"] for check in said["checks"]}
    assert list(results) == [check.code for check in CHECKS]
    assert (results["VMN-301"], results["VMN-302"], results["VMN-201"]) == ("found", "passed", "not-applicable")
    finding = said["findings"][0]
    assert finding == {
        "code": "VMN-301",
        "interface": "eth0",
        "severity": "error",
        "what": "the binding was changed from outside, or `up` was interrupted",
        "evidence": [
            "`vmnet up` would set k6t-eth0 stp=False",
            "`vmnet up` would add route default via 10.244.1.1 on eth0",
        ],
        "remedy": "run `vmnet up`, which does just that; find out which program changes the pod's links",
        "page": "docs/doctor.md#vmn-301",
    }


def test_json_of_a_pod_that_cannot_be_bound() -> None:
    evidence = replace(before(), journal=None, refusal="eth0 is not for us; give the pod another one")
    said = json.loads(as_json((replace(evidence, interface="eth0"),)))
    assert (said["interface"], said["bound"]) == ("eth0", False)
    assert [finding["code"] for finding in said["findings"]] == ["VMN-208"]
    assert plain(outline(evidence, every=False), 100).startswith(
        "the pod interface: not bound; `vmnet up` would be refused\n"
    )
