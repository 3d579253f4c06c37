import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.atomic.AtomicReference;
import org.apache.curator.framework.CuratorFramework;
import org.apache.curator.framework.CuratorFrameworkFactory;
import org.apache.curator.framework.recipes.locks.InterProcessMutex;
import org.apache.curator.retry.RetryOneTime;

/**
 * Acquires and releases InterProcessMutex, as lines on standard input say, `sessions threads cycles paths`: so many sessions,
 * so many threads of each, so many cycles of each thread; with `paths` "many" each thread has a path of its own, with "one"
 * all share one. Answers each with the time that it took, in nanoseconds.
 */
public class Locks {
    public static void main(String[] arguments) throws Exception {
        List<CuratorFramework> clients = new ArrayList<>();
        for (int client = 0; client < 8; client++) {
            CuratorFramework started = CuratorFrameworkFactory.newClient(arguments[0], 30_000, 15_000, new RetryOneTime(1));
            started.start();
            started.blockUntilConnected();
            clients.add(started);
        }
        BufferedReader orders = new BufferedReader(new InputStreamReader(System.in));
        System.out.println("ready");
        for (String order = orders.readLine(); order != null; order = orders.readLine()) {
            String[] words = order.split(" ");
            int sessions = Integer.parseInt(words[0]);
            int threads = Integer.parseInt(words[1]);
            int cycles = Integer.parseInt(words[2]);
            System.out.println(run(clients, arguments[1], sessions, threads, cycles, words[3].equals("one")));
        }
    }

    private static long run(
            List<CuratorFramework> clients, String dir, int sessions, int threads, int cycles, boolean shared)
            throws Exception {
        List<Thread> running = new ArrayList<>();
        AtomicReference<Exception> failure = new AtomicReference<>();
        long started = System.nanoTime();
        for (int session = 0; session < sessions; session++) {
            for (int thread = 0; thread < threads; thread++) {
                String path = dir + (shared ? "/one" : "/own-" + session + "-" + thread);
                CuratorFramework client = clients.get(session);
                Thread runner = new Thread(() -> {
                    try {
                        InterProcessMutex mutex = new InterProcessMutex(client, path);
                        for (int cycle = 0; cycle < cycles; cycle++) {
                            mutex.acquire();
                            mutex.release();
                        }
                    } catch (Exception error) {
                        failure.set(error);
                    }
                });
                runner.start();
                running.add(runner);
            }
        }
        for (Thread runner : running) {
            runner.join();
        }
        if (failure.get() != null) {
            throw failure.get();
        }
        return System.nanoTime() - started;
    }
}
