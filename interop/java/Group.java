import java.nio.charset.StandardCharsets;
import java.util.Map;
import java.util.TreeMap;
import org.apache.curator.framework.recipes.nodes.GroupMember;

/** {@code GroupMember}, a member from the start. */
final class Group implements Recipe {
    private final GroupMember member;

    Group(Actor actor, String path, String id, String data) {
        member = new GroupMember(actor.client(), path, id, data.getBytes(StandardCharsets.UTF_8));
        member.start();
    }

    @Override
    public String run(String command, String[] arguments) {
        switch (command) {
            case "members":
                StringBuilder members = new StringBuilder();
                for (Map.Entry<String, byte[]> entry : new TreeMap<>(member.getCurrentMembers()).entrySet()) {
                    members.append(entry.getKey()).append('=')
                            .append(new String(entry.getValue(), StandardCharsets.UTF_8)).append(' ');
                }
                return members.toString().trim();
            case "update":
                member.setThisData(arguments[0].getBytes(StandardCharsets.UTF_8));
                return "";
            default:
                throw Recipe.unknown(command);
        }
    }

    @Override
    public void close() {
        member.close();
    }
}
