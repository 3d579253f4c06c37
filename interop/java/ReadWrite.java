import java.util.concurrent.TimeUnit;
import org.apache.curator.framework.recipes.locks.InterProcessMutex;
import org.apache.curator.framework.recipes.locks.InterProcessReadWriteLock;

/** {@code InterProcessReadWriteLock}; {@code read} by the owner of the write lock is Curator's downgrade. */
final class ReadWrite implements Recipe {
    private final InterProcessReadWriteLock lock;

    ReadWrite(Actor actor, String path) {
        lock = new InterProcessReadWriteLock(actor.client(), path);
    }

    @Override
    public String run(String command, String[] arguments) throws Exception {
        switch (command) {
            case "read":
                return acquire(lock.readLock(), arguments);
            case "write":
                return acquire(lock.writeLock(), arguments);
            case "release-read":
                lock.readLock().release();
                return "";
            case "release-write":
                lock.writeLock().release();
                return "";
            default:
                throw Recipe.unknown(command);
        }
    }

    private static String acquire(InterProcessMutex half, String[] arguments) throws Exception {
        return half.acquire(Recipe.limit(arguments, 0), TimeUnit.MILLISECONDS) ? "" : "timeout";
    }
}
