"""Pushes items of 100 bytes into kazoo's LockingQueue and consumes them.

Standard input has lines `put push ITEMS`, `put_all push ITEMS` or `... consume ITEMS`, and each is answered with the time
that it took, in nanoseconds.
"""

import sys
import time

from kazoo.client import KazooClient
from kazoo.recipe.queue import LockingQueue

PAYLOAD = b"i" * 100
BATCH = 100


def run(queue, way, order, items):
    if order == "consume":
        for _ in range(items):
            queue.get()
            if not queue.consume():
                raise RuntimeError("the lock is lost")
    elif way == "put_all":
        for first in range(0, items, BATCH):
            queue.put_all([PAYLOAD] * min(BATCH, items - first))
    else:
        for _ in range(items):
            queue.put(PAYLOAD)


def main():
    cluster, directory = sys.argv[1:]
    client = KazooClient(hosts=cluster, timeout=30)
    client.start()
    queue = LockingQueue(client, directory + "/kazoo")
    print("ready", flush=True)
    for line in sys.stdin:
        way, order, items = line.split()
        started = time.perf_counter_ns()
        run(queue, way, order, int(items))
        print(time.perf_counter_ns() - started, flush=True)


main()
