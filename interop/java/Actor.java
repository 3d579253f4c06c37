import java.util.Arrays;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.TimeUnit;
import org.apache.curator.framework.CuratorFramework;
import org.apache.curator.framework.CuratorFrameworkFactory;
import org.apache.curator.framework.state.ConnectionState;
import org.apache.curator.retry.RetryForever;
import org.apache.zookeeper.KeeperException;
import org.apache.zookeeper.Watcher.Event.KeeperState;
import org.apache.zookeeper.ZooKeeper;

/** A session, a recipe in it, and the thread that it runs on: Curator binds a lock to the thread that took it. */
final class Actor {
    private final ExecutorService thread;
    private volatile CuratorFramework client;
    private volatile Recipe recipe;
    private volatile long disturbed = Long.MAX_VALUE;

    Actor(String name) {
        thread = Executors.newSingleThreadExecutor(task -> {
            Thread thread = new Thread(task, name);
            thread.setDaemon(true);
            return thread;
        });
    }

    void later(Runnable task) {
        thread.execute(task);
    }

    String run(String command, String[] arguments) throws Exception {
        if (!command.equals("open")) {
            return recipe.run(command, arguments);
        }
        int timeout = Integer.parseInt(arguments[2]);
        client = CuratorFrameworkFactory.newClient(arguments[1], timeout, timeout, new RetryForever(50));
        client.getConnectionStateListenable().addListener((ignored, state) -> {
            if (state == ConnectionState.SUSPENDED || state == ConnectionState.LOST) {
                disturbed = Math.min(disturbed, System.nanoTime());
            }
        });
        client.start();
        client.blockUntilConnected();
        recipe = Recipe.open(arguments[0], this, arguments[3], Arrays.copyOfRange(arguments, 4, arguments.length));
        return Long.toString(session().getSessionId());
    }

    CuratorFramework client() {
        return client;
    }

    /** Forgets what became of the connection up to now. */
    void undisturbed() {
        disturbed = Long.MAX_VALUE;
    }

    /** When the connection was first lost since, if ever: from then on Curator's manual tells not to believe in a lock. */
    String disturbedAt() {
        return disturbed == Long.MAX_VALUE ? "" : Long.toString(disturbed);
    }

    /** Ends the session behind its owner's back: a second client takes it over and closes it, until it is no more. */
    String expire() throws Exception {
        long id = session().getSessionId();
        byte[] password = session().getSessionPasswd();
        String servers = client.getZookeeperClient().getCurrentConnectionString();
        for (;;) {
            CountDownLatch told = new CountDownLatch(1);
            KeeperState[] state = {null};
            ZooKeeper second = new ZooKeeper(servers, 10_000, event -> {
                if (told.getCount() > 0) {
                    state[0] = event.getState();
                    told.countDown();
                }
            }, id, password);
            boolean answered = told.await(5, TimeUnit.SECONDS);
            second.close();
            if (answered && state[0] == KeeperState.Expired) {
                return Long.toString(id);
            }
        }
    }

    String close() throws Exception {
        recipe.close();
        client.close();
        thread.shutdown();
        return "";
    }

    private ZooKeeper session() throws Exception {
        try {
            return client.getZookeeperClient().getZooKeeper();
        } catch (KeeperException.ConnectionLossException away) {
            client.blockUntilConnected();
            return client.getZookeeperClient().getZooKeeper();
        }
    }
}
