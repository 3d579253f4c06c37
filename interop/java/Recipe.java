/** One of Curator's recipes at a path, and the commands that it takes. */
interface Recipe {
    /** Does what is asked and returns the answer, empty where there is nothing to say. */
    String run(String command, String[] arguments) throws Exception;

    default void close() throws Exception {}

    static Recipe open(String name, Actor actor, String path, String[] arguments) throws Exception {
        switch (name) {
            case "mutex":
                return new Mutex(actor, path, arguments);
            case "rwlock":
                return new ReadWrite(actor, path);
            case "semaphore":
                return new Semaphore(actor, path, Integer.parseInt(arguments[0]));
            case "latch":
                return new Elections.Latch(actor, path, arguments[0]);
            case "selector":
                return new Elections.Selector(actor, path, arguments[0]);
            case "barrier":
                return new Barriers.Single(actor, path);
            case "double-barrier":
                return new Barriers.Double(actor, path, Integer.parseInt(arguments[0]));
            case "count":
                return new Values.Count(actor, path, Integer.parseInt(arguments[0]));
            case "value":
                return new Values.Bytes(actor, path, arguments[0]);
            case "long":
                return new Values.AtomicLong(actor, path);
            case "queue":
                return new Queue(actor, path);
            case "group":
                return new Group(actor, path, arguments[0], arguments[1]);
            default:
                throw unknown(name);
        }
    }

    static IllegalArgumentException unknown(String what) {
        return new IllegalArgumentException("unknown: " + what);
    }

    /** How long a command waits that is given no time: longer than any test. */
    static long limit(String[] arguments, int index) {
        return index < arguments.length ? Long.parseLong(arguments[index]) : 600_000;
    }
}
