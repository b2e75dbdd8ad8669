"""The exporter's manifests: valid, harmless, and finding what the VMs' pods have."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import yaml

from tests.image.manifests import exporters, objects, pod, render
from tests.image.test_manifests import VERSIONS, validate
from vmnet.cli import main
from vmnet.settings.config import DEFAULT_STATE_DIR, state_pattern

if TYPE_CHECKING:
    from pathlib import Path

KUBELET = "/var/lib/kubelet/pods"
"""Below it the kubelet makes UID/volumes/kubernetes.io~empty-dir/NAME, on disk and in memory."""
OF_AN_ENDPOINT = {"port", "path", "interval", "scrapeTimeout", "relabelings"}
"""What of monitoring.coreos.com/v1's PodMetricsEndpoint is used: its schema is no part of Kubernetes."""


def exporter(name: str = "exporter/base") -> dict[str, Any]:
    """The pod of the one DaemonSet."""
    [found] = objects(name, "DaemonSet")
    assert found["spec"]["selector"]["matchLabels"] == found["spec"]["template"]["metadata"]["labels"]
    return dict(found["spec"]["template"]["spec"])


def container() -> dict[str, Any]:
    [found] = exporter()["containers"]
    return dict(found)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", exporters())
def test_valid(name: str, version: str, tmp_path: Path) -> None:
    every = list(yaml.safe_load_all(render(name)))
    of_kubernetes = [found for found in every if found["kind"] != "PodMonitor"]
    assert [found["kind"] for found in of_kubernetes] == ["DaemonSet"]
    assert validate(yaml.safe_dump_all(of_kubernetes), version, tmp_path) == ""


def test_it_may_nothing_and_sees_nothing_of_the_node_but_the_pods_volumes() -> None:
    spec, only = exporter(), container()
    context = only["securityContext"]
    assert context["capabilities"] == {"drop": ["ALL"]}
    assert (context["allowPrivilegeEscalation"], context["privileged"]) == (False, False)
    assert context["readOnlyRootFilesystem"] is True
    assert context["seccompProfile"] == {"type": "RuntimeDefault"}
    assert spec["automountServiceAccountToken"] is False
    assert not {"hostNetwork", "hostPID", "hostIPC"} & set(spec)
    [volume] = spec["volumes"]
    [mount] = only["volumeMounts"]
    assert volume["hostPath"] == {"path": KUBELET, "type": "Directory"}
    assert (mount["readOnly"], mount["mountPropagation"]) == (True, "HostToContainer")


def test_it_looks_where_the_pods_of_vms_keep_their_facts() -> None:
    asked = main.parser().parse_args(container()["args"])
    [pattern] = asked.state_dir
    assert state_pattern(pattern) == pattern
    vm = pod("base")
    [mounted] = [mount for mount in vm["containers"][0]["volumeMounts"] if mount["mountPath"] == DEFAULT_STATE_DIR]
    [volume] = [volume for volume in vm["volumes"] if volume["name"] == mounted["name"]]
    assert "emptyDir" in volume
    assert "subPath" not in mounted
    [mount] = container()["volumeMounts"]
    assert pattern == f"{mount['mountPath']}/*/volumes/kubernetes.io~empty-dir/{mounted['name']}"


def test_the_port_is_the_one_it_listens_at() -> None:
    asked = main.parser().parse_args(container()["args"])
    [port] = container()["ports"]
    assert asked.listen == f"0.0.0.0:{port['containerPort']}"
    for kind in ("readinessProbe", "livenessProbe"):
        assert container()[kind]["httpGet"] == {"path": "/healthz", "port": port["name"]}


def test_the_monitor_finds_the_port_of_the_pods() -> None:
    [monitor] = objects("exporter/pod-monitor", "PodMonitor")
    assert monitor["apiVersion"] == "monitoring.coreos.com/v1"
    assert monitor["spec"].keys() == {"selector", "podMetricsEndpoints"}
    [daemons] = objects("exporter/pod-monitor", "DaemonSet")
    labels = daemons["spec"]["template"]["metadata"]["labels"]
    assert monitor["spec"]["selector"]["matchLabels"].items() <= labels.items()
    [endpoint] = monitor["spec"]["podMetricsEndpoints"]
    assert endpoint.keys() <= OF_AN_ENDPOINT
    assert endpoint["port"] in [port["name"] for port in container()["ports"]]
    assert endpoint["path"] == "/metrics"
    interval, patience = (int(endpoint[key].removesuffix("s")) for key in ("interval", "scrapeTimeout"))
    assert 1 < patience < interval
    [relabeling] = endpoint["relabelings"]
    assert relabeling.keys() == {"sourceLabels", "targetLabel"}
