"""The manifests render, are valid on two versions of Kubernetes, and ask for no more than was tested."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from typing import TYPE_CHECKING, Any

import pytest

from testbed.netns import run
from testbed.podman import AGENT_CAPABILITIES, LAUNCHER_CAPABILITIES
from tests.image import manifests
from tests.image.manifests import BIN, capabilities, containers, kustomizations, objects, pod, render
from vmnet.cli import main
from vmnet.settings.config import DEFAULT_STATE_DIR
from vmnet.show.termination import VARIABLE as LAST_WORD

if TYPE_CHECKING:
    from pathlib import Path

VERSIONS = ("1.33.0", "1.37.0")
PROBES = ("startupProbe", "readinessProbe", "livenessProbe")

every_kustomization = pytest.mark.parametrize("name", kustomizations())


def validate(text: str, version: str, directory: Path) -> str:
    """Ask the schemas of a version; what they object to, empty for nothing."""
    path = directory / "rendered.yaml"
    path.write_text(text, encoding="utf-8")
    answer = run([BIN / "kubernetes-validate", "--strict", "-k", version, path], check=False)
    return answer.stdout + answer.stderr if answer.returncode else ""


def test_base_and_overlays_are_there() -> None:
    assert {"base", "overlays/sidecar", "overlays/device-plugin", "overlays/network-policy"} <= set(
        kustomizations()
    )


@pytest.mark.parametrize("version", VERSIONS)
@every_kustomization
def test_valid(name: str, version: str, tmp_path: Path) -> None:
    assert validate(render(name), version, tmp_path) == ""


@pytest.mark.parametrize("version", VERSIONS)
def test_a_misspelt_field_is_not_valid(version: str, tmp_path: Path) -> None:
    text = render("base").replace("readOnlyRootFilesystem", "readOnlyRootFileSystem")
    assert "readOnlyRootFileSystem" in validate(text, version, tmp_path)


@every_kustomization
def test_containers_may_no_more_than_they_must(name: str) -> None:
    for container in containers(name):
        context = container["securityContext"]
        assert context["allowPrivilegeEscalation"] is False
        assert context["readOnlyRootFilesystem"] is True
        assert context["seccompProfile"] == {"type": "RuntimeDefault"}
        assert context["capabilities"]["drop"] == ["ALL"]
        # Kubernetes gives added capabilities to root only; whoever has none need not be root.
        assert (context["runAsUser"] == 0) is bool(capabilities(container))
        assert bool(context.get("runAsNonRoot")) is not bool(capabilities(container))
    assert pod(name)["automountServiceAccountToken"] is False
    assert not {"hostNetwork", "hostPID", "hostIPC"} & set(pod(name))


@every_kustomization
def test_capabilities_are_the_tested_ones(name: str) -> None:
    for container in containers(name):
        verb = (container.get("args") or [""])[0]
        tested = {"run": AGENT_CAPABILITIES, "launch": LAUNCHER_CAPABILITIES}.get(verb, ())
        assert sorted(capabilities(container)) == sorted(tested)


@every_kustomization
def test_probes_never_ask_the_pod_address(name: str) -> None:
    probes = [probe for container in containers(name) for kind in PROBES if (probe := container.get(kind))]
    assert probes
    for probe in probes:
        assert "exec" in probe
        assert not {"httpGet", "tcpSocket", "grpc"} & set(probe)


@every_kustomization
def test_commands_are_ours(name: str) -> None:
    """What the containers and the probes run is understood by the program."""
    parser = main.parser()
    for container in containers(name):
        if "command" not in container:
            parser.parse_args(container["args"])
        for probe in filter(None, map(container.get, PROBES)):
            program, *arguments = probe["exec"]["command"]
            assert program == "vmnet"
            parser.parse_args(arguments)


@every_kustomization
def test_state_lives_as_long_as_the_pod(name: str) -> None:
    volumes = {volume["name"]: volume for volume in pod(name)["volumes"]}
    for container in map(with_vmnet, containers(name)):
        if container:
            [mount] = [mount for mount in container["volumeMounts"] if mount["mountPath"] == DEFAULT_STATE_DIR]
            assert "emptyDir" in volumes[mount["name"]]
            variables = {entry["name"]: entry for entry in container["env"]}
            assert variables[LAST_WORD]["value"] == container["terminationMessagePath"]
            assert "fieldPath" in variables["VMNET_HOSTNAME"]["valueFrom"]["fieldRef"]


def with_vmnet(container: dict[str, Any]) -> dict[str, Any]:
    """The container, if vmnet is its program."""
    return {} if "command" in container else container


@every_kustomization
def test_annotations_and_mounts_exist(name: str) -> None:
    """An annotation that is not there would be an empty host name, a volume that is not there no pod."""
    [found] = objects(name, "Pod")
    declared = {volume["name"] for volume in found["spec"]["volumes"]}
    for container in containers(name):
        for entry in container.get("env", ()):
            path = entry.get("valueFrom", {}).get("fieldRef", {}).get("fieldPath", "")
            if path.startswith("metadata.annotations"):
                assert path.split("'")[1] in found["metadata"]["annotations"]
        assert {mount["name"] for mount in container["volumeMounts"]} <= declared


def test_the_device_comes_by_host_path_or_by_plugin() -> None:
    assert {"path": "/dev/net/tun", "type": "CharDevice"} in [
        volume.get("hostPath") for volume in pod("base")["volumes"]
    ]
    plugin = pod("overlays/device-plugin")
    assert not [volume for volume in plugin["volumes"] if "hostPath" in volume]
    [container] = plugin["containers"]
    assert container["resources"]["limits"]["squat.ai/tun"] == 1
    assert "/dev/net/tun" not in [mount["mountPath"] for mount in container["volumeMounts"]]


def test_the_sidecar_is_a_native_one() -> None:
    sidecar = pod("overlays/sidecar")
    [vmnet] = sidecar["initContainers"]
    [launcher] = sidecar["containers"]
    assert vmnet["restartPolicy"] == "Always"
    assert "startupProbe" in vmnet
    [owner] = [entry["value"] for entry in vmnet["env"] if entry["name"] == "VMNET_OWNER"]
    assert int(owner) == launcher["securityContext"]["runAsUser"]


@every_kustomization
def test_what_is_applied_is_used(name: str) -> None:
    """A ConfigMap that nobody mounts would be left behind in the namespace."""
    mounted = {volume["configMap"]["name"] for volume in pod(name)["volumes"] if "configMap" in volume}
    assert {found["metadata"]["name"] for found in objects(name, "ConfigMap")} == mounted


@every_kustomization
def test_probes_are_the_cheap_one_and_ready_means_the_guest(name: str) -> None:
    every = {kind: probe for one in containers(name) for kind in PROBES if (probe := one.get(kind))}
    commands = {kind: probe["exec"]["command"] for kind, probe in every.items()}
    assert commands == {"startupProbe": ["vmnet", "probe"], "readinessProbe": ["vmnet", "probe", "--for", "bound"]}


@every_kustomization
def test_exec_leads_to_a_container_that_sees_the_binding(name: str) -> None:
    [found] = objects(name, "Pod")
    default = found["metadata"]["annotations"]["kubectl.kubernetes.io/default-container"]
    [container] = [one for one in containers(name) if one["name"] == default]
    assert DEFAULT_STATE_DIR in [mount["mountPath"] for mount in container["volumeMounts"]]


def test_the_policy_selects_the_pod() -> None:
    [policy] = objects("overlays/network-policy", "NetworkPolicy")
    [found] = objects("overlays/network-policy", "Pod")
    assert policy["spec"]["podSelector"]["matchLabels"].items() <= found["metadata"]["labels"].items()


@pytest.mark.parametrize("path", sorted(manifests.ROOT.rglob("domain.xml")), ids=lambda path: path.parent.name)
def test_domains_leave_the_interface_to_vmnet(path: Path) -> None:
    domain = ET.parse(path).getroot()  # noqa: S314 # our own file
    assert domain.tag == "domain"
    assert domain.find("devices/interface") is None


def test_dockerfile_is_clean() -> None:
    assert run([BIN / "hadolint", manifests.ROOT.parents[1] / "Dockerfile"], check=False).stdout == ""
