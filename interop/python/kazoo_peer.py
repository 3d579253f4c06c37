"""Runs kazoo's recipes as it is told. The commands and answers are those of the Java peer: see interop/java/Peer.java."""

import logging
import os
import queue
import sys
import threading
import time

from kazoo.client import KazooClient
from kazoo.exceptions import LockTimeout
from kazoo.protocol.states import KazooState
from kazoo.recipe.lock import Lock, ReadLock, WriteLock

# How long a command waits that is given no time: longer than any test.
FOREVER = 600.0


class Peer:
    """Reads commands until its input ends, and gives each to its actor."""

    def __init__(self):
        self.actors = {}
        self.printing = threading.Lock()

    def serve(self):
        for line in sys.stdin:
            number, name, command, *arguments = line.split()
            actor = self.actors.setdefault(name, Actor())
            if command == "expire":
                threading.Thread(target=self.answer, args=(number, actor.expire), daemon=True).start()
            elif command == "close":
                del self.actors[name]
                actor.later(self.answer, number, actor.close)
            else:
                actor.later(self.answer, number, actor.run, command, *arguments)
        # Not exit(): sessions shall end as they do when a process dies.
        os._exit(0)

    def answer(self, number, action, *arguments):
        try:
            answer = f"ok {text(action(*arguments))}"
        except BaseException as failure:
            answer = f"failed {failure!r}"
        with self.printing:
            print(number, time.monotonic_ns(), answer, flush=True)


class Actor:
    """A session, a recipe in it, and the thread that it runs on."""

    def __init__(self):
        self.client = None
        self.recipe = None
        self.disturbed = None
        self.tasks = queue.Queue()
        threading.Thread(target=self._work, daemon=True).start()

    def later(self, task, *arguments):
        self.tasks.put((task, arguments))

    def run(self, command, *arguments):
        if command != "open":
            return getattr(self.recipe, command.replace("-", "_"))(*arguments)
        recipe, servers, timeout, path, *options = arguments
        self.client = KazooClient(hosts=servers, timeout=int(timeout) / 1000, connection_retry={"max_tries": -1, "max_delay": 0.2})
        self.client.add_listener(self._on_state)
        self.client.start(timeout=30)
        self.recipe = RECIPES[recipe](self, path, *options)
        return self.client.client_id[0]

    def expire(self):
        """Ends the session behind its owner's back: a second client takes it over and closes it, until it is no more."""
        while (session := self.client.client_id) is None:
            time.sleep(0.01)
        hosts = ",".join(f"{host}:{port}" for host, port in self.client.hosts)
        while True:
            second = KazooClient(hosts=hosts, client_id=session)
            second.start(timeout=30)
            taken_over = second.client_id is not None and second.client_id[0] == session[0]
            second.stop()
            second.close()
            if not taken_over:
                return session[0]

    def close(self):
        self.client.stop()
        self.client.close()
        self.tasks.put(None)

    def _work(self):
        while (task := self.tasks.get()) is not None:
            action, arguments = task
            action(*arguments)

    def _on_state(self, state):
        if state != KazooState.CONNECTED and self.disturbed is None:
            self.disturbed = time.monotonic_ns()


class CuratorNamedLock(Lock):
    """A kazoo lock that names its nodes so that Curator sees them: `<hex>-lock-<seq>`. It sees Curator's and ours too."""

    _NODE_NAME = "-lock-"
    _EXCLUDE_NAMES = ["lock-", "__lock__"]


class Locking:
    """`Lock` and its kin. Options: regular expressions for `extra_lock_patterns`."""

    def __init__(self, kind, actor, path, *patterns):
        self.actor = actor
        self.lock = kind(actor.client, path, "kazoo", extra_lock_patterns=patterns)

    def acquire(self, limit=None):
        self.actor.disturbed = None
        try:
            if limit == "0":
                acquired = self.lock.acquire(blocking=False)
            else:
                acquired = self.lock.acquire(timeout=seconds(limit))
        except LockTimeout:
            acquired = False
        return self.lock.node if acquired else "timeout"

    def release(self):
        """Answers when the connection was first lost since the lock was acquired, if ever."""
        self.lock.release()
        return self.actor.disturbed

    def contenders(self):
        return " ".join(self.lock.contenders())


class Semaphore:
    """`Semaphore`."""

    def __init__(self, actor, path, leases):
        self.semaphore = actor.client.Semaphore(path, "kazoo", max_leases=int(leases))

    def acquire(self, limit=None):
        return "acquired" if self.semaphore.acquire(timeout=seconds(limit)) else "timeout"

    def release(self):
        self.semaphore.release()


class Electing:
    """`Election`. Options: as for a lock. kazoo hands none on, but lets its lock be replaced."""

    def __init__(self, actor, path, identifier, *patterns):
        self.election = actor.client.Election(path, identifier)
        if patterns:
            self.election.lock = Lock(actor.client, path, identifier, extra_lock_patterns=patterns)
        self.taken = queue.Queue()
        self.resigned = queue.Queue()

    def campaign(self, limit=None):
        threading.Thread(target=self.election.run, args=(self._lead,), daemon=True).start()
        try:
            self.taken.get(timeout=seconds(limit))
            return "leads"
        except queue.Empty:
            return "timeout"

    def resign(self):
        self.resigned.put(True)

    def participants(self):
        return " ".join(self.election.contenders())

    def _lead(self):
        self.taken.put(True)
        self.resigned.get()


class Barrier:
    """`Barrier`."""

    def __init__(self, actor, path):
        self.barrier = actor.client.Barrier(path)

    def set(self):
        self.barrier.create()

    def lift(self):
        self.barrier.remove()

    def wait(self, limit=None):
        return "passed" if self.barrier.wait(seconds(limit)) else "timeout"


class DoubleBarrier:
    """`DoubleBarrier`, which knows no timeout."""

    def __init__(self, actor, path, parties):
        self.barrier = actor.client.DoubleBarrier(path, int(parties), "kazoo")

    def enter(self):
        self.barrier.enter()
        return "passed" if self.barrier.participating else "failed"

    def leave(self):
        self.barrier.leave()
        return "passed"


class Counter:
    """`Counter(support_curator=True)`: four bytes, as Curator's SharedCount."""

    def __init__(self, actor, path, default):
        self.counter = actor.client.Counter(path, default=int(default), support_curator=True)

    def get(self):
        return self.counter.value

    def add(self, amount):
        self.counter += int(amount)
        return self.counter.post_value

    def add_often(self, times):
        for _ in range(int(times)):
            self.counter += 1


class Party:
    """`Party`."""

    def __init__(self, actor, path, identifier):
        self.party = actor.client.Party(path, identifier)

    def join(self):
        self.party.join()

    def leave(self):
        self.party.leave()

    def members(self):
        return " ".join(sorted(self.party))


def locking(kind):
    return lambda *arguments: Locking(kind, *arguments)


RECIPES = {
    "lock": locking(Lock),
    "curator-named-lock": locking(CuratorNamedLock),
    "read-lock": locking(ReadLock),
    "write-lock": locking(WriteLock),
    "semaphore": Semaphore,
    "election": Electing,
    "barrier": Barrier,
    "double-barrier": DoubleBarrier,
    "counter": Counter,
    "party": Party,
}


def seconds(limit):
    return FOREVER if limit is None else int(limit) / 1000


def text(value):
    return "" if value is None else str(value)


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    Peer().serve()
