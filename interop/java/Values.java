import java.nio.charset.StandardCharsets;
import java.util.function.BooleanSupplier;
import java.util.concurrent.TimeUnit;
import org.apache.curator.framework.recipes.atomic.AtomicValue;
import org.apache.curator.framework.recipes.atomic.DistributedAtomicLong;
import org.apache.curator.framework.recipes.shared.SharedCount;
import org.apache.curator.framework.recipes.shared.SharedValue;
import org.apache.curator.retry.RetryNTimes;

/** Curator's values and counters. {@code set-if-unchanged} is a set of the version that this actor saw last. */
final class Values {
    /** {@code SharedCount}: four bytes. */
    static final class Count implements Recipe {
        private final SharedCount count;

        Count(Actor actor, String path, int seed) throws Exception {
            count = new SharedCount(actor.client(), path, seed);
            count.start();
        }

        @Override
        public String run(String command, String[] arguments) throws Exception {
            switch (command) {
                case "get":
                    return Integer.toString(count.getCount());
                case "set":
                    count.setCount(Integer.parseInt(arguments[0]));
                    return "";
                case "set-if-unchanged":
                    return Boolean.toString(
                            count.trySetCount(count.getVersionedValue(), Integer.parseInt(arguments[0])));
                case "await":
                    return eventually(() -> count.getCount() == Integer.parseInt(arguments[0]));
                default:
                    throw Recipe.unknown(command);
            }
        }

        @Override
        public void close() throws Exception {
            count.close();
        }
    }

    /** {@code SharedValue}, of texts without blanks. */
    static final class Bytes implements Recipe {
        private final SharedValue value;

        Bytes(Actor actor, String path, String seed) throws Exception {
            value = new SharedValue(actor.client(), path, bytes(seed));
            value.start();
        }

        @Override
        public String run(String command, String[] arguments) throws Exception {
            switch (command) {
                case "get":
                    return text();
                case "set":
                    value.setValue(bytes(arguments[0]));
                    return "";
                case "set-if-unchanged":
                    return Boolean.toString(value.trySetValue(value.getVersionedValue(), bytes(arguments[0])));
                case "await":
                    return eventually(() -> text().equals(arguments[0]));
                default:
                    throw Recipe.unknown(command);
            }
        }

        @Override
        public void close() throws Exception {
            value.close();
        }

        private String text() {
            return new String(value.getValue(), StandardCharsets.UTF_8);
        }

        private static byte[] bytes(String text) {
            return text.getBytes(StandardCharsets.UTF_8);
        }
    }

    /** {@code DistributedAtomicLong}: eight bytes. */
    static final class AtomicLong implements Recipe {
        private final DistributedAtomicLong number;

        AtomicLong(Actor actor, String path) {
            number = new DistributedAtomicLong(actor.client(), path, new RetryNTimes(1000, 5));
        }

        @Override
        public String run(String command, String[] arguments) throws Exception {
            switch (command) {
                case "get":
                    return text(number.get());
                case "add":
                    return text(number.add(Long.parseLong(arguments[0])));
                case "add-often":
                    for (int left = Integer.parseInt(arguments[0]); left > 0; left--) {
                        while (!number.increment().succeeded()) {}
                    }
                    return "";
                case "compare-and-set":
                    return text(number.compareAndSet(Long.parseLong(arguments[0]), Long.parseLong(arguments[1])));
                default:
                    throw Recipe.unknown(command);
            }
        }

        private static String text(AtomicValue<Long> value) {
            return value.succeeded() ? Long.toString(value.postValue()) : "refused";
        }
    }

    private static String eventually(BooleanSupplier condition) throws InterruptedException {
        for (int tries = 0; tries < 3000; tries++) {
            if (condition.getAsBoolean()) {
                return "";
            }
            TimeUnit.MILLISECONDS.sleep(10);
        }
        return "timeout";
    }

    private Values() {}
}
