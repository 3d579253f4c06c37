import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import org.apache.zookeeper.AddWatchMode;
import org.apache.zookeeper.CreateMode;
import org.apache.zookeeper.KeeperException;
import org.apache.zookeeper.Op;
import org.apache.zookeeper.OpResult;
import org.apache.zookeeper.WatchedEvent;
import org.apache.zookeeper.Watcher;
import org.apache.zookeeper.ZooDefs.Ids;
import org.apache.zookeeper.ZooKeeper;
import org.apache.zookeeper.data.Stat;

/** The Java client against a server: create, watch, lock, multi, hosts, reconnect. Usage: Smoke HOST:PORT */
public class Smoke {
    private static final int PATIENCE = 20;

    public static void main(String[] arguments) throws Exception {
        ZooKeeper zk = connect(arguments[0]);
        create(zk);
        watch(zk);
        lock(arguments[0]);
        multi(zk);
        hosts(arguments[0]);
        reconnect(zk, arguments[0]);
        System.out.println("Java client: create, watch, lock, multi, hosts and reconnect work");
        System.exit(0);
    }

    private static ZooKeeper connect(String hosts) throws Exception {
        CountDownLatch connected = new CountDownLatch(1);
        ZooKeeper zk = new ZooKeeper(hosts, 10_000, event -> {
            if (event.getState() == Watcher.Event.KeeperState.SyncConnected) {
                connected.countDown();
            }
        });
        check(connected.await(PATIENCE, TimeUnit.SECONDS), "connected");
        return zk;
    }

    private static void create(ZooKeeper zk) throws Exception {
        zk.create("/java", bytes("one"), Ids.OPEN_ACL_UNSAFE, CreateMode.PERSISTENT);
        try {
            zk.create("/java", null, Ids.OPEN_ACL_UNSAFE, CreateMode.PERSISTENT);
            throw new AssertionError("created twice");
        } catch (KeeperException.NodeExistsException expected) {
            // As it must be.
        }
        Stat stat = new Stat();
        String path = zk.create("/java/n-", null, Ids.OPEN_ACL_UNSAFE, CreateMode.EPHEMERAL_SEQUENTIAL, stat);
        check(path.equals("/java/n-0000000000"), path);
        check(stat.getEphemeralOwner() == zk.getSessionId(), "owner");
        check(zk.getData(path, false, stat) == null, "null data stays null");
        check(zk.getEphemerals().equals(Collections.singletonList(path)), "ephemerals");
        zk.create("/java/container", null, Ids.OPEN_ACL_UNSAFE, CreateMode.CONTAINER);
        zk.create("/java/ttl", null, Ids.OPEN_ACL_UNSAFE, CreateMode.PERSISTENT_WITH_TTL, stat, 60_000);
        check(zk.getAllChildrenNumber("/java") == 3, "all children");
        zk.addAuthInfo("digest", bytes("alice:secret"));
        zk.create("/java/private", bytes("x"), Ids.CREATOR_ALL_ACL, CreateMode.PERSISTENT);
        check(zk.getACL("/java/private", stat).get(0).getId().getId().startsWith("alice:"), "digest");
        check(zk.whoAmI().size() == 2, "who am I");
    }

    private static void watch(ZooKeeper zk) throws Exception {
        BlockingQueue<WatchedEvent> events = new LinkedBlockingQueue<>();
        zk.getData("/java", events::add, null);
        zk.setData("/java", bytes("two"), 0);
        expect(events, Watcher.Event.EventType.NodeDataChanged, "/java");
        zk.addWatch("/java", events::add, AddWatchMode.PERSISTENT_RECURSIVE);
        zk.create("/java/a", null, Ids.OPEN_ACL_UNSAFE, CreateMode.PERSISTENT);
        zk.delete("/java/a", 0);
        expect(events, Watcher.Event.EventType.NodeCreated, "/java/a");
        expect(events, Watcher.Event.EventType.NodeDeleted, "/java/a");
        zk.removeAllWatches("/java", Watcher.WatcherType.Any, false);
    }

    /** The usual recipe: ephemeral sequential nodes, each watching the one ahead. */
    private static void lock(String hosts) throws Exception {
        int contenders = 3;
        List<Integer> order = Collections.synchronizedList(new ArrayList<>());
        List<Thread> threads = new ArrayList<>();
        ZooKeeper[] clients = new ZooKeeper[contenders];
        String[] nodes = new String[contenders];
        for (int i = 0; i < contenders; i++) {
            clients[i] = connect(hosts);
            if (i == 0) {
                clients[i].create("/java/lock", null, Ids.OPEN_ACL_UNSAFE, CreateMode.PERSISTENT);
            }
            nodes[i] = clients[i].create("/java/lock/l-", null, Ids.OPEN_ACL_UNSAFE, CreateMode.EPHEMERAL_SEQUENTIAL);
        }
        for (int i = contenders - 1; i >= 0; i--) {
            int me = i;
            Thread thread = new Thread(() -> {
                try {
                    acquire(clients[me], nodes[me]);
                    order.add(me);
                    clients[me].close();
                } catch (Exception failure) {
                    failure.printStackTrace();
                }
            });
            thread.start();
            threads.add(thread);
        }
        for (Thread thread : threads) {
            thread.join(PATIENCE * 1000L);
        }
        check(order.equals(Arrays.asList(0, 1, 2)), "locked in order: " + order);
    }

