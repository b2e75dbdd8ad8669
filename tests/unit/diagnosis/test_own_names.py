"""Nothing of a set of secrets, one of each kind, is in any text that is redacted by the names that are known."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tests.testlib.sights import RESOLVER, journal
from vmnet.agent.lifecycle import Plan
from vmnet.diagnosis import plan
from vmnet.diagnosis.own_names import own_names
from vmnet.diagnosis.redact import Redactor
from vmnet.lease.ipv4 import lease
from vmnet.model.codec import encode, plain
from vmnet.model.settings import Boot, RawOption, Settings, Told
from vmnet.settings import resolver
from vmnet.settings.config import Config
from vmnet.show.outline import plain as drawn

if TYPE_CHECKING:
    from pathlib import Path

BEFORE = Told(
    domain_search=("then.tenant.example",),
    boot=Boot("tftp.tenant.example", "http://boot.tenant.example:8080/img/disk.efi?token=s3cr3t", "TenantClient"),
    options=(RawOption(114, b"https://portal.tenant.example".hex()),),
)
NOW = "search now.tenant.example bad..tenant.example\nnameserver dns.tenant.example\nnameserver 127.0.0.53\n"
BEHIND = "domain behind.tenant.example.\nnameserver 192.0.2.53\n"
SECRETS = ("tenant", "s3cr3t", "disk.efi", "vm-of-somebody", "web-0-pod", BEFORE.options[0].value, "1f2e3d-pod")


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Config:
    """A call in a pod whose files and settings are full of secrets."""
    (tmp_path / "now").write_text(NOW)
    (tmp_path / "behind").write_text(BEHIND)
    monkeypatch.setattr(resolver, "_SYSTEMD", (str(tmp_path / "behind"),))
    monkeypatch.setattr(resolver, "_OTHERS", ())
    return Config(
        default_hostname="web-0-pod.cluster",
        netns="1f2e3d-pod",
        resolv_conf=str(tmp_path / "now"),
        state_dir="/pods/1f2e3d-pod/volumes/vmnet",
        settings=Settings(told=Told(domain_search=("asked.tenant.example",))),
    )


def test_no_secret_of_any_kind_is_left(config: Config) -> None:
    settings = Settings(hostname="VM-of-somebody.tenant.example", told=BEFORE)
    bound = journal(hostname=settings.hostname, told=BEFORE)
    again = replace(bound, lease=lease(bound.pod, RESOLVER, settings))
    texts = [
        encode(again),
        plan.plan_json(Plan(again, (), already_up=True)),
        drawn(plan.plan_outline(Plan(again, (), already_up=True)), 100),
        json.dumps(plain(config.settings)),
        *(f"resolv.conf: search domain {word!r} is odd" for word in NOW.split()),
        f"network namespace {config.netns}: DNS is borrowed",
        f"resolv.conf: {BEHIND}",
        f"cannot write {config.state_dir}/server.pid",
        "the hostname 'web-0-pod' and 'vm-of-somebody', WEB-0-POD.cluster",
    ]
    redactor = Redactor(own_names(config, again))
    left = [
        (secret, text) for text in map(redactor.document, texts) for secret in SECRETS if secret in text.lower()
    ]
    assert left == []


def test_what_is_no_name_is_not_replaced(config: Config) -> None:
    names = set(own_names(config, None))
    assert not names & {"192.0.2.53", "127.0.0.53", "search", "nameserver", "/run/vmnet"}
    assert "now.tenant.example" in names
