import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.Executor;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.TimeUnit;
import org.apache.curator.framework.CuratorFramework;
import org.apache.curator.framework.CuratorFrameworkFactory;
import org.apache.curator.framework.recipes.queue.DistributedQueue;
import org.apache.curator.framework.recipes.queue.QueueBuilder;
import org.apache.curator.framework.recipes.queue.QueueConsumer;
import org.apache.curator.framework.recipes.queue.QueueSerializer;
import org.apache.curator.framework.recipes.queue.SimpleDistributedQueue;
import org.apache.curator.framework.state.ConnectionState;
import org.apache.curator.retry.RetryOneTime;
import org.apache.zookeeper.data.Stat;

/**
 * Pushes items of 100 bytes into Curator's queues and consumes them, as lines on standard input say, `queue push items`
 * or `queue consume items`, and answers each with the time that it took, in nanoseconds.
 */
public class Queues {
    private static final byte[] PAYLOAD = new byte[100];
    /** In seconds: a queue that has not gone on by then hangs. */
    private static final long PATIENCE = 30;

    private final CuratorFramework client;
    private final String dir;

    Queues(CuratorFramework client, String dir) {
        this.client = client;
        this.dir = dir;
    }

    public static void main(String[] arguments) throws Exception {
        CuratorFramework client =
                CuratorFrameworkFactory.newClient(arguments[0], 30_000, 15_000, new RetryOneTime(1));
        client.start();
        client.blockUntilConnected();
        Queues queues = new Queues(client, arguments[1]);
        BufferedReader orders = new BufferedReader(new InputStreamReader(System.in));
        System.out.println("ready");
        for (String order = orders.readLine(); order != null; order = orders.readLine()) {
            String[] words = order.split(" ");
            long started = System.nanoTime();
            try {
                queues.run(words[0], words[1].equals("push"), Integer.parseInt(words[2]));
            } catch (Exception failure) {
                failure.printStackTrace();
                // Not by a return: threads of a queue that hangs would keep the process.
                System.exit(1);
            }
            System.out.println(System.nanoTime() - started);
        }
        client.close();
    }

    private void run(String queue, boolean push, int items) throws Exception {
        if (queue.equals("simple")) {
            SimpleDistributedQueue simple = new SimpleDistributedQueue(client, dir + "/simple");
            for (int item = 0; item < items; item++) {
                if (push) {
                    simple.offer(PAYLOAD);
                } else if (simple.poll() == null) {
                    throw new IllegalStateException("the queue is empty after " + item);
                }
            }
        } else if (push) {
            push(dir + "/" + queue, items);
        } else if (queue.equals("safe")) {
            // As it comes: in the queue's own thread.
            consume(dir + "/" + queue, items, null);
        } else {
            ExecutorService threads = Executors.newFixedThreadPool(8);
            consume(dir + "/" + queue, items, threads);
            threads.shutdown();
        }
    }

    /** In the background, as it comes: all are under way at once. */
    private void push(String path, int items) throws Exception {
        try (DistributedQueue<byte[]> queue = build(path, null, null)) {
            for (int item = 0; item < items; item++) {
                queue.put(PAYLOAD);
            }
            if (!queue.flushPuts(60, TimeUnit.SECONDS)) {
                throw new IllegalStateException("not flushed");
            }
        }
    }

    private void consume(String path, int items, Executor executor) throws Exception {
        CountDownLatch left = new CountDownLatch(items);
        QueueConsumer<byte[]> consumer =
                new QueueConsumer<byte[]>() {
                    @Override
                    public void consumeMessage(byte[] message) {
                        left.countDown();
                    }

                    @Override
                    public void stateChanged(CuratorFramework client, ConnectionState state) {}
                };
        try (DistributedQueue<byte[]> queue = build(path, consumer, executor)) {
            if (!left.await(PATIENCE, TimeUnit.SECONDS)) {
                throw new IllegalStateException(left.getCount() + " of " + items + " items do not come");
            }
            // Until the last one and its lock are deleted.
            awaitEmpty(path);
            awaitEmpty(path + "-locks");
        }
        clear(path + "-locks");
    }

    /**
     * Removes what a queue left. Its close interrupts its thread, maybe while that deletes the lock of an item that it
     * looked at once more; such a lock stays as long as the session, and without this the next run waits for it.
     */
    private void clear(String path) throws Exception {
        if (client.checkExists().forPath(path) != null) {
            for (String name : client.getChildren().forPath(path)) {
                client.delete().quietly().forPath(path + "/" + name);
            }
        }
    }

    private void awaitEmpty(String path) throws Exception {
        long until = System.nanoTime() + TimeUnit.SECONDS.toNanos(PATIENCE);
        Stat stat = client.checkExists().forPath(path);
        while (stat != null && stat.getNumChildren() > 0) {
            if (System.nanoTime() > until) {
                throw new IllegalStateException(stat.getNumChildren() + " children stay in " + path);
            }
            Thread.sleep(1);
            stat = client.checkExists().forPath(path);
        }
    }

    private DistributedQueue<byte[]> build(String path, QueueConsumer<byte[]> consumer, Executor executor)
            throws Exception {
        QueueBuilder<byte[]> builder =
                QueueBuilder.builder(client, consumer, new Raw(), path).lockPath(path + "-locks");
        if (executor != null) {
            builder = builder.executor(executor);
        }
        DistributedQueue<byte[]> queue = builder.buildQueue();
        queue.start();
        return queue;
    }

    private static final class Raw implements QueueSerializer<byte[]> {
        @Override
        public byte[] serialize(byte[] item) {
            return item;
        }

        @Override
        public byte[] deserialize(byte[] bytes) {
            return bytes;
        }
    }
}
