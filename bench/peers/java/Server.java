import java.io.IOException;
import java.io.InputStream;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.util.ArrayList;
import java.util.List;

/** One server of the herd: a thread for each connection, and one for each link to a neighbour. */
public final class Server {
    private interface Connection {
        void serve(Socket socket) throws IOException;
    }

    private static String name;
    private static int port;
    private static int linkPort;
    private static boolean virtual;
    private static final List<String[]> neighbours = new ArrayList<>();

    public static void main(String[] arguments) throws Exception {
        readOptions(arguments);
        if (virtual && Runtime.version().feature() < 21) {
            System.err.println("virtual threads need Java 21, this is " + Runtime.version().feature());
            System.exit(69);
        }
        Herd herd = new Herd(name);
        for (String[] neighbour : neighbours) {
            herd.links.add(new Link(herd, neighbour[0], neighbour[1], Integer.parseInt(neighbour[2])));
        }
        listen(port, 1024, socket -> new ClientConnection(herd, socket).serve());
        listen(linkPort, 128, socket -> hear(herd, socket));
        for (Link link : herd.links) {
            start(link::stayConnected);
        }
        System.out.println("ready");
    }

    private static void listen(int port, int backlog, Connection connection) throws IOException {
        ServerSocket listener = new ServerSocket();
        listener.setReuseAddress(true);
        listener.bind(new InetSocketAddress(InetAddress.getLoopbackAddress(), port), backlog);
        // A platform thread, which keeps the process alive.
        new Thread(() -> {
            while (true) {
                try {
                    Socket socket = listener.accept();
                    start(() -> serve(connection, socket));
                } catch (IOException failure) {
                    System.err.println("accept: " + failure.getMessage());
                }
            }
        }).start();
    }

    private static void serve(Connection connection, Socket socket) {
        try (socket) {
            socket.setTcpNoDelay(true);
            connection.serve(socket);
        } catch (IOException left) {
            // A connection that breaks concerns nobody else.
        }
    }

    /** The receiving half of a link: the neighbour's name, then AT lines. */
    private static void hear(Herd herd, Socket socket) throws IOException {
        LineReader lines = new LineReader(socket.getInputStream(), 256 * 1024);
        List<Report> news = new ArrayList<>();
        if (!lines.next()) {
            return;
        }
        String sender = lines.text();
        while (lines.next()) {
            Report report = herd.hear(lines);
            if (report != null) {
                news.add(report);
            }
            if (!lines.hasNext() && !news.isEmpty()) {
                herd.flood(news, sender);
                news.clear();
            }
        }
    }

    private static void start(Runnable task) {
        if (!virtual) {
            Thread thread = new Thread(task);
            thread.setDaemon(true);
            thread.start();
            return;
        }
        try {
            // By reflection, so that this compiles with a Java that has no virtual threads.
            Thread.class.getMethod("startVirtualThread", Runnable.class).invoke(null, task);
        } catch (ReflectiveOperationException impossible) {
            throw new IllegalStateException(impossible);
        }
    }

    private static void readOptions(String[] arguments) {
        for (int i = 0; i < arguments.length; i++) {
            switch (arguments[i]) {
                case "--name" -> name = arguments[++i];
                case "--port" -> port = Integer.parseInt(arguments[++i]);
                case "--link-port" -> linkPort = Integer.parseInt(arguments[++i]);
                case "--peer" -> neighbours.add(arguments[++i].split("[=:]"));
                case "--virtual" -> virtual = true;
                case "--only-memory" -> { } // It is always so.
                default -> {
                    System.err.println("no such option: " + arguments[i]);
                    System.exit(64);
                }
            }
        }
        if (name == null || port == 0 || linkPort == 0) {
            System.err.println("--name, --port and --link-port are needed");
            System.exit(64);
        }
    }
}
