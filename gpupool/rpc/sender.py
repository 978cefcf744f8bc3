"""Sends messages that nobody waits for, in a thread of its own: the broker may be away, and hang."""

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable

from gpupool.model import backoff, errors

LOG = logging.getLogger(__name__)
Send = Callable[[], object]
# Seconds between two attempts while the broker is away: the first pause, which doubles, and the longest.
PAUSE, PAUSE_MOST = 0.25, 4.0


class Sender:
    """Sends one message after the other, each until the broker takes it; for all threads.

    Of messages with the same key only the newest is sent, or that of a higher rank. When ``most`` wait,
    the oldest is dropped. At least ``pause`` seconds pass between two. Unless they have to go
    ``in_order``, one that the broker does not take makes room for the others. Its thread begins with the
    first message.
    """

    def __init__(self, name: str, most: int, pause: float = 0, in_order: bool = False) -> None:
        self._name, self._most, self._pause, self._in_order = name, most, pause, in_order
        self._waiting: OrderedDict[Hashable, tuple[int, Send]] = OrderedDict()
        self._changed = threading.Condition()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        # In this outage: attempts, and messages dropped.
        self._failures = self._dropped = 0

    def put(self, key: Hashable, send: Send, rank: int = 0) -> None:
        """Queue ``send``, to be called soon; it raises Unavailable when the broker is away."""
        with self._changed:
            if rank >= self._waiting.get(key, (rank,))[0]:
                self._waiting[key] = rank, send
            if len(self._waiting) > self._most:
                self._waiting.popitem(last=False)
                self._dropped += 1
            if self._thread is None and not self._stop.is_set():
                self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def stop(self, seconds: float) -> None:
        """Send what waits, each once and within ``seconds``, and no more after that."""
        with self._changed:
            self._stop.set()
            self._changed.notify_all()
        if self._thread:
            self._thread.join(seconds)

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._stop.is_set())
                if not self._waiting:
                    return
                key, message = next(iter(self._waiting.items()))
            done = self._try(message[1])
            with self._changed:
                # A newer one of that key goes next.
                if done and self._waiting.get(key) is message:
                    del self._waiting[key]
                elif key in self._waiting and not self._in_order:
                    self._waiting.move_to_end(key)
            if not done and self._stop.is_set():
                return
            pause = self._pause if done else backoff.after(PAUSE, PAUSE_MOST, self._failures)
            self._stop.wait(pause)

    def _try(self, send: Send) -> bool:
        """Return whether a message is done with."""
        try:
            send()
        except errors.Unavailable as exc:
            if not self._failures:
                LOG.warning("%s wait until they can be sent: %s", self._name, exc)
            self._failures += 1
            return False
        except Exception:
            LOG.exception("%s: one can't be sent, and is dropped", self._name)
            return True
        if self._failures:
            LOG.info("%s are sent again; dropped meanwhile: %d", self._name, self._dropped)
        self._failures = self._dropped = 0
        return True
