"""The configuration file's language: what it says, and what is refused with the path to it in one line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from vmnet.errors import UsageError
from vmnet.model.settings import Boot, RawOption, Told
from vmnet.settings import file
from vmnet.settings.config import FromFile

DEPLOY = Path(__file__).parents[3] / "deploy"
PORTAL = b"https://portal.example".hex()


def read(tmp_path: Path, text: str, interface: str = "") -> FromFile:
    """What a file of that text says of the interface."""
    path = tmp_path / "config"
    path.write_text(text, encoding="utf-8")
    return file.read(str(path), interface)


def refusal(tmp_path: Path, text: str, interface: str = "") -> str:
    """Why it is refused, without the file's name."""
    with pytest.raises(UsageError) as caught:
        read(tmp_path, text, interface)
    said = str(caught.value)
    assert "\n" not in said
    name, _, rest = said.partition(": ")
    assert name == str(tmp_path / "config")
    return rest


def test_the_example_says_everything_there_is() -> None:
    said = file.read(str(DEPLOY / "config.example.yaml"), "eth0")
    assert said.texts == {
        "interface": "eth0",
        "tap": "tap0",
        "owner": "107:107",
        "queues": "4",
        "mac": "52:54:00:12:34:56",
        "mtu": "1400",
        "hostname": "vm-1",
        "dhcp": "on",
        "lease_time": "3600",
        "ipv6": "on",
        "isolation": "strict",
        "allow_address": "10.9.0.0/24,fd00:aa::/64",
        "allow_mac": "00:00:5e:00:01:07",
        "server_user": "65534",
        "sandbox": "on",
    }
    assert said.told == Told(
        nameservers=("10.96.0.10", "fd00:96::a"),
        domain_search=("example.org", "svc.cluster.local"),
        ntp_servers=("10.0.0.123", "fd00::123"),
        boot=Boot("10.0.0.9", "ipxe.efi", "PXEClient"),
        ipv6_only_wait=1800,
        options=(
            RawOption(114, PORTAL),
            RawOption(43, "0601ff"),
            RawOption(150, "0a0000090a00000a"),
            RawOption(116, "00"),
            RawOption(22, "0240"),
            RawOption(24, "00000258"),
        ),
        autonomous=True,
        nat64_prefix="64:ff9b::/96",
    )
    assert file.read(str(DEPLOY / "config.example.yaml"), "net1").texts == {
        "interface": "net1",
        "dhcp": "external",
    }


def test_json_says_the_same_as_yaml(tmp_path: Path) -> None:
    said = {"mtu": 1400, "lease_time": "infinite", "dns": {"servers": []}, "owner": 107}
    assert read(tmp_path, json.dumps({"interfaces": {"eth0": said}})) == FromFile(
        {"interface": "eth0", "owner": "107", "mtu": "1400", "lease_time": "infinite"}, Told(nameservers=())
    )


def test_yaml_1_1_s_surprises_are_none(tmp_path: Path) -> None:
    text = "interfaces: {eth0: {mac: 52:54:00:12:34:56, hostname: no, dhcp: off, owner: 0107}}"
    texts = {"interface": "eth0", "owner": "0107", "mac": "52:54:00:12:34:56", "hostname": "no", "dhcp": "off"}
    assert read(tmp_path, text).texts == texts


def test_the_only_interface_need_not_be_named(tmp_path: Path) -> None:
    assert read(tmp_path, "interfaces: {net1: {}}").texts == {"interface": "net1"}
    two = "interfaces: {eth0: {}, net1: {}}"
    assert read(tmp_path, two, "net1").texts == {"interface": "net1"}
    assert refusal(tmp_path, two).startswith("interfaces: it configures eth0 and net1; pick one with --interface")
    assert refusal(tmp_path, two, "net2") == "interfaces.net2 is missing; it configures eth0, net1"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n\n",
        "# interfaces:\n#   eth0:\n",
        "---\n# later\n...\n",
        "null",
        "{}",
        " {}\n",
        '{"interfaces": {}}',
        '{"interfaces": null}',
        "interfaces:",
        "interfaces: {}",
        "interfaces: ~",
    ],
)
@pytest.mark.parametrize("interface", ["", "eth0"])
def test_a_file_that_speaks_of_no_interface_asks_for_nothing(tmp_path: Path, text: str, interface: str) -> None:
    assert read(tmp_path, text, interface) == FromFile()


