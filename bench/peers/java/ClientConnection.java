import java.io.IOException;
import java.io.OutputStream;
import java.net.Socket;
import java.nio.charset.StandardCharsets;
import java.time.Instant;
import java.util.ArrayList;
import java.util.List;

/** Answers one client: what came together is answered with one write. */
final class ClientConnection {
    private static final int MAX_CLIENT_ID = 255;
    private static final byte[] IAMAT = ascii("IAMAT");
    private static final byte[] WHATSAT = ascii("WHATSAT");
    /** Places are not what is compared: a document of the right form, without any. */
    private static final byte[] DOCUMENT = ascii("""
            {
               "html_attributions" : [],
               "results" : [],
               "status" : "ZERO_RESULTS"
            }

            """);
    /** Replies are written when so many bytes wait, even where more lines are there. */
    private static final int FLUSH = 256 * 1024;

    private final Herd herd;
    private final byte[] greeting;
    private final LineReader lines;
    private final OutputStream socket;
    private final Output output = new Output();
    private final List<Report> news = new ArrayList<>();
    /** One look at the clock for the lines that came together. */
    private long now;

    ClientConnection(Herd herd, Socket socket) throws IOException {
        this.herd = herd;
        this.greeting = ascii("AT " + herd.name + " ");
        this.lines = new LineReader(socket.getInputStream(), 64 * 1024);
        this.socket = socket.getOutputStream();
    }

    private static byte[] ascii(String text) {
        return text.getBytes(StandardCharsets.US_ASCII);
    }

    void serve() throws IOException {
        boolean isFirst = true;
        while (lines.next()) {
            if (isFirst) {
                Instant instant = Instant.now();
                now = instant.getEpochSecond() * 1_000_000_000L + instant.getNano();
            }
            answer();
            isFirst = !lines.hasNext();
            if (isFirst || output.length > FLUSH) {
                flush();
            }
        }
    }

    private void flush() throws IOException {
        if (!news.isEmpty()) {
            herd.flood(news, null);
            news.clear();
        }
        socket.write(output.bytes, 0, output.length);
        output.length = 0;
    }

    private void answer() {
        boolean isAnswered = false;
        if (!lines.isCut && lines.split() == 4 && lines.fieldLength(1) <= MAX_CLIENT_ID) {
            if (lines.isField(0, IAMAT)) {
                isAnswered = iamat();
            } else if (lines.isField(0, WHATSAT)) {
                isAnswered = whatsat();
            }
        }
        if (!isAnswered) {
            output.put('?');
            output.put(' ');
            output.put(lines.buffer, lines.start, lines.end - lines.start);
            output.put('\n');
        }
    }

    private boolean iamat() {
        if (!lines.isPosition(2) || !lines.parseTime(3)) {
            return false;
        }
        String client = lines.field(1);
        long heard = now;
        Report held = herd.clients.get(client);
        if (held != null && held.isOf(lines.seconds, lines.nanos, herd.name) && heard <= held.heard()) {
            // Twice in one batch: the later one has to be later for the neighbours, too.
            heard = held.heard() + 1;
        }
        int start = output.length;
        output.put(greeting);
        putSkew(heard);
        for (int field = 1; field <= 3; field++) {
            output.put(' ');
            output.put(lines.buffer, lines.fieldStart(field), lines.fieldLength(field));
        }
        output.put('\n');
        Report report = new Report(
                client, lines.seconds, lines.nanos, herd.name, heard, output.from(start));
        if (herd.keep(report)) {
            news.add(report);
        }
        return true;
    }

    private void putSkew(long heard) {
        long seconds = heard / 1_000_000_000L - lines.seconds;
        long nanos = heard % 1_000_000_000L - lines.nanos;
        // Both of one sign.
        if (seconds < 0 && nanos > 0) {
            seconds++;
            nanos -= 1_000_000_000L;
        } else if (seconds > 0 && nanos < 0) {
            seconds--;
            nanos += 1_000_000_000L;
        }
        output.put(seconds < 0 || nanos < 0 ? '-' : '+');
        output.putNumber(Math.abs(seconds), 1);
        output.put('.');
        output.putNumber(Math.abs(nanos), 9);
    }

    private boolean whatsat() {
        Report report = herd.clients.get(lines.field(1));
        if (report == null || !lines.isNumber(2, 50) || !lines.isWhole(3, 20)) {
            return false;
        }
        output.put(report.line());
        output.put(DOCUMENT);
        return true;
    }
}
