"""Each remedy that names a command is followed to the letter on a crowded pod: it repairs, and harms nobody.

`crowded_pod.py` draws the pod, `remedies.py` says how each comes about; tests/unit/test_remedies.py collects them,
and shows that what they name exists. A remedy that is neither followed here nor in NOT_FOLLOWED fails a test.
"""

from __future__ import annotations

import os
import re
import shlex
import signal
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from testbed.netns import background, run, wait_for_end
from tests.extent import some
from tests.netns.crowded_pod import HEALTHY, Crowd, crowd, others_links, tables
from tests.netns.remedies import REMEDIES, Remedy
from tests.unit.test_remedies import NOT_TYPED, PLACEHOLDERS, SECTIONS, UNKNOWN, commands, in_the_code

if TYPE_CHECKING:
    from collections.abc import Iterator

    from testbed.netns import Completed
    from tests.netns.remedies import Advice
    from tests.netns.troubles import Patient

SAMPLE = 11
"""Of so many remedies `make test` follows one."""
NOT_FOLLOWED = {
    "modprobe tun": "needs the node",
    "chmod 0666 /dev/net/tun": "needs the node, whose device all its pods share",
    "stop the domain, then run `vmnet down`": "needs a libvirtd that goes away",
    "the pod is still handed over, run {}": "needs a pod that is full of processes",
    "`vmnet down --interface {} --state-dir {}`": "the same: it is that command",
    "directory holds the only one; keep it until `vmnet down`": "names a moment, when a person decides to",
    "no binding is up here; run `vmnet up` first": "needs a pod in which nothing is up",
}
"""Remedies with a command, and why it cannot be followed on a crowded pod."""
NO_REMEDY = (
    *(
        "see `vmnet VERB --help`",
        "beside `vmnet run`",
        "did somebody run `vmnet down`?",
        "add `{}` (podman",
    ),
    *("another `vmnet run` already", "run the probe as the user of `vmnet up`", "`vmnet up` would {}"),
    *("not bound; `vmnet up` would be refused", "`vmnet up` with the same options would be refused"),
    *("`vmnet up` cannot be run: {}", "`vmnet up` failed with exit code {}", "`vmnet down` has given {} back"),
    *("`vmnet up` will", "Changes that `vmnet up` would make", "made by `vmnet hook install`"),
    *("`vmnet status` says `down`", "bridge ignores router advertisements", "bridge ports forward"),
)
"""What speaks of a command, and tells nobody to type it."""
PAGES_SPEAK_OF = {("server-dead", "vmnet run")}
"""It does by itself what is to be done."""
LOOKS = ("status", "doctor", "capture", "render", "domain")
"""The verbs of ours that change nothing."""
SHOWS = ("ss", "ping", "tcpdump")
LISTS = {"ip -6 neighbour", "ip netns"}
ON_THE_NODE = {*LISTS, "ip link set IFNAME up"}
PROGRAMS = ("nft", "ip", "bridge", "sysctl", "nsenter", *SHOWS)
REFUSED = 3
MAC = re.compile(r"(?:[0-9a-f]{2}:){5}[0-9a-f]{2}")
CHANGES = ("vmnet up", "vmnet down")
OTHERS = ("nft ", "ip ", "bridge ", "sysctl ")


@pytest.fixture(scope="module")
def it(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Crowd]:
    with crowd(tmp_path_factory.mktemp("crowd")) as made:
        yield made


def test_each_remedy_with_a_command_is_followed() -> None:
    """Or it stands in a list, with the reason; and each part names one remedy that there is."""
    left = {said.text for said in in_the_code() if commands(said.text)}
    left -= {_whole(part) for remedy in REMEDIES for part in remedy.says}
    listed = {part: {text for text in left if part in text} for part in (*NOT_FOLLOWED, *NO_REMEDY)}
    assert left - set().union(*listed.values()) == set()
    assert [part for part, texts in listed.items() if not texts] == []