@pytest.mark.parametrize(
    "below",
    [
        "",
        " ~",
        " {}",
        "\n    # mtu: 1400",
        "\n    dns:\n    boot:\n    ntp:\n    options:",
        "\n    dns: {}\n    ntp: []",
    ],
)
def test_tables_and_lists_with_nothing_in_them_ask_for_nothing(tmp_path: Path, below: str) -> None:
    assert read(tmp_path, f"interfaces:\n  eth0:{below}\n") == FromFile({"interface": "eth0"})


@pytest.mark.parametrize(
    ("said", "refused"),
    [
        ("{mcc: 1}", "interfaces.net1.mcc: there is no such key"),
        ("{boot: {fil: x}}", "interfaces.net1.boot.fil: there is no such key"),
        ("{mtu: large}", "interfaces.net1.mtu: expected `int`, got `str`"),
        ("{mtu: true}", "interfaces.net1.mtu: expected `int`, got `bool`"),
        ("{mtu: 1400.5}", "interfaces.net1.mtu: expected `int`, got `str`"),
        ("{mtu: 67}", "interfaces.net1.mtu: expected `int` >= 68"),
        ("{mtu: null}", "interfaces.net1.mtu: expected `int`, got `null`"),
        ("{mac: '01:00:5e:00:00:01'}", "interfaces.net1.mac: expected a VM's MAC like 52:54:00:12:34:56"),
        ("{mac: '00:00:00:00:00:00'}", "interfaces.net1.mac: MAC 00:00:00:00:00:00 is all zero"),
        ("{tap: a b}", "interfaces.net1.tap: tap 'a b' is no link name"),
        ("{owner: qemu}", "interfaces.net1.owner: owner 'qemu' is not of the form"),
        ("{owner: -1}", "interfaces.net1.owner: owner '-1' is not of the form"),
        ("{hostname: -x}", "interfaces.net1.hostname: host name '-x' is not letters"),
        ("{dhcp: maybe}", "interfaces.net1.dhcp: invalid enum value 'maybe'"),
        ("{dhcp: true}", "interfaces.net1.dhcp: expected `str`, got `bool`"),
        ("{binding: macvtap}", "interfaces.net1.binding: invalid enum value 'macvtap'"),
        ("{lease_time: 3}", "interfaces.net1.lease_time: expected `int` >= 4"),
        ("{lease_time: 4294967295}", "interfaces.net1.lease_time: expected `int` <= 4294967294"),
        ("{lease_time: ever}", "interfaces.net1.lease_time: invalid enum value 'ever'"),
        ("{queues: 257}", "interfaces.net1.queues: expected `int` <= 256"),
        ("{ntp: 10.0.0.1}", "interfaces.net1.ntp: expected `array`, got `str`"),
        ("{ntp: [pool.ntp.org]}", "interfaces.net1.ntp[0]: expected an IPv4 or IPv6 address"),
        ("{ntp: [10.0.0.1, 10.0.0.256]}", "interfaces.net1.ntp[1]: expected an IPv4 or IPv6 address"),
        ('{ntp: ["10.0.0.1\\n"]}', "interfaces.net1.ntp[0]: expected an IPv4 or IPv6 address"),
        ("{ntp: ['fe80::1']}", "interfaces.net1.ntp[0]: fe80::1 is link-local, which the guest cannot use"),
        ("{dns: {servers: ['fd00::1', 'fd00::g']}}", "interfaces.net1.dns.servers[1]: expected an IPv4 or IPv6"),
        ("{dns: {servers: ['fd00::/64']}}", "interfaces.net1.dns.servers[0]: expected an IPv4 or IPv6 address"),
        ("{dns: {servers: ['fe80::1%eth0']}}", "interfaces.net1.dns.servers[0]: expected an IPv4 or IPv6 address"),
        ("{dns: {servers: [10.0.0.1, 'FEBF::1']}}", "interfaces.net1.dns.servers[1]: febf::1 is link-local"),
        ("{ipv6: auto}", "interfaces.net1.ipv6: invalid enum value 'auto'"),
        ("{autonomous: true}", "interfaces.net1.autonomous: expected `str`, got `bool`"),
        ("{nat64_prefix: '64:ff9b::'}", "interfaces.net1.nat64_prefix: expected an IPv6 prefix of 96, 64, 56,"),
        ("{nat64_prefix: '64:ff9b::/95'}", "interfaces.net1.nat64_prefix: expected an IPv6 prefix of 96, 64, 56,"),
        ("{nat64_prefix: '64:ff9b::1/96'}", "interfaces.net1.nat64_prefix: 64:ff9b::1/96 has host bits set"),
        ("{nat64_prefix: 10.0.0.0/32}", "interfaces.net1.nat64_prefix: expected an IPv6 prefix of 96, 64, 56"),
        ("{nat64_prefix: '64:ff9b:0:0:100::/96'}", "interfaces.net1.nat64_prefix: 64:ff9b:0:0:100::/96: its bits"),
        ("{dns: {search: [a..b]}}", "interfaces.net1.dns.search[0]: expected a domain name in small letters"),
        ("{boot: {file: 'ü'}}", "interfaces.net1.boot.file: expected printable ASCII characters"),
        ('{boot: {file: "x\\n"}}', "interfaces.net1.boot.file: expected printable ASCII characters"),
        ("{boot: {file: ''}}", "interfaces.net1.boot.file: expected printable ASCII characters"),
        ("{ipv6_only_wait: 299}", "interfaces.net1.ipv6_only_wait: expected `int` >= 300"),
        ("{options: [{text: x}]}", "interfaces.net1.options[0]: object missing required field `code`"),
        ("{options: [{code: 255, text: x}]}", "interfaces.net1.options[0].code: expected `int` <= 254"),
        ("{options: [{code: 252}]}", "interfaces.net1.options[0]: give exactly one of text, hex, addresses"),
        ("{options: [{code: 252, text: x, hex: ff}]}", "interfaces.net1.options[0]: give exactly one of text"),
        ("{options: [{code: 43, hex: 0f1}]}", "interfaces.net1.options[0].hex: expected octets in hexadecimal"),
        ("{options: [{code: 43, hex: ''}]}", "interfaces.net1.options[0].hex: expected octets in hexadecimal"),
        ("{options: [{code: 51, uint32: 9}]}", "interfaces.net1.options[0].code: 51: cannot be set: the server"),
        ("{options: [{code: 6, hex: ff}]}", "interfaces.net1.options[0].code: 6: write dns.servers"),
        ("{options: [{code: 121, hex: ff}]}", "interfaces.net1.options[0].code: 121: cannot be set: its value"),
        (
            "{options: [{code: 252, text: a}, {code: 252, text: b}]}",
            "interfaces.net1.options[1].code: 252: it appears twice",
        ),
        ("[]", "interfaces.net1: expected `object`, got `array`"),
    ],
)
def test_what_the_language_does_not_have_is_refused_with_its_path(tmp_path: Path, said: str, refused: str) -> None:
    assert refusal(tmp_path, f"interfaces: {{eth0: {{mtu: 1500}}, net1: {said}}}", "net1").startswith(refused)


