"""One place to wait for everything: signals, what other threads report, and descriptors that become readable."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

T = TypeVar("T")


class Inbox(Generic[T]):
    """Items in the order in which they came. `put` may be called by any thread, all else by the main one."""

    def __init__(self) -> None:
        self._items: deque[T] = deque()
        self._wake, self._waker = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._poller = select.poll()
        self._poller.register(self._wake, select.POLLIN)
        self._handlers: dict[int, Callable[[], None]] = {}

    def put(self, item: T) -> None:
        """Add an item and wake whoever waits."""
        self._items.append(item)
        with contextlib.suppress(OSError):  # a full pipe wakes just as well, a closed one has nobody to wake
            os.write(self._waker, b"\0")

    def watch(self, descriptor: int, handler: Callable[[], None]) -> None:
        """Call `handler` from within `next` whenever the descriptor is readable."""
        self._handlers[descriptor] = handler
        self._poller.register(descriptor, select.POLLIN)

    def forget(self, descriptor: int) -> None:
        """Watch the descriptor no more; harmless where it was not watched."""
        if self._handlers.pop(descriptor, None):
            self._poller.unregister(descriptor)

    def next(self, deadline: float | None) -> T | None:
        """Return the next item; None once `time.monotonic()` has reached the deadline."""
        while not self._items:
            left = None if deadline is None else deadline - time.monotonic()
            if left is not None and left <= 0:
                return None
            for descriptor, _ in self._poller.poll(None if left is None else left * 1000):
                if descriptor == self._wake:
                    os.read(self._wake, 65536)
                elif descriptor in self._handlers:
                    self._handlers[descriptor]()
        return self._items.popleft()

    def call(self, function: Callable[[], T]) -> None:
        """Run a function that may block in a thread of its own; what it returns becomes an item."""
        threading.Thread(target=lambda: self.put(function()), daemon=True).start()

    @contextlib.contextmanager
    def signals(self, *numbers: int, item: Callable[[int], T]) -> Iterator[None]:
        """Turn these signals into items while the block runs."""
        before = {number: signal.getsignal(number) for number in numbers}
        # Without it a signal between Python's last look and the system call would be seen only after the wait.
        waker = signal.set_wakeup_fd(self._waker, warn_on_full_buffer=False)
        for number in numbers:
            signal.signal(number, lambda got, _frame: self._items.append(item(got)))
        try:
            yield
        finally:
            signal.set_wakeup_fd(waker)
            for number, handler in before.items():
                signal.signal(number, handler)

    def close(self) -> None:
        """Close the pipe. What threads still put goes nowhere."""
        wake, waker, self._wake, self._waker = self._wake, self._waker, -1, -1
        os.close(wake)
        os.close(waker)
