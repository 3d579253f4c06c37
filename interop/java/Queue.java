import java.math.BigInteger;
import java.util.NoSuchElementException;
import java.util.concurrent.TimeUnit;
import org.apache.curator.framework.recipes.queue.SimpleDistributedQueue;

/** {@code SimpleDistributedQueue}. Items are written in hex digits, an empty one as {@code -}. */
final class Queue implements Recipe {
    private final SimpleDistributedQueue queue;

    Queue(Actor actor, String path) {
        queue = new SimpleDistributedQueue(actor.client(), path);
    }

    @Override
    public String run(String command, String[] arguments) throws Exception {
        switch (command) {
            case "offer":
                for (String item : arguments) {
                    queue.offer(bytes(item));
                }
                return "";
            case "take":
                return text(queue.take());
            case "poll":
                return arguments.length == 0
                        ? text(queue.poll())
                        : text(queue.poll(Long.parseLong(arguments[0]), TimeUnit.MILLISECONDS));
            case "peek":
                return text(queue.peek());
            case "remove":
                try {
                    return text(queue.remove());
                } catch (NoSuchElementException none) {
                    return "none";
                }
            default:
                throw Recipe.unknown(command);
        }
    }

    private static byte[] bytes(String item) {
        if (item.equals("-")) {
            return new byte[0];
        }
        byte[] bytes = new byte[item.length() / 2];
        for (int index = 0; index < bytes.length; index++) {
            bytes[index] = (byte) Integer.parseInt(item.substring(2 * index, 2 * index + 2), 16);
        }
        return bytes;
    }

    private static String text(byte[] item) {
        if (item == null) {
            return "none";
        }
        return item.length == 0 ? "-" : String.format("%0" + 2 * item.length + "x", new BigInteger(1, item));
    }
}
