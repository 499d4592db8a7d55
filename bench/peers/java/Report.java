/**
 * What is known of a client.
 *
 * @param seconds the client's time, with {@code nanos}
 * @param server which server heard it
 * @param heard when that was, in nanoseconds since 1970
 * @param line the whole AT line, newline included
 */
record Report(String client, long seconds, int nanos, String server, long heard, byte[] line) {
    boolean isNewerThan(Report held) {
        if (seconds != held.seconds) {
            return seconds > held.seconds;
        }
        if (nanos != held.nanos) {
            return nanos > held.nanos;
        }
        int servers = server.compareTo(held.server);
        return servers != 0 ? servers > 0 : heard > held.heard;
    }

    /** Whether a report of this server with this time is one more of the same moment. */
    boolean isOf(long seconds, int nanos, String server) {
        return this.seconds == seconds && this.nanos == nanos && this.server.equals(server);
    }
}
