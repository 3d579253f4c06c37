import java.io.BufferedReader;
import java.io.File;
import java.io.InputStreamReader;
import java.net.InetSocketAddress;
import org.apache.zookeeper.server.DataNode;
import org.apache.zookeeper.server.ServerCnxnFactory;
import org.apache.zookeeper.server.ZooKeeperServer;

/**
 * A real standalone server on a free port of 127.0.0.1. Prints `ready PORT`, then obeys lines on its standard input:
 * `sequence PATH N` moves the sequence counter of a node. Ends with its standard input.
 */
public class RealServer {
    public static void main(String[] arguments) throws Exception {
        File directory = new File(arguments[0]);
        ZooKeeperServer server = new ZooKeeperServer(directory, directory, 500);
        server.setMinSessionTimeout(1000);
        server.setMaxSessionTimeout(60000);
        ServerCnxnFactory factory = ServerCnxnFactory.createFactory(new InetSocketAddress("127.0.0.1", 0), 0);
        factory.startup(server);
        System.out.println("ready " + factory.getLocalPort());
        BufferedReader lines = new BufferedReader(new InputStreamReader(System.in));
        for (String line = lines.readLine(); line != null; line = lines.readLine()) {
            String[] words = line.split(" ");
            DataNode node = server.getZKDatabase().getNode(words[1]);
            synchronized (node) {
                node.stat.setCversion(Integer.parseInt(words[2]));
            }
            System.out.println("done");
        }
        Runtime.getRuntime().halt(0);
    }
}
