"""kazoo against a server: create, watch, lock, multi, queue, hosts, reconnect. Usage: smoke.py HOST:PORT"""

import sys
import threading

from kazoo.client import KazooClient, KazooState
from kazoo.exceptions import BadVersionError, NodeExistsError, RolledBackError

PATIENCE = 20


def create(zk):
    assert zk.create("/kazoo", b"one") == "/kazoo"
    try:
        zk.create("/kazoo")
        raise AssertionError("created twice")
    except NodeExistsError:
        pass
    path, stat = zk.create("/kazoo/n-", b"x", sequence=True, ephemeral=True, include_data=True)
    assert path == "/kazoo/n-0000000000", path
    assert stat.owner_session_id == zk.client_id[0]
    data, stat = zk.get("/kazoo")
    assert (data, stat.version, stat.children_count) == (b"one", 0, 1)
    assert zk.get_children("/kazoo") == ["n-0000000000"]


def watch(zk):
    fired = threading.Event()
    seen = []

    def on_change(event):
        seen.append((event.type, event.path))
        fired.set()

    zk.get("/kazoo", watch=on_change)
    zk.set("/kazoo", b"two")
    assert fired.wait(PATIENCE)
    assert seen == [("CHANGED", "/kazoo")], seen

    values = []
    two = threading.Event()

    @zk.DataWatch("/kazoo")
    def on_data(data, stat):
        values.append(data)
        if len(values) == 2:
            two.set()

    zk.set("/kazoo", b"three")
    assert two.wait(PATIENCE)
    assert values == [b"two", b"three"], values


def lock(zk, other):
    ours, theirs = zk.Lock("/kazoo/lock", "ours"), other.Lock("/kazoo/lock", "theirs")
    assert ours.acquire(timeout=PATIENCE)
    assert not theirs.acquire(blocking=False)
    granted = threading.Event()
    waiter = threading.Thread(target=lambda: theirs.acquire(timeout=PATIENCE) and granted.set())
    waiter.start()
    assert not granted.wait(0.2)
    ours.release()
    assert granted.wait(PATIENCE)
    waiter.join()
    theirs.release()


def multi(zk):
    transaction = zk.transaction()
    transaction.create("/kazoo/multi", b"")
    transaction.check("/kazoo", 100)
    transaction.create("/kazoo/more", b"")
    results = transaction.commit()
    assert isinstance(results[0], RolledBackError) and isinstance(results[1], BadVersionError), results
    assert zk.exists("/kazoo/multi") is None
    transaction = zk.transaction()
    transaction.create("/kazoo/multi", b"")
    transaction.set_data("/kazoo/multi", b"x")
    transaction.delete("/kazoo/multi")
    results = transaction.commit()
    assert results[0] == "/kazoo/multi" and results[1].version == 1 and results[2] is True, results


def queue(zk):
    """A queue of transactions, for which kazoo asks the server's version first."""
    assert zk.server_version() >= (3, 8), zk.server_version()
    locking = zk.LockingQueue("/kazoo/queue")
    locking.put_all([b"one", b"two"])
    assert locking.get(PATIENCE) == b"one"
    assert locking.holds_lock() and locking.consume()
    assert locking.get(PATIENCE) == b"two" and locking.consume()
    assert locking.get(timeout=0.1) is None
    plain = zk.Queue("/kazoo/plain")
    plain.put(b"x")
    assert plain.get() == b"x"


def hosts(address):
    """A list whose first host is away, and one that is changed while the client runs."""
    away = "127.0.0.1:1"
    zk = KazooClient(hosts=f"{away},{address}", randomize_hosts=False)
    zk.start(timeout=PATIENCE)
    session = zk.client_id[0]
    zk.set_hosts(f"{away},localhost:{address.rsplit(':')[1]}")
    back_in(zk, session)
    zk.stop()


def back_in(zk, session):
    """Breaks the connection. The client is back in its session."""
    lost, back = threading.Event(), threading.Event()

    def on_state(state):
        if state == KazooState.SUSPENDED:
            lost.set()
        elif state == KazooState.CONNECTED and lost.is_set():
            back.set()

    zk.add_listener(on_state)
    zk._connection._socket.shutdown(2)
    assert back.wait(PATIENCE)
    assert zk.client_id[0] == session


def reconnect(zk):
    session = zk.client_id[0]
    zk.create("/kazoo/mine", ephemeral=True)
    fired = threading.Event()
    zk.exists("/kazoo/later", watch=lambda event: fired.set())
    back_in(zk, session)
    assert zk.exists("/kazoo/mine").owner_session_id == session
    zk.create("/kazoo/later")
    assert fired.wait(PATIENCE)


def main(address):
    zk, other = KazooClient(hosts=address), KazooClient(hosts=address)
    zk.start(timeout=PATIENCE)
    other.start(timeout=PATIENCE)
    create(zk)
    watch(zk)
    lock(zk, other)
    multi(zk)
    queue(zk)
    hosts(address)
    reconnect(zk)
    zk.stop()
    assert other.exists("/kazoo/mine") is None
    other.delete("/kazoo", recursive=True)
    other.stop()
    print("kazoo: create, watch, lock, multi, queue, hosts and reconnect work")


if __name__ == "__main__":
    main(sys.argv[1])
