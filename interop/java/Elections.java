import java.util.Collection;
import java.util.concurrent.SynchronousQueue;
import java.util.concurrent.TimeUnit;
import java.util.stream.Collectors;
import org.apache.curator.framework.recipes.leader.LeaderLatch;
import org.apache.curator.framework.recipes.leader.LeaderSelector;
import org.apache.curator.framework.recipes.leader.LeaderSelectorListenerAdapter;
import org.apache.curator.framework.recipes.leader.Participant;
import org.apache.curator.framework.CuratorFramework;

/** Curator's two elections. */
final class Elections {
    /** {@code LeaderLatch}: {@code campaign} joins and waits for leadership, {@code resign} leaves. */
    static final class Latch implements Recipe {
        private final Actor actor;
        private final String path;
        private final String id;
        private LeaderLatch latch;

        Latch(Actor actor, String path, String id) {
            this.actor = actor;
            this.path = path;
            this.id = id;
            latch = new LeaderLatch(actor.client(), path, id);
        }

        @Override
        public String run(String command, String[] arguments) throws Exception {
            switch (command) {
                case "campaign":
                    latch.start();
                    return latch.await(Recipe.limit(arguments, 0), TimeUnit.MILLISECONDS) ? "leads" : "timeout";
                case "resign":
                    latch.close();
                    latch = new LeaderLatch(actor.client(), path, id);
                    return "";
                case "leader":
                    return text(latch.getLeader());
                case "participants":
                    return text(latch.getParticipants());
                default:
                    throw Recipe.unknown(command);
            }
        }
    }

    /** {@code LeaderSelector}: {@code campaign} joins and waits for {@code takeLeadership}, {@code resign} ends that. */
    static final class Selector extends LeaderSelectorListenerAdapter implements Recipe {
        private final LeaderSelector selector;
        private boolean started;
        private final SynchronousQueue<Boolean> taken = new SynchronousQueue<>();
        private final SynchronousQueue<Boolean> resigned = new SynchronousQueue<>();

        Selector(Actor actor, String path, String id) {
            selector = new LeaderSelector(actor.client(), path, this);
            selector.setId(id);
        }

        @Override
        public void takeLeadership(CuratorFramework client) throws Exception {
            taken.put(true);
            resigned.take();
        }

        @Override
        public String run(String command, String[] arguments) throws Exception {
            switch (command) {
                case "campaign":
                    if (started) {
                        selector.requeue();
                    } else {
                        started = true;
                        selector.start();
                    }
                    return taken.poll(Recipe.limit(arguments, 0), TimeUnit.MILLISECONDS) == null ? "timeout" : "leads";
                case "resign":
                    return resigned.offer(true, 10, TimeUnit.SECONDS) ? "" : "did not lead";
                case "leader":
                    return text(selector.getLeader());
                case "participants":
                    return text(selector.getParticipants());
                default:
                    throw Recipe.unknown(command);
            }
        }

        @Override
        public void close() {
            if (started) {
                selector.close();
            }
        }
    }

    private static String text(Collection<Participant> participants) {
        return participants.stream().map(Elections::text).collect(Collectors.joining(" "));
    }

    /** The id, and a star if it leads. */
    private static String text(Participant participant) {
        return participant.getId() + (participant.isLeader() ? "*" : "");
    }

    private Elections() {}
}
