"""`make bench`: the table."""

from __future__ import annotations

import statistics
import sys
from dataclasses import dataclass

from tests.bench import bench

_TRIALS = 9


@dataclass(frozen=True, slots=True)
class Row:
    """One figure beside what it is compared with and what it should be."""

    what: str
    ours: str
    theirs: str
    target: str
    met: bool | None


def main() -> int:
    """Measure everything and print it. Always 0: a figure is for a person to judge."""
    rows = [*_exchanges_and_memory(), *_ipv6(), *_bring_up(), *_dual_stack(), *_kernel(), *_probe()]
    header = Row("what", "vmnet", "dnsmasq/script", "target", None)
    columns = ("what", "ours", "theirs", "target")
    widths = [max(len(getattr(row, name)) for row in (header, *rows)) for name in columns]
    for row in (header, *rows):
        mark = {True: "met", False: "NOT MET", None: ""}[row.met]
        cells = [getattr(row, name) for name in columns]
        print("  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)), mark)
    return 0


def _exchanges_and_memory() -> list[Row]:
    _say("DHCP exchanges")
    with bench.vmnet_up() as (made, started):
        bench.first_offer(made)
        offer, ack = bench.exchange_figures(made, started.server, bench.discover, bench.reboot)
        rss, pss = bench.memory(started.server)
    with bench.by_hand_up() as (made, started):
        their_offer, their_ack = bench.exchange_figures(made, started.server, bench.discover, bench.reboot)
        their_rss, their_pss = bench.memory(started.server)
    return [
        _ratio("DISCOVER→OFFER p50, µs", offer, their_offer, 0.6),
        _ratio("REQUEST→ACK p50, µs", ack, their_ack, 0.6),
        _limit("server RSS, MiB", rss, their_rss, 12),
        _limit("server PSS, MiB", pss, their_pss, 6),
    ]


def _ipv6() -> list[Row]:
    _say("DHCPv6 exchanges")
    with bench.vmnet_up("bridge-dual") as (made, started):
        bench.first_offer(made)
        [advertise] = bench.exchange_figures(made, started.server, bench.solicit)
        rss, pss = bench.memory(started.server)
    with bench.by_hand_up("bridge-dual") as (made, started):
        [their_advertise] = bench.exchange_figures(made, started.server, bench.solicit)
        their_rss, their_pss = bench.memory(started.server)
    return [
        _ratio("SOLICIT→ADVERTISE p50, µs", advertise, their_advertise, 1),
        _limit("server RSS, dual-stack, MiB", rss, their_rss, 15),
        _limit("server PSS, dual-stack, MiB", pss, their_pss, 6),
    ]


def _dual_stack() -> list[Row]:
    """What IPv6 costs: beside it stands the same without."""
    ups: dict[str, list[bench.Started]] = {"bridge-dual": [], "bridge": []}
    for trial in range(_TRIALS):
        _say(f"dual-stack {trial + 1} of {_TRIALS}")
        for layout, started in ups.items():
            with bench.vmnet_up(layout) as (_, one):
                started.append(one)
    rows = []
    for name, unit, target in (("wall", "wall ms", 200), ("cpu", "CPU ms", 150)):
        dual, alone = (statistics.median(getattr(one, name) for one in started) for started in ups.values())
        beside = f"{alone:.1f} IPv4 only (ratio {dual / alone:.2f})"
        rows.append(Row(f"up, dual-stack, {unit}", f"{dual:.1f}", beside, f"≤ {target}", dual <= target))
    return rows


def _bring_up() -> list[Row]:
    ours, theirs, offers = [], [], []
    for trial in range(_TRIALS):
        _say(f"bring-up {trial + 1} of {_TRIALS}")
        with bench.vmnet_up() as (made, started):
            ours.append(started)
            offers.append(bench.first_offer(made))
        with bench.by_hand_up() as (_, started):
            theirs.append(started)
    wall, cpu = (statistics.median(getattr(one, name) for one in ours) for name in ("wall", "cpu"))
    their_wall, their_cpu = (statistics.median(getattr(one, name) for one in theirs) for name in ("wall", "cpu"))
    return [
        _limit("up, process start to READY, wall ms", wall, their_wall, 200),
        _limit("up, process start to READY, CPU ms", cpu, their_cpu, 150),
        _limit("first OFFER after READY, ms", statistics.median(offers), None, 250),
    ]


def _kernel() -> list[Row]:
    _say("changes and silence")
    changes = statistics.median(bench.kernel_milliseconds() for _ in range(_TRIALS))
    silence = max(bench.silence_milliseconds() for _ in range(_TRIALS))
    return [
        _limit("up, of which changing the kernel, ms", changes, None, 10),
        _limit(f"longest silence of the NIC in {_TRIALS} ups, ms", silence, None, 50),
    ]


def _probe() -> list[Row]:
    _say("probes")
    probe, python = bench.probe_milliseconds(_TRIALS)
    beside = f"{python:.1f} Python alone (ratio {probe / python:.2f})"
    return [Row("probe, process start to end, CPU ms", f"{probe:.1f}", beside, "≤ 20", probe <= 20)]


def _ratio(what: str, ours: float, theirs: float, target: float) -> Row:
    ratio = ours / theirs
    return Row(what, f"{ours:.1f}", f"{theirs:.1f} (ratio {ratio:.2f})", f"ratio ≤ {target}", ratio <= target)


def _limit(what: str, ours: float, theirs: float | None, target: float) -> Row:
    beside = "" if theirs is None else f"{theirs:.1f} (ratio {ours / theirs:.1f})"
    return Row(what, f"{ours:.1f}", beside, f"≤ {target}", ours <= target)


def _say(text: str) -> None:
    print(f"measuring {text} …", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
