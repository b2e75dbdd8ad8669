"""When routers and neighbours are advertised, and to whom: a state machine over time (RFC 4861 §6.2, §7.2).

It does no I/O: fed with what was solicited and heard, it says what to send and when to ask it again. Standard
library only, and little of it: the server process reads this room.
"""

from __future__ import annotations

from vmnet.server.ipv6.advertisements import OURS, UNKNOWN
from vmnet.server.ipv6.packet import ICMPV6, UNSPECIFIED, checksum

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from vmnet.server.ipv6.advertisements import Advertisements
    from vmnet.server.ipv6.neighbour import NeighbourSolicitation, RouterSolicitation

    Frames = tuple[bytes, ...]

INTERVAL = (200.0, 600.0)
"""MinRtrAdvInterval and MaxRtrAdvInterval, seconds (RFC 4861 §6.2.1)."""
INITIAL, INITIAL_INTERVAL = 3, 16.0
"""MAX_INITIAL_RTR_ADVERTISEMENTS and MAX_INITIAL_RTR_ADVERT_INTERVAL (RFC 4861 §10)."""
LEAST_DELAY = 3.0
"""MIN_DELAY_BETWEEN_RAS, seconds: between two that go to all (RFC 4861 §10)."""
PROBE_INTERVAL, PROBING, LATER_PROBE_INTERVAL = 1.0, 60.0, 15.0
"""How often a gateway is asked for (RetransTimer, RFC 4861 §10), how long, and how often from then on."""
VOUCHING = 3.0
"""Seconds for which a gateway that was heard is taken to be there: MAX_UNICAST_SOLICIT times RetransTimer, after
which a guest gives up who is not answered (RFC 4861 §7.3.3, §10)."""
_NEVER = float("-inf")
_FLAGS_AT, _ICMPV6_AT = 58, 54
_ALL_NODES = bytes.fromhex("ff020000000000000000000000000001")
_ALL_NODES_MAC = bytes.fromhex("333300000001")
_SOLICITED = 0x40