def test_each_command_of_the_pages_is_followed() -> None:
    """What doctor.md says to do, and what watching.md says of a cause."""
    typed: dict[str, list[str]] = {}
    for remedy in REMEDIES:
        texts = [_whole(part) for part in remedy.says] or [SECTIONS[remedy.page]]
        typed.setdefault(remedy.page, []).extend(command for text in texts for command in commands(text))
    left = {
        (page, command)
        for page, text in SECTIONS.items()
        for command in commands(text)
        if command not in NOT_FOLLOWED and not any(_alike(command, one) for one in typed.get(page, ()))
    }
    assert left == PAGES_SPEAK_OF


def _whole(part: str) -> str:
    """The one text in the code that a part of it names."""
    texts = {said.text for said in in_the_code() if commands(said.text) and part in said.text}
    [text] = texts & {part} or texts
    return text


def _alike(page: str, code: str) -> bool:
    """Whether the page names that command, perhaps not all of it, and a value by a word in capitals."""
    if code.endswith(" "):  # what follows is put to it later
        return page.startswith(code)
    words = (r"\S+" if word.isupper() or word in PLACEHOLDERS else re.escape(word) for word in page.split())
    return re.fullmatch(rf"{' '.join(words)}( .*)?", code) is not None


@pytest.mark.parametrize("remedy", some(REMEDIES, SAMPLE), ids=lambda remedy: remedy.name)
def test_a_remedy_repairs_and_harms_nobody(remedy: Remedy, it: Crowd) -> None:
    patient = it.patient
    patient.agent, patient.wrapper, patient.together = replace(it.agent, interface=it.pod.ifname), None, False
    try:
        with ExitStack() as patient.held:
            _follow(patient, remedy)
        it.must_be_well()
    finally:
        if patient.is_bound():
            patient.agent.run("down", "--force", check=False)


def _follow(patient: Patient, remedy: Remedy) -> None:
    ask = remedy.provoke(patient)
    advice = ask()
    assert [part for part in remedy.says if not _pattern(_whole(part)).search(advice.text)] == []
    typed = _commands(advice)
    assert typed
    for command in typed:
        _type(patient, remedy, command, advice.evidence)
    if remedy.repairs and any(map(_changes, typed)):
        patient.wrapper = None
        assert _commands(ask()) == []


def _pattern(text: str) -> re.Pattern[str]:
    """What a text of the code reads like: with what an f-string fills in, and the flags of the place."""
    filled = re.escape(text).replace(re.escape(UNKNOWN), ".*")
    return re.compile(re.sub(r"(`vmnet\\ [\w-]+)", r"\1(?:\\ [^`]*?)?", filled), re.DOTALL)


def _commands(advice: Advice) -> list[str]:
    return [command for line in advice.text.splitlines() for command in commands(line)]


def _changes(command: str) -> bool:
    words = command.split()
    if words[0] == "vmnet":
        return words[1] not in LOOKS
    return words[0] not in SHOWS and command not in LISTS


def _type(patient: Patient, remedy: Remedy, command: str, evidence: str) -> None:
    words = shlex.split(_filled(patient, command, evidence))
    assert words[0] in ("vmnet", *PROGRAMS), f"nobody knows how to type {command}"
    if words[0] == "vmnet":
        _type_ours(patient, remedy, words[1:])
    elif words[0] == "nsenter":
        run(words)
    elif words[0] in SHOWS:
        _look(patient, words)
    else:
        (patient.pod.node if command in ON_THE_NODE else patient.pod.netns).run(*words)


def _filled(patient: Patient, command: str, evidence: str) -> str:
    """Put in the place of each word in capitals what people would: what was seen, where that tells."""
    macs = [mac for mac in MAC.findall(evidence) if mac != patient.pod.mac]
    uses = re.search(r"was seen to use (\S+)", evidence)
    seen = {
        "IFNAME": patient.pod.host_ifname,
        "/PID/": f"/{patient.pod.netns.processes()[0]}/",
        "UID[:GID]": PLACEHOLDERS["UID[:GID]"],
        "CIDR": uses[1] if uses else PLACEHOLDERS["CIDR"],
        "--mac MAC": f"--mac {macs[0] if macs else PLACEHOLDERS['MAC']}",
        "ADDRESS": patient.pod.nameservers[0],
    }
    for word, value in seen.items():
        command = command.replace(word, value)
    return command


