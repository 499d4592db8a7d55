import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;

/** Reads lines where they lie in the buffer, and the fields of one. */
final class LineReader {
    static final int MAX_LINE = 8192;
    private static final int MAX_FIELDS = 7;

    private final InputStream input;
    final byte[] buffer;
    /** The line without its terminator. */
    int start;
    int end;
    /** Whether the line had more bytes than it has here. */
    boolean isCut;
    /** What {@link #parseTime} read. */
    long seconds;
    int nanos;

    private int next;
    private int scanned;
    private int limit;
    private final int[] starts = new int[MAX_FIELDS];
    private final int[] ends = new int[MAX_FIELDS];

    LineReader(InputStream input, int size) {
        this.input = input;
        this.buffer = new byte[size];
    }

    /** Whether a whole line is there without waiting. */
    boolean hasNext() {
        while (scanned < limit && buffer[scanned] != '\n') {
            scanned++;
        }
        return scanned < limit;
    }

    /** Goes to the next line; false at the end of the input. */
    boolean next() throws IOException {
        isCut = false;
        while (!hasNext()) {
            if (limit - next > MAX_LINE + 1) {
                return cut();
            }
            if (!fill()) {
                start = next;
                end = limit;
                next = limit;
                trim();
                return limit > start;
            }
        }
        start = next;
        end = scanned;
        next = ++scanned;
        trim();
        return true;
    }

    /** Takes away what is not of the line: the CR of its terminator, and what is beyond the limit. */
    private void trim() {
        if (end > start && buffer[end - 1] == '\r') {
            end--;
        }
        if (end - start > MAX_LINE) {
            end = start + MAX_LINE;
            isCut = true;
        }
    }

    /** Keeps the beginning of a line that is too long at the front of the buffer, and skips its rest. */
    private boolean cut() throws IOException {
        System.arraycopy(buffer, next, buffer, 0, MAX_LINE);
        do {
            limit = input.read(buffer, MAX_LINE, buffer.length - MAX_LINE);
            if (limit > 0) {
                limit += MAX_LINE;
            }
            next = scanned = MAX_LINE;
        } while (limit > 0 && !hasNext());
        start = 0;
        end = MAX_LINE;
        isCut = true;
        if (limit <= 0) {
            limit = next;
        } else {
            next = ++scanned;
        }
        return true;
    }

    private boolean fill() throws IOException {
        System.arraycopy(buffer, next, buffer, 0, limit - next);
        limit -= next;
        next = 0;
        scanned = limit;
        int count = input.read(buffer, limit, buffer.length - limit);
        if (count > 0) {
            limit += count;
        }
        return count > 0;
    }

    /** Splits the line at its white space; how many fields, of which there may be one too many. */
    int split() {
        int count = 0;
        for (int i = start; count < MAX_FIELDS; count++) {
            while (i < end && isSpace(buffer[i])) {
                i++;
            }
            if (i == end) {
                break;
            }
            starts[count] = i;
            while (i < end && !isSpace(buffer[i])) {
                i++;
            }
            ends[count] = i;
        }
        return count;
    }

    private static boolean isSpace(byte b) {
        return b == ' ' || (b >= 9 && b <= 13);
    }

    int fieldStart(int index) {
        return starts[index];
    }

    int fieldLength(int index) {
        return ends[index] - starts[index];
    }

    /** A field as a string of which each char is a byte. */
    String field(int index) {
        return new String(buffer, starts[index], fieldLength(index), StandardCharsets.ISO_8859_1);
    }

    boolean isField(int index, byte[] text) {
        return java.util.Arrays.equals(buffer, starts[index], ends[index], text, 0, text.length);
    }

    String text() {
        return new String(buffer, start, end - start, StandardCharsets.ISO_8859_1);
    }

    byte[] withNewline() {
        byte[] line = new byte[end - start + 1];
        System.arraycopy(buffer, start, line, 0, end - start);
        line[end - start] = '\n';
        return line;
    }

    /** Reads digits, optionally a point and digits, into {@link #seconds} and {@link #nanos}. */
    boolean parseTime(int index) {
        int i = starts[index];
        int last = ends[index];
        while (i < last - 1 && buffer[i] == '0' && isDigit(i + 1)) {
            i++;
        }
        int first = i;
        long whole = 0;
        for (; i < last && isDigit(i) && i - first <= 18; i++) {
            whole = whole * 10 + buffer[i] - '0';
        }
        if (i == first || i - first > 18) {
            return false;
        }
        int fraction = 0;
        if (i < last) {
            int point = i++;
            int end = digits(i, last);
            if (buffer[point] != '.' || end == i || end != last) {
                return false;
            }
            for (int digit = 0; digit < 9; digit++, i++) {
                fraction = fraction * 10 + (i < last ? buffer[i] - '0' : 0);
            }
        }
        seconds = whole;
        nanos = fraction;
        return true;
    }

    /** Reads a skew of an AT line, in nanoseconds. */
    long parseSkew(int index) {
        long skew = 0;
        for (int i = starts[index] + 1; i < ends[index]; i++) {
            if (buffer[i] != '.') {
                skew = skew * 10 + buffer[i] - '0';
            }
        }
        return buffer[starts[index]] == '-' ? -skew : skew;
    }

    /** Whether a field is ISO 6709: two signed angles of decimal degrees. */
    boolean isPosition(int index) {
        int i = angle(starts[index], ends[index], 90);
        return i > 0 && angle(i, ends[index], 180) == ends[index];
    }

    private int angle(int i, int last, int most) {
        if (i >= last || (buffer[i] != '+' && buffer[i] != '-')) {
            return -1;
        }
        return number(i + 1, last, most);
    }

    /** Whether a field is a decimal number from 0 to {@code most}. */
    boolean isNumber(int index, int most) {
        return number(starts[index], ends[index], most) == ends[index];
    }

    /** Whether a field is a whole number from 0 to {@code most}. */
    boolean isWhole(int index, int most) {
        return isNumber(index, most) && digits(starts[index], ends[index]) == ends[index];
    }

    /** The end of digits, optionally with a point and digits, that are {@code most} at the most; -1 if they are not. */
    private int number(int i, int last, int most) {
        int end = digits(i, last);
        if (end == i) {
            return -1;
        }
        int whole = 0;
        for (; i < end; i++) {
            whole = Math.min(whole * 10 + buffer[i] - '0', 1000);
        }
        boolean isBeyond = whole > most;
        if (end < last && buffer[end] == '.') {
            i = end + 1;
            end = digits(i, last);
            if (end == i) {
                return -1;
            }
            for (; whole == most && i < end; i++) {
                isBeyond |= buffer[i] != '0';
            }
        }
        return isBeyond ? -1 : end;
    }

    private int digits(int i, int last) {
        while (i < last && isDigit(i)) {
            i++;
        }
        return i;
    }

    private boolean isDigit(int i) {
        return buffer[i] >= '0' && buffer[i] <= '9';
    }
}
