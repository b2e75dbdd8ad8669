"""A real Prometheus that scrapes what is in its network namespace.

┌ node ──────────────────────────────────────────────┐
│ vmnet exporter ◄── every second ── prometheus ◄── us │
│ 127.0.0.1:9431                     127.0.0.1:9090  │
└────────────────────────────────────────────────────┘
"""

from __future__ import annotations

import http.client
import json
import os
import select
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from testbed.netns import Background, Netns, TestbedError, background, entered
from testbed.patience import PATIENCE
from testbed.unpacked import PROMETHEUS, programs
from vmnet.kernel.inotify import watch_file

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PORT = 9090
CONFIGURATION = """\
global:
  scrape_interval: 1s
  scrape_timeout: 1s
scrape_configs:
  - job_name: vmnet
    static_configs:
      - targets: ["{target}"]
"""


@dataclass(frozen=True, slots=True)
class Prometheus:
    """One that runs, and where it writes what it has scraped."""

    node: Netns
    directory: Path
    running: Background

    def ask(self, path: str, **parameters: str) -> Any:  # noqa: ANN401 -- whatever the API answers
        """The data of an answer of its HTTP API; an error is one here, too."""
        with entered(self.node):
            connection = http.client.HTTPConnection("127.0.0.1", PORT, timeout=PATIENCE)
            connection.connect()
        try:
            connection.request("GET", f"/api/v1/{path}?{urlencode(parameters)}")
            answer = json.loads(connection.getresponse().read())
        finally:
            connection.close()
        if answer["status"] != "success":
            raise TestbedError(f"{path} {parameters}: {answer}")
        return answer["data"]

    def query(self, expression: str) -> dict[tuple[tuple[str, str], ...], float]:
        """What an expression is now: by its labels."""
        found = self.ask("query", query=expression)["result"]
        return {tuple(sorted(one["metric"].items())): float(one["value"][1]) for one in found}

    def wait_until(self, expression: str) -> None:
        """Wait until an expression is anything, which is looked at after each scrape."""
        news = watch_file(str(self.directory / "data" / "wal" / "00000000"))
        deadline = time.monotonic() + PATIENCE
        try:
            while not self.query(expression):
                if not select.select([news], [], [], max(0, deadline - time.monotonic()))[0]:
                    raise TestbedError(f"{PATIENCE} s without {expression}:\n{self.running.text}")
                os.read(news, 4096)
        finally:
            os.close(news)


@contextmanager
def prometheus(node: Netns, target: str, directory: Path) -> Iterator[Prometheus]:
    """Let one scrape `target`, a HOST:PORT there, until the block ends; it has scraped nothing yet."""
    (directory / "prometheus.yml").write_text(CONFIGURATION.format(target=target), encoding="ascii")
    argv = node.command(
        programs(PROMETHEUS) / "prometheus",
        f"--config.file={directory / 'prometheus.yml'}",
        f"--storage.tsdb.path={directory / 'data'}",
        f"--web.listen-address=127.0.0.1:{PORT}",
    )
    with background(argv, directory / "prometheus.log") as running:
        running.wait_for("Server is ready to receive web requests", PATIENCE)
        yield Prometheus(node, directory, running)
