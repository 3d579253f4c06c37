import java.util.concurrent.TimeUnit;
import org.apache.curator.framework.recipes.barriers.DistributedBarrier;
import org.apache.curator.framework.recipes.barriers.DistributedDoubleBarrier;

/** Curator's two barriers. */
final class Barriers {
    /** {@code DistributedBarrier}. */
    static final class Single implements Recipe {
        private final DistributedBarrier barrier;

        Single(Actor actor, String path) {
            barrier = new DistributedBarrier(actor.client(), path);
        }

        @Override
        public String run(String command, String[] arguments) throws Exception {
            switch (command) {
                case "set":
                    barrier.setBarrier();
                    return "";
                case "lift":
                    barrier.removeBarrier();
                    return "";
                case "wait":
                    return passed(barrier.waitOnBarrier(Recipe.limit(arguments, 0), TimeUnit.MILLISECONDS));
                default:
                    throw Recipe.unknown(command);
            }
        }
    }

    /** {@code DistributedDoubleBarrier}. */
    static final class Double implements Recipe {
        private final DistributedDoubleBarrier barrier;

        Double(Actor actor, String path, int parties) {
            barrier = new DistributedDoubleBarrier(actor.client(), path, parties);
        }

        @Override
        public String run(String command, String[] arguments) throws Exception {
            switch (command) {
                case "enter":
                    return passed(barrier.enter(Recipe.limit(arguments, 0), TimeUnit.MILLISECONDS));
                case "leave":
                    return passed(barrier.leave(Recipe.limit(arguments, 0), TimeUnit.MILLISECONDS));
                default:
                    throw Recipe.unknown(command);
            }
        }
    }

    private static String passed(boolean passed) {
        return passed ? "passed" : "timeout";
    }

    private Barriers() {}
}