def test_ipv6_is_written_as_everywhere(tmp_path: Path) -> None:
    said = "ntp: ['FD00:0:0::0AB', '2001:db8:1:2:3:4:5:6', '1::', '::']"
    text = f"interfaces: {{eth0: {{{said}, nat64_prefix: '2001:DB8:0::/48', autonomous: off, ipv6: off}}}}"
    ntp = ("fd00::ab", "2001:db8:1:2:3:4:5:6", "1::", "::")
    told = Told(ntp_servers=ntp, nat64_prefix="2001:db8::/48")
    assert read(tmp_path, text) == FromFile({"interface": "eth0", "ipv6": "off"}, told)


@pytest.mark.parametrize("length", [96, 64, 56, 48, 40, 32])
def test_a_nat64_prefix_has_one_of_six_lengths(tmp_path: Path, length: int) -> None:
    said = f"{{nat64_prefix: '2001:db8::/{length}'}}"
    assert read(tmp_path, f"interfaces: {{eth0: {said}}}").told.nat64_prefix == f"2001:db8::/{length}"


@pytest.mark.parametrize(
    ("text", "refused"),
    [
        ("interfaces: []", "interfaces: expected `object`, got `array`"),
        ("version: 1", "version: there is no such key"),
        ("interfaces: {1: {}}", "interfaces: expected `str`, got `int`"),
        ("interfaces: {eth 0: {}}", "interfaces.eth 0: interface 'eth 0' is no link name"),
        ("interfaces: {eth0: {mtu: 1, mtu: 2}}", "the key 'mtu' appears twice"),
        ('{"interfaces": {"eth0": {"mtu": 1, "mtu": 2}}}', "the key 'mtu' appears twice"),
        ('{"interfaces":', "Expecting value: line 1 column 15"),
        ("interfaces: [", "while parsing a flow node"),
        ("interfaces: !!python/object/apply:os.getpid []", "could not determine a constructor for the tag"),
        ("{" + '"a":{' * 8000, "nested deeper than 32 levels"),
    ],
)
def test_what_is_no_such_file_is_refused(tmp_path: Path, text: str, refused: str) -> None:
    assert refusal(tmp_path, text).startswith(refused)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"configuration file .*/none: no such file"):
        file.read(str(tmp_path / "none"), "")


