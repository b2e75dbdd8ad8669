"""`vmnet domain` and KubeVirt's `onDefineDomain`: the XML change for those who start the domain themselves."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import TYPE_CHECKING

from vmnet.agent import lifecycle
from vmnet.diagnosis import standing
from vmnet.domain.read import decoded, parse
from vmnet.domain.splice import InterfaceSpec, set_interface
from vmnet.domain.wanted import wanted, with_wishes
from vmnet.errors import VmnetError
from vmnet.model.settings import DEFAULT_TAP

if TYPE_CHECKING:
    from vmnet.settings.config import Config


def filtered(data: bytes, config: Config, model: str, name: str = "") -> bytes:
    """Return the domain's XML with the interface for the pod's tap in it.

    What it shall be is that of the binding that is up, else what `vmnet up` would make. Where the settings say it
    all, nobody is asked, and it works anywhere. Its alias says `name`, where one is given.

    Raises:
        UsageError: it is no domain's XML that we take.
        RefusedError: there is no pod interface here that could be handed over.
    """
    text = decoded(data)
    config = with_wishes(config, parse(text))
    spec = _from_settings(config, model) or _from_the_pod(config, model)
    return set_interface(text, replace(spec, name=name)).encode()


def _from_settings(config: Config, model: str) -> InterfaceSpec | None:
    settings = config.settings
    if not settings.mac or settings.mtu is None:
        return None
    tap = settings.tap if config.tap_is_named else _tap_here(config)
    return InterfaceSpec(tap, settings.mac, settings.mtu, model, config.interface or "eth0")


def _tap_here(config: Config) -> str:
    """Name the tap of the binding that is up here, else the usual one: anywhere else there is nobody to ask."""
    with contextlib.suppress(VmnetError):
        journal = standing.status(config).journal
        if journal:
            return journal.settings.tap
    return DEFAULT_TAP


def _from_the_pod(config: Config, model: str) -> InterfaceSpec:
    return wanted(lifecycle.plan(config).journal, model)
