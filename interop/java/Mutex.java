import java.util.Arrays;
import java.util.List;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import org.apache.curator.framework.CuratorFramework;
import org.apache.curator.framework.recipes.locks.InterProcessMutex;
import org.apache.curator.framework.recipes.locks.Revoker;
import org.apache.curator.framework.recipes.locks.StandardLockInternalsDriver;

/**
 * {@code InterProcessMutex}. Arguments: {@code any-name} for a driver that also sees contenders whose names are not
 * Curator's, {@code revocable} for one that listens to requests to make way. {@code also <path>} makes a second mutex in
 * the same session, for {@code acquire-also} and {@code release-also}.
 */
final class Mutex implements Recipe {
    private final Actor actor;
    private final String path;
    private final OpenMutex mutex;
    private OpenMutex also;
    private final CountDownLatch revoked = new CountDownLatch(1);

    Mutex(Actor actor, String path, String[] arguments) {
        List<String> options = Arrays.asList(arguments);
        this.actor = actor;
        this.path = path;
        mutex = new OpenMutex(actor.client(), path,
                options.contains("any-name") ? new AnyNameDriver() : new StandardLockInternalsDriver());
        if (options.contains("revocable")) {
            mutex.makeRevocable(ignored -> revoked.countDown());
        }
    }

    @Override
    public String run(String command, String[] arguments) throws Exception {
        switch (command) {
            case "acquire":
                actor.undisturbed();
                return mutex.acquire(Recipe.limit(arguments, 0), TimeUnit.MILLISECONDS) ? node() : "timeout";
            case "release":
                mutex.release();
                return actor.disturbedAt();
            case "also":
                also = new OpenMutex(actor.client(), arguments[0], new StandardLockInternalsDriver());
                return "";
            case "acquire-also":
                return also.acquire(Recipe.limit(arguments, 0), TimeUnit.MILLISECONDS) ? "" : "timeout";
            case "release-also":
                also.release();
                return "";
            case "participants":
                return String.join(" ", mutex.getParticipantNodes());
            case "revoke":
                Revoker.attemptRevoke(actor.client(), path + "/" + arguments[0]);
                return "";
            case "await-revocation":
                return revoked.await(Recipe.limit(arguments, 0), TimeUnit.MILLISECONDS) ? "revoked" : "timeout";
            default:
                throw Recipe.unknown(command);
        }
    }

    private String node() {
        return mutex.node().substring(path.length() + 1);
    }

    /** Curator keeps the name of the node to itself and to subclasses. */
    private static final class OpenMutex extends InterProcessMutex {
        OpenMutex(CuratorFramework client, String path, StandardLockInternalsDriver driver) {
            super(client, path, driver);
        }

        String node() {
            return getLockPath();
        }
    }

    /**
     * Sorts contenders by their last ten characters, the sequence number, whatever stands in front of it. The standard
     * driver sorts a name without {@code lock-} by its first characters.
     */
    private static final class AnyNameDriver extends StandardLockInternalsDriver {
        @Override
        public String fixForSorting(String name, String lockName) {
            return name.substring(Math.max(0, name.length() - 10));
        }
    }
}