def test_the_published_schema_is_of_these_types() -> None:
    published = (DEPLOY / "config.schema.json").read_text(encoding="utf-8")
    assert published == file.schema(), "run `make schema`"


@pytest.mark.parametrize(
    "text",
    [
        "!!bool maybe",
        "interfaces: {eth0: {mtu: !!timestamp x}}",
        "interfaces: {eth0: {mtu: !!int ''}}",
        "!!float ''",
        "!!binary =",
        "!!omap [x]",
        "!!pairs x",
        "!!set {x}",
        "!!python/object:os.system x",
        "!mine x",
        "!!null x",
        "&a !!merge [*a]",
        "interfaces: {? !!merge '<<' : [{}, {}]}",
        "? {a: b}\n: c",
        "? [a, b]\n: c",
        "a: &a [x]\nb: [" + "*a, " * 101 + "]",
        "interfaces: &a {eth0: *a}",
        "[" * 30_000,
        "- " * 30_000,
        "? " * 30_000,
        "{a: " * 10_000,
        '{"a": ' * 10_000,
        '{"interfaces": ' + "[" * 60_000,
        '{"a": ' + "[" * 33 + "]" * 33 + "}",
        '{"a": 1, "a": 2}',
        '{"a": ' + "1" * 5000 + "}",
        "interfaces: " + "1" * 5000,
        '{"interfaces": NaN}',
        "interfaces: *nobody",
        "\0",
        "{",
        "}",
        "\t",
        "%YAML 9.9\n---\n",
        "--- a\n--- b",
        '"\\ud800"',
        '{"interfaces": {"\\ud800": {}}}',
        'interfaces: {eth0: {tap: "\\udfff"}}',
    ],
)
def test_a_hostile_file_is_refused_in_one_line(tmp_path: Path, text: str) -> None:
    assert refusal(tmp_path, text)


def test_a_merge_of_merges_is_refused_before_it_grows(tmp_path: Path) -> None:
    """23 levels of two: merged, that is 8 million pairs from 663 octets."""
    levels = ["a0: &a0 {k: v}"]
    levels += [f"a{n}: &a{n} {{!!merge x: [*a{n - 1}, *a{n - 1}]}}" for n in range(1, 24)]
    assert "!!merge" in refusal(tmp_path, "\n".join(levels))


def test_many_keys_are_compared_once_each(tmp_path: Path) -> None:
    """Were each compared with all before it, that would be 50 million comparisons."""
    keys: list[Any] = []

    class Counted(str):
        __slots__ = ()

        def __eq__(self, other: object) -> bool:
            keys.append(self)
            return super().__eq__(other)

        __hash__ = str.__hash__

    file._refuse_twice([Counted(f"k{number}") for number in range(10_000)])
    assert len(keys) < 10_000


def test_text_may_bear_its_tag(tmp_path: Path) -> None:
    assert read(tmp_path, "interfaces: {eth0: {hostname: !!str 7}}").texts["hostname"] == "7"


def test_interfaces_may_share_by_an_alias(tmp_path: Path) -> None:
    text = "interfaces: {eth0: &same {mtu: 1400}, net1: *same}"
    assert read(tmp_path, text, "net1").texts == {"interface": "net1", "mtu": "1400"}