class Advertiser:
    """The guest's routers and neighbours, as far as our server speaks for them.

    `clock` is monotonic, in seconds; `random` gives a number from 0 up to 1.
    """

    def __init__(
        self, advertisements: Advertisements, clock: Callable[[], float], random: Callable[[], float]
    ) -> None:
        self._advertisements = advertisements
        self._routers = advertisements.routers
        self._clock = clock
        self._random = random
        self._began = clock()
        self._sent = _NEVER
        self._next = self._began
        self._initial = INITIAL
        self._macs = [router.mac for router in self._routers]
        self._probed = [_NEVER] * len(self._routers)
        self._heard = [_NEVER] * len(self._routers)
        self._asked: list[tuple[float, float, NeighbourSolicitation] | None] = [None] * len(self._routers)
        """Since when the guest asks for a router in vain, when it did last, and how."""
        self.changes = 0
        """How many times a gateway's MAC was learnt or changed."""

    @property
    def macs(self) -> Frames:
        """The MACs of the gateways as known now, UNKNOWN for the others."""
        return tuple(self._macs)

    def solicited(self, solicitation: RouterSolicitation) -> Frames:
        """Answer at once (RFC 4861 §6.2.6): to the guest if it has an address, else to all as soon as may be."""
        if not self._advertisements.served:
            return ()
        if solicitation.source == UNSPECIFIED:
            return self._to_all_soon()
        return tuple(
            _sealed(_addressed(frame, solicitation.mac, solicitation.source)) for frame in self._unsealed()
        )

    def neighbour_solicited(self, solicitation: NeighbourSolicitation) -> tuple[Frames, Frames]:
        """What the guest and what the pod network is sent.

        By its question the guest finds out whether the gateway is still there (RFC 4861 §7.3). So it is passed on,
        once a second at most, and answered when the gateway has answered, unless that was heard just now. Who only
        asks whether the address is taken (RFC 4862) is told so at once.
        """
        who, frame = self._advertisements.neighbours.get(solicitation.target, (0, b""))
        if not frame:
            return (), ()
        if who == OURS:
            return (self._answer(frame, frame[-6:], solicitation),), ()
        probes = self._probe(who, PROBE_INTERVAL)
        if self._macs[who] != UNKNOWN and (solicitation.source == UNSPECIFIED or self._is_there(who)):
            return (self._answer(frame, self._macs[who], solicitation),), probes
        now, before = self._clock(), self._asked[who]
        self._asked[who] = before[0] if before else now, now, solicitation
        return (), probes

    def heard(self, number: int, mac: bytes) -> Frames:
        """Take the MAC that a gateway has now; tell the guest where it waits for that, or where it is news."""
        router = self._routers[number]
        if router.permanent or mac in (self._advertisements.vm_mac, UNKNOWN):
            return ()
        known, self._macs[number] = self._macs[number], mac
        answers = self._awaited(number)
        self._heard[number] = self._clock()
        if mac == known:
            return answers
        self.changes += 1
        news = answers or (self._news(number) if router.is_synthetic else ())
        return news + (self._to_all_soon() if self._advertisements.served else ())

    def silent_seconds(self, number: int) -> float | None:
        """How long the guest has asked for a gateway in vain; None where it is there, or nobody asked for it."""
        asked = self._asked[number]
        seconds = self._clock() - asked[0] if asked else 0.0
        return seconds if seconds > VOUCHING else None

    def due(self) -> float | None:
        """When `tick` has something to do, by the clock; None for never."""
        moments = [self._probe_due(number) for number in self._unknown()]
        if self._advertisements.served:
            moments.append(self._next)
        return min(moments, default=None)

    def tick(self) -> tuple[Frames, Frames]:
        """What is due by now: for the guest, and for the pod network."""
        now = self._clock()
        frames = self._to_all(now) if self._advertisements.served and now >= self._next else ()
        probes: Frames = ()
        for number in self._unknown():
            if now >= self._probe_due(number):
                probes += self._probe(number, 0)
        return frames, probes

    def _to_all_soon(self) -> Frames:
        """The advertisements to all, now or as soon as that may be."""
        now = self._clock()
        if now >= self._sent + LEAST_DELAY:
            return self._to_all(now)
        self._next = min(self._next, self._sent + LEAST_DELAY)
        return ()

    def _to_all(self, now: float) -> Frames:
        """The advertisements to all. The next are due after a random time, but soon at first (RFC 4861 §6.2.4)."""
        low, high = INTERVAL
        interval = low + (high - low) * self._random()
        self._initial = max(0, self._initial - 1)
        self._sent = now
        self._next = now + (min(interval, INITIAL_INTERVAL) if self._initial else interval)
        return tuple(map(_sealed, self._unsealed()))

    def _unsealed(self) -> Frames:
        """Each router's advertisement with the MAC that it has now, the checksum still to be made."""
        return tuple(
            router.bare if mac == UNKNOWN else router.whole[:-6] + mac
            for router, mac in zip(self._routers, self._macs, strict=True)
        )

    def _is_there(self, number: int) -> bool:
        """Whether a gateway was heard just now, or is to be believed in for good."""
        return not self._routers[number].probe or self._clock() - self._heard[number] < VOUCHING

    def _awaited(self, number: int) -> Frames:
        """The answer that the guest waits for, if it does still."""
        asked, self._asked[number] = self._asked[number], None
        if asked is None or self._clock() - asked[1] > VOUCHING:
            return ()
        _, frame = self._advertisements.neighbours[asked[2].target]
        return (self._answer(frame, self._macs[number], asked[2]),)

    def _answer(self, frame: bytes, mac: bytes, solicitation: NeighbourSolicitation) -> bytes:
        """An answer to who asked; to all where that one has no address yet (RFC 4861 §7.2.4)."""
        if solicitation.source == UNSPECIFIED:
            return _sealed(_unsolicited(frame[:-6] + mac))
        return _sealed(_addressed(frame[:-6] + mac, solicitation.mac, solicitation.source))

    def _news(self, number: int) -> Frames:
        """RFC 4861 §7.2.6: unsolicited, and overriding what the guest has."""
        router = self._routers[number]
        _, frame = self._advertisements.neighbours[router.address]
        return (_sealed(_unsolicited(frame[:-6] + self._macs[number])),)

    def _unknown(self) -> list[int]:
        """Whose MAC is still to be found out."""
        return [
            number for number, router in enumerate(self._routers) if router.probe and self._macs[number] == UNKNOWN
        ]

    def _probe_due(self, number: int) -> float:
        last = self._probed[number]
        interval = PROBE_INTERVAL if last < self._began + PROBING else LATER_PROBE_INTERVAL
        return max(self._began, last + interval)

    def _probe(self, number: int, least: float) -> Frames:
        """The solicitation for a gateway, where the last one is long enough ago."""
        now = self._clock()
        frame = self._routers[number].probe
        if not frame or now < self._probed[number] + least:
            return ()
        self._probed[number] = now
        return (frame,)


def _addressed(frame: bytes, mac: bytes, address: bytes) -> bytes:
    return mac + frame[6:38] + address + frame[_ICMPV6_AT:]


def _unsolicited(frame: bytes) -> bytes:
    """To all nodes, and as an answer to nobody."""
    flags = bytes((frame[_FLAGS_AT] & ~_SOLICITED,))
    return _addressed(frame[:_FLAGS_AT] + flags + frame[_FLAGS_AT + 1 :], _ALL_NODES_MAC, _ALL_NODES)


def _sealed(frame: bytes) -> bytes:
    """The frame with the checksum that belongs there."""
    message = frame[_ICMPV6_AT : _ICMPV6_AT + 2] + b"\0\0" + frame[_ICMPV6_AT + 4 :]
    return frame[: _ICMPV6_AT + 2] + checksum(frame[22:_ICMPV6_AT], ICMPV6, message).to_bytes(2) + message[4:]
