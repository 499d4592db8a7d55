import java.io.IOException;
import java.io.OutputStream;
import java.net.Socket;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Iterator;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Set;
import java.util.concurrent.locks.Condition;
import java.util.concurrent.locks.ReentrantLock;

/**
 * The sending half of a link, with a thread that writes. While that cannot keep up, it is kept which clients are
 * news, not what was said of them, so that it is bounded and what is sent later is the newest.
 */
final class Link {
    private static final int MAX_WAITING = 64 * 1024;
    private static final int CATCH_UP = 4096;

    final String neighbour;
    private final Herd herd;
    private final String host;
    private final int port;

    private final ReentrantLock lock = new ReentrantLock();
    private final Condition hasWork = lock.newCondition();
    private boolean isConnected;
    private List<Report> waiting = new ArrayList<>();
    private final Set<String> behind = new LinkedHashSet<>();

    Link(Herd herd, String neighbour, String host, int port) {
        this.herd = herd;
        this.neighbour = neighbour;
        this.host = host;
        this.port = port;
    }

    void tell(List<Report> news) {
        lock.lock();
        try {
            if (!isConnected) {
                return;
            }
            if (behind.isEmpty() && waiting.size() < MAX_WAITING) {
                waiting.addAll(news);
            } else {
                news.forEach(report -> behind.add(report.client()));
            }
            hasWork.signal();
        } finally {
            lock.unlock();
        }
    }

    void stayConnected() {
        long pause = 50;
        while (true) {
            try (Socket socket = new Socket(host, port)) {
                socket.setTcpNoDelay(true);
                pause = 50;
                connected();
                Thread watcher = new Thread(() -> waitForEnd(socket));
                watcher.setDaemon(true);
                watcher.start();
                write(socket.getOutputStream());
            } catch (IOException unreachable) {
                // It is tried again.
            }
            disconnected();
            try {
                Thread.sleep(pause);
            } catch (InterruptedException end) {
                return;
            }
            pause = Math.min(2 * pause, 1000);
        }
    }

    /** What the neighbour knows is not known: it is told everything, and drops what it has. */
    private void connected() {
        lock.lock();
        try {
            isConnected = true;
            behind.addAll(herd.clients.keySet());
        } finally {
            lock.unlock();
        }
    }

    private void disconnected() {
        lock.lock();
        try {
            isConnected = false;
            waiting.clear();
            behind.clear();
            hasWork.signal();
        } finally {
            lock.unlock();
        }
    }

    /** A neighbour never says anything here: whatever the read ends with is the connection's end. */
    private void waitForEnd(Socket socket) {
        try (socket) {
            socket.getInputStream().read();
        } catch (IOException end) {
            // The same.
        }
        lock.lock();
        try {
            isConnected = false;
            hasWork.signal();
        } finally {
            lock.unlock();
        }
    }

    private void write(OutputStream socket) throws IOException {
        Output output = new Output();
        output.put((herd.name + "\n").getBytes(StandardCharsets.US_ASCII));
        do {
            socket.write(output.bytes, 0, output.length);
            output.length = 0;
        } while (take(output));
    }

    /** Waits for something to be told; false when the connection has ended. */
    private boolean take(Output output) {
        List<Report> batch;
        List<String> clients = new ArrayList<>();
        lock.lock();
        try {
            while (isConnected && waiting.isEmpty() && behind.isEmpty()) {
                hasWork.awaitUninterruptibly();
            }
            batch = waiting;
            waiting = new ArrayList<>();
            Iterator<String> next = behind.iterator();
            while (batch.isEmpty() && next.hasNext() && clients.size() < CATCH_UP) {
                clients.add(next.next());
                next.remove();
            }
            if (!isConnected) {
                return false;
            }
        } finally {
            lock.unlock();
        }
        batch.forEach(report -> output.put(report.line()));
        clients.forEach(client -> output.put(herd.clients.get(client).line()));
        return true;
    }
}
