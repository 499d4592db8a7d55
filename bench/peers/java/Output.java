import java.util.Arrays;

/** Bytes to be written together. */
final class Output {
    byte[] bytes = new byte[64 * 1024];
    int length;

    void put(byte[] source, int start, int count) {
        if (bytes.length - length < count) {
            bytes = Arrays.copyOf(bytes, Math.max(2 * bytes.length, length + count));
        }
        System.arraycopy(source, start, bytes, length, count);
        length += count;
    }

    void put(byte[] source) {
        put(source, 0, source.length);
    }

    void put(int single) {
        if (length == bytes.length) {
            bytes = Arrays.copyOf(bytes, 2 * length);
        }
        bytes[length++] = (byte) single;
    }

    /** A number of at least 0, in at least {@code width} digits. */
    void putNumber(long number, int width) {
        int digits = 1;
        for (long rest = number / 10; rest > 0; rest /= 10) {
            digits++;
        }
        digits = Math.max(digits, width);
        for (int i = 0; i < digits; i++) {
            put('0');
        }
        for (int i = length - 1; number > 0; i--, number /= 10) {
            bytes[i] = (byte) ('0' + number % 10);
        }
    }

    byte[] from(int start) {
        return Arrays.copyOfRange(bytes, start, length);
    }
}
