"""Costly answers that several callers wait for at once: computed one at a time, once for all of them."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass
class _Entry(Generic[T]):
    lock: threading.Lock = field(default_factory=threading.Lock)
    began: float = float("-inf")
    answer: T | None = None


class Shared(Generic[T]):
    """Answers by key.

    A caller gets an answer whose computation began after the call, so that it says what was so then;
    callers that come while one is computed share the next. However many they are, one thread computes.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._entries: dict[str, _Entry[T]] = {}

    def get(self, key: str, compute: Callable[[], T]) -> T:
        """Return the answer for ``key``; an error of ``compute`` is its caller's own."""
        came = time.monotonic()
        with self._lock:
            entry = self._entries.setdefault(key, _Entry())
        with entry.lock:
            if entry.answer is None or entry.began <= came:
                entry.answer = None
                entry.began = time.monotonic()
                entry.answer = compute()
            return entry.answer

    def forget(self, key: str) -> None:
        """Drop what is kept for ``key``."""
        with self._lock:
            self._entries.pop(key, None)
