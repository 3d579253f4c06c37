import java.util.ArrayDeque;
import java.util.Collection;
import java.util.Deque;
import java.util.concurrent.TimeUnit;
import java.util.stream.Collectors;
import org.apache.curator.framework.recipes.locks.InterProcessSemaphoreV2;
import org.apache.curator.framework.recipes.locks.Lease;

/** {@code InterProcessSemaphoreV2} with a constant number of leases. */
final class Semaphore implements Recipe {
    private final InterProcessSemaphoreV2 semaphore;
    private final Deque<Collection<Lease>> held = new ArrayDeque<>();

    Semaphore(Actor actor, String path, int leases) {
        semaphore = new InterProcessSemaphoreV2(actor.client(), path, leases);
    }

    @Override
    public String run(String command, String[] arguments) throws Exception {
        switch (command) {
            case "acquire":
                return acquire(Integer.parseInt(arguments[0]), Recipe.limit(arguments, 1));
            case "release":
                semaphore.returnAll(held.removeFirst());
                return "";
            case "participants":
                return String.join(" ", semaphore.getParticipantNodes());
            default:
                throw Recipe.unknown(command);
        }
    }

    private String acquire(int quantity, long limit) throws Exception {
        Collection<Lease> leases = semaphore.acquire(quantity, limit, TimeUnit.MILLISECONDS);
        if (leases == null) {
            return "timeout";
        }
        held.addLast(leases);
        return leases.stream().map(Lease::getNodeName).collect(Collectors.joining(" "));
    }
}
