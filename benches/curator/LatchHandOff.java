import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.util.concurrent.CountDownLatch;
import org.apache.curator.framework.CuratorFramework;
import org.apache.curator.framework.CuratorFrameworkFactory;
import org.apache.curator.framework.recipes.leader.LeaderLatch;
import org.apache.curator.framework.recipes.leader.LeaderLatchListener;
import org.apache.curator.retry.RetryOneTime;

/**
 * Hands leadership over between two sessions of Curator, once for each line on standard input, and answers each with
 * the time from before `close` of one LeaderLatch to `isLeader` of the other, in nanoseconds.
 */
public class LatchHandOff {
    public static void main(String[] arguments) throws Exception {
        String path = arguments[1];
        CuratorFramework[] clients = {connect(arguments[0]), connect(arguments[0])};
        Candidate leader = new Candidate(clients[0], path);
        leader.elected.await();
        BufferedReader orders = new BufferedReader(new InputStreamReader(System.in));
        System.out.println("ready");
        for (int turn = 1; orders.readLine() != null; turn++) {
            Candidate next = new Candidate(clients[turn % 2], path);
            while (leader.latch.getParticipants().size() < 2) {
                Thread.sleep(1);
            }
            // It is in line and about to set its watch.
            Thread.sleep(3);
            long closed = System.nanoTime();
            leader.latch.close();
            next.elected.await();
            System.out.println(next.electedAt - closed);
            leader = next;
        }
        leader.latch.close();
        for (CuratorFramework client : clients) {
            client.close();
        }
    }

    private static CuratorFramework connect(String cluster) {
        CuratorFramework client = CuratorFrameworkFactory.newClient(cluster, 30_000, 15_000, new RetryOneTime(1));
        client.start();
        return client;
    }

    private static final class Candidate implements LeaderLatchListener {
        final LeaderLatch latch;
        final CountDownLatch elected = new CountDownLatch(1);
        volatile long electedAt;

        Candidate(CuratorFramework client, String path) throws Exception {
            latch = new LeaderLatch(client, path);
            latch.addListener(this);
            latch.start();
        }

        @Override
        public void isLeader() {
            electedAt = System.nanoTime();
            elected.countDown();
        }

        @Override
        public void notLeader() {}
    }
}
