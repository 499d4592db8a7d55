import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ConcurrentMap;

/** What a server knows, and the links by which it tells. */
final class Herd {
    final String name;
    final List<Link> links = new ArrayList<>();
    final ConcurrentMap<String, Report> clients = new ConcurrentHashMap<>();

    Herd(String name) {
        this.name = name;
    }

    /** Keeps a report if it is newer than what is held; whether it is. */
    boolean keep(Report report) {
        while (true) {
            Report held = clients.get(report.client());
            if (held == null) {
                if (clients.putIfAbsent(report.client(), report) == null) {
                    return true;
                }
            } else if (!report.isNewerThan(held)) {
                return false;
            } else if (clients.replace(report.client(), held, report)) {
                return true;
            }
        }
    }

    /** Takes an AT line of a neighbour; null if it is no news. */
    Report hear(LineReader line) {
        if (line.split() != 6 || !line.parseTime(5)) {
            return null;
        }
        // Wraps for times far from ours, and so does what it is subtracted from.
        long heard = line.seconds * 1_000_000_000L + line.nanos + line.parseSkew(2);
        Report report = new Report(
                line.field(3), line.seconds, line.nanos, line.field(1), heard, line.withNewline());
        return keep(report) ? report : null;
    }

    void flood(List<Report> news, String sender) {
        for (Link link : links) {
            if (!link.neighbour.equals(sender)) {
                link.tell(news);
            }
        }
    }
}
