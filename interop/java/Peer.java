import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;

/**
 * Runs Apache Curator's recipes as it is told, one command a line on stdin:
 *
 * <pre>{@code <number> <actor> <command> [<argument>...]}</pre>
 *
 * and answers each on stdout when it is done, with the time of the machine's monotonic clock:
 *
 * <pre>{@code <number> <nanoseconds> ok|failed <text>}</pre>
 *
 * {@code open <recipe> <connect string> <session ms> <path> [<argument>...]} makes an actor: a session of its own, a
 * recipe (see {@link Recipe#open}) and a thread, on which its commands run one after the other. {@code expire} ends the
 * actor's session as the ensemble would, at once, whatever its thread does; {@code close} ends the actor. All other
 * commands are the recipe's. The process ends with its input.
 */
public final class Peer {
    private static final Map<String, Actor> ACTORS = new ConcurrentHashMap<>();
    private static final PrintStream OUT = new PrintStream(System.out, true, StandardCharsets.UTF_8);

    public static void main(String[] arguments) throws Exception {
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = in.readLine(); line != null; line = in.readLine()) {
            String[] words = line.trim().split(" ");
            obey(words[0], words[1], words[2], Arrays.copyOfRange(words, 3, words.length));
        }
        // Not exit(): sessions shall end as they do when a process dies.
        Runtime.getRuntime().halt(0);
    }

    private static void obey(String number, String name, String command, String[] arguments) {
        Actor actor = ACTORS.computeIfAbsent(name, Actor::new);
        switch (command) {
            case "expire":
                new Thread(() -> answer(number, actor::expire)).start();
                break;
            case "close":
                ACTORS.remove(name);
                actor.later(() -> answer(number, actor::close));
                break;
            default:
                actor.later(() -> answer(number, () -> actor.run(command, arguments)));
        }
    }

    /** What a command does; the text is its answer. */
    interface Action {
        String run() throws Exception;
    }

    private static void answer(String number, Action action) {
        String answer;
        try {
            answer = "ok " + action.run();
        } catch (Throwable failure) {
            answer = "failed " + failure.toString().replace('\n', ' ');
        }
        OUT.println(number + " " + System.nanoTime() + " " + answer);
    }

    private Peer() {}
}