def _type_ours(patient: Patient, remedy: Remedy, words: list[str]) -> None:
    """Type it where nothing but itself says which interface is meant."""
    verb, *flags = words
    agent = replace(patient.agent, interface="")
    if verb == "run":
        _run_for_a_while(patient, agent.argv(verb, *flags))
    elif verb == "domain":
        _write_domain(patient, agent.argv(verb, *flags))
    else:
        done = agent.run(verb, *flags, check=False)
        if verb == "down" and done.returncode == REFUSED and " is in use by " in done.stderr:
            patient.held.close()  # as it then says: shut that VM down first
            agent.run(verb, *flags)
    if verb == "down":
        remedy.between(patient)


def _run_for_a_while(patient: Patient, argv: list[str]) -> None:
    with background(argv, patient.directory / "run.log") as running:
        running.wait_for("ready")
        running.process.send_signal(signal.SIGTERM)
        assert running.wait() in (0, 128 + signal.SIGTERM)


def _write_domain(patient: Patient, argv: list[str]) -> None:
    path = patient.directory / "vm.xml"
    text = path.read_text(encoding="utf-8") if path.exists() else "<domain><devices/></domain>"
    done = run(argv, stdin=text)
    assert f"dev='{patient.tap}'" in done.stdout.replace('"', "'")
    path.write_text(done.stdout, encoding="utf-8")


def _look(patient: Patient, words: list[str]) -> None:
    """It shows something, some until they are interrupted."""
    netns = patient.pod.netns
    if words[0] == "ss":
        _end_who_listens(netns.run(*words))
    elif words[0] == "ping":
        done = netns.run("timeout", "--signal=INT", "1", "busybox", *words, check=False)
        assert done.stdout.startswith(f"PING {words[1]}")
    else:
        with background(netns.command(*words), patient.directory / f"{words[0]}.log") as shows:
            shows.wait_for("listening on")


def _end_who_listens(shown: Completed) -> None:
    [line] = [line for line in shown.stdout.splitlines() if "@vmnet/server/eth0" in line]
    [pid] = map(int, re.findall(r"pid=(\d+)", line))
    os.kill(pid, signal.SIGTERM)
    wait_for_end(pid)


def test_no_command_in_a_message_harms_who_is_well(it: Crowd) -> None:
    """Each is typed as it stands, and for the one binding as people do where several are there."""
    typed = _in_messages()
    assert set(CHANGES) <= set(typed)
    for command in typed:
        words = shlex.split(command)
        if words[0] == "vmnet":
            if command in CHANGES:
                it.agent.run(words[1], check=False)
            it.agent.run(*words[1:], "--interface", HEALTHY[0], check=False)
        else:
            it.pod.netns.run(*words, check=False)
    it.must_be_well()
    it.no_error_is_found()

    for ifname in HEALTHY:
        it.agent.run("down", "--force", "--interface", ifname)
    assert others_links(it.pod) == it.foreign
    assert "somebody" in tables(it.pod)
    assert not any(name.startswith("vmnet_") for name in tables(it.pod))
    [guests] = it.pod.netns.ip("address", "show", "dev", HEALTHY[0])
    assert guests["address"] == it.guest.mac.hex(":")
    assert it.guest.address in {entry["local"] for entry in guests["addr_info"]}


def _in_messages() -> list[str]:
    """Every whole command in a message that changes something in the pod; none forces."""
    found = {command for said in in_the_code() for command in commands(said.text)}
    for placeholder, value in PLACEHOLDERS.items():
        found = {command.replace(placeholder, value) for command in found}
    ours = {one.replace(UNKNOWN, "1") for one in found if one.startswith(CHANGES) and "--interface" not in one}
    ours = {one for one in ours if "--force" not in one and not any(word in one for word in NOT_TYPED)}
    others = {one for one in found - ON_THE_NODE if one.startswith(OTHERS)}
    return sorted(ours | {one for one in others if UNKNOWN not in one})