    private static void acquire(ZooKeeper zk, String node) throws Exception {
        while (true) {
            List<String> children = zk.getChildren("/java/lock", false);
            Collections.sort(children);
            int index = children.indexOf(node.substring(node.lastIndexOf('/') + 1));
            if (index == 0) {
                return;
            }
            CountDownLatch gone = new CountDownLatch(1);
            if (zk.exists("/java/lock/" + children.get(index - 1), event -> gone.countDown()) != null) {
                check(gone.await(PATIENCE, TimeUnit.SECONDS), "the one ahead goes");
            }
        }
    }

    private static void multi(ZooKeeper zk) throws Exception {
        try {
            zk.multi(Arrays.asList(
                Op.create("/java/multi", null, Ids.OPEN_ACL_UNSAFE, CreateMode.PERSISTENT),
                Op.check("/java", 100),
                Op.delete("/java", -1)));
            throw new AssertionError("a multi with a wrong version went through");
        } catch (KeeperException.BadVersionException failure) {
            List<OpResult> results = failure.getResults();
            check(((OpResult.ErrorResult) results.get(0)).getErr() == 0, "before the failure");
            check(((OpResult.ErrorResult) results.get(2)).getErr()
                == KeeperException.Code.RUNTIMEINCONSISTENCY.intValue(), "after the failure");
        }
        check(zk.exists("/java/multi", false) == null, "nothing was done");
        List<OpResult> results = zk.multi(Arrays.asList(
            Op.create("/java/multi", null, Ids.OPEN_ACL_UNSAFE, CreateMode.PERSISTENT),
            Op.setData("/java/multi", bytes("x"), 0),
            Op.delete("/java/multi", 1)));
        check(results.size() == 3, "three results");
        results = zk.multi(Arrays.asList(Op.getData("/java"), Op.getChildren("/java"), Op.getData("/absent")));
        check(results.get(2) instanceof OpResult.ErrorResult, "a read that fails");
    }

    /** A list whose first host is away, and lists that are changed while the client runs: it stays in its session. */
    private static void hosts(String address) throws Exception {
        String away = "127.0.0.1:1";
        ZooKeeper zk = connect(away + "," + address);
        long session = zk.getSessionId();
        // A client may leave its server for the new hosts of a longer list, and comes back where none is there.
        for (String list : new String[] {address, away + "," + address, address}) {
            zk.updateServerList(list);
            long deadline = System.nanoTime() + TimeUnit.SECONDS.toNanos(PATIENCE);
            while (true) {
                try {
                    zk.exists("/java", false);
                    break;
                } catch (KeeperException.ConnectionLossException moving) {
                    check(System.nanoTime() < deadline, "connected after a change of the list");
                    Thread.sleep(10);
                }
            }
        }
        check(zk.getSessionId() == session, "the session is the same");
        zk.close();
    }

    /** A second client with the same session takes it over; the first one comes back and takes it over again. */
    private static void reconnect(ZooKeeper zk, String hosts) throws Exception {
        BlockingQueue<WatchedEvent> events = new LinkedBlockingQueue<>();
        zk.exists("/java/later", events::add);
        BlockingQueue<Watcher.Event.KeeperState> states = new LinkedBlockingQueue<>();
        zk.register(event -> {
            if (event.getType() == Watcher.Event.EventType.None) {
                states.add(event.getState());
            }
        });
        ZooKeeper twin = new ZooKeeper(hosts, 10_000, event -> { }, zk.getSessionId(), zk.getSessionPasswd());
        check(states.poll(PATIENCE, TimeUnit.SECONDS) == Watcher.Event.KeeperState.Disconnected, "disconnected");
        check(states.poll(PATIENCE, TimeUnit.SECONDS) == Watcher.Event.KeeperState.SyncConnected, "connected again");
        zk.create("/java/later", null, Ids.OPEN_ACL_UNSAFE, CreateMode.EPHEMERAL);
        WatchedEvent event;
        do {
            event = events.poll(PATIENCE, TimeUnit.SECONDS);
            check(event != null, "the watch set before is heard after");
        } while (event.getType() != Watcher.Event.EventType.NodeCreated);
        zk.close();
        twin.close();
    }

    private static void expect(BlockingQueue<WatchedEvent> events, Watcher.Event.EventType type, String path)
            throws InterruptedException {
        WatchedEvent event = events.poll(PATIENCE, TimeUnit.SECONDS);
        check(event != null && event.getType() == type && event.getPath().equals(path), type + " " + path + ": " + event);
    }

    private static byte[] bytes(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }

    private static void check(boolean holds, String what) {
        if (!holds) {
            throw new AssertionError(what);
        }
    }
}
