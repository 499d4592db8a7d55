"""The herd as fast as asyncio goes: protocols instead of streams, batches, persistent links.

All complete lines of one data_received are answered with one write, and neighbours are told once
for each turn of the event loop.
"""

import argparse
import asyncio
import gc
import re
import sys
import time

MAX_LINE = 8192
MAX_CLIENT_ID = 255
BILLION = 1_000_000_000
# How many clients a link that catches up is told about in one write.
CATCH_UP = 4096

# An ordinary IAMAT (its operands, of them the client, the seconds and their fraction), or any line. What is valid
# and written in another way, with more white space or digits, takes the way of all other lines. All is possessive,
# since no part can match what begins the next: going back is the most of what a match costs.
BATCH = re.compile(
    rb"IAMAT (([^ \t-\r]{1,255}+)"
    rb" [+-](?:[0-8]?[0-9](?:\.[0-9]{1,20}+)?+|90(?:\.0{1,20}+)?+)"
    rb"[+-](?:(?:1[0-7][0-9]|[0-9]?[0-9])(?:\.[0-9]{1,20}+)?+|180(?:\.0{1,20}+)?+)"
    rb" ([0-9]{1,18}+)(?:\.([0-9]{1,20}+))?+)\r?+\n"
    rb"|([^\n]*+)\n"
)
POSITION = re.compile(rb"([+-]\d+(?:\.\d+)?)([+-]\d+(?:\.\d+)?)")
TIME = re.compile(rb"0*(\d{1,18})(?:\.(\d+))?")
RADIUS = re.compile(rb"\d+(?:\.\d+)?")

# Places are not what is compared: a document of the right form, without any.
DOCUMENT = b'{\n   "html_attributions" : [],\n   "results" : [],\n   "status" : "ZERO_RESULTS"\n}\n\n'


def nanoseconds(seconds, fraction):
    return int(seconds + fraction.ljust(9, b"0")[:9])


class Herd:
    """What a server knows, and the links by which it tells."""

    __slots__ = ("name", "greater", "less", "clients", "links")

    def __init__(self, name):
        self.name = name
        self.greater = b"AT " + name + b" +%d.%09d %b\n"
        self.less = b"AT " + name + b" -%d.%09d %b\n"
        # Client to what orders its reports (time, server, skew), and its AT line: a flat tuple of plain
        # values, which the garbage collector stops looking at.
        self.clients = {}
        self.links = []

    def answer(self, data):
        """Answers whole lines, and tells the neighbours what is news."""
        clients, name, less, greater = self.clients, self.name, self.less, self.greater
        now = time.time_ns()
        replies, news, changed = [], [], []
        for operands, client, seconds, fraction, other in BATCH.findall(data):
            if not client:
                operands, client, reported = self.answer_other(other, replies)
                if client is None:
                    continue
            elif len(fraction) == 9:
                reported = int(seconds + fraction)
            else:
                reported = nanoseconds(seconds, fraction)
            skew = now - reported
            held = clients.get(client)
            if held is not None and reported == held[0] and name == held[1] and skew <= held[2]:
                # Twice in one batch: the later one has to be later for the neighbours, too.
                skew = held[2] + 1
            if skew < 0:
                at = less % (-skew // BILLION, -skew % BILLION, operands)
            else:
                at = greater % (skew // BILLION, skew % BILLION, operands)
            replies.append(at)
            entry = (reported, name, skew, at)
            if held is None or entry > held:
                clients[client] = entry
                news.append(at)
                changed.append(client)
        if news:
            self.flood(news, changed, None)
        return b"".join(replies)

    def answer_other(self, line, replies):
        """Answers a line that is no ordinary IAMAT, but for an IAMAT that is valid all the same:
        of that it returns the operands, the client and the time."""
        nothing = None, None, None
        if line.endswith(b"\r"):
            line = line[:-1]
        fields = line.split()
        if len(line) <= MAX_LINE and len(fields) == 4 and len(fields[1]) <= MAX_CLIENT_ID:
            command, client, third, fourth = fields
            if command == b"WHATSAT" and client in self.clients and is_question(third, fourth):
                replies += self.clients[client][3], DOCUMENT
                return nothing
            time_match = TIME.fullmatch(fourth)
            if command == b"IAMAT" and time_match and is_position(third):
                return b" ".join(fields[1:]), client, nanoseconds(*time_match.groups(b""))
        replies.append(b"? %b\n" % line[:MAX_LINE])
        return nothing

    def hear(self, data, sender):
        """Takes AT lines of a neighbour, and passes on to the others what is news."""
        clients = self.clients
        news, changed = [], []
        for line in data.splitlines(keepends=True):
            _, name, skew, client, _, reported = line.split()
            seconds, _, fraction = reported.partition(b".")
            order = nanoseconds(seconds, fraction), name, int(skew.replace(b".", b""))
            held = clients.get(client)
            if held is None or order > held[:3]:
                clients[client] = (*order, line)
                news.append(line)
                changed.append(client)
        if news:
            self.flood(news, changed, sender)

    def flood(self, news, changed, sender):
        for link in self.links:
            if link.neighbour != sender:
                link.tell(news, changed)


def is_position(text):
    match = POSITION.fullmatch(text)
    return match and abs(float(match[1])) <= 90 and abs(float(match[2])) <= 180


def is_question(radius, bound):
    return (
        RADIUS.fullmatch(radius) and float(radius) <= 50 and bound.isdigit() and float(bound) <= 20
    )


class Client(asyncio.Protocol):
    __slots__ = ("herd", "transport", "rest", "skips")

    def __init__(self, herd):
        self.herd = herd
        self.rest = b""
        # Whether this is the rest of a line that was too long, and answered.
        self.skips = False

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        if self.skips:
            _, newline, data = data.partition(b"\n")
            if not newline:
                return
            self.skips = False
        if self.rest:
            data = self.rest + data
        end = data.rfind(b"\n") + 1
        if end == len(data):
            self.rest = b""
        else:
            self.rest = data[end:]
            data = data[:end]
        if end:
            self.transport.write(self.herd.answer(data))
        # One more than a line has, since its last byte may be a CR.
        if len(self.rest) > MAX_LINE + 1:
            self.transport.write(b"? %b\n" % self.rest[:MAX_LINE])
            self.rest = b""
            self.skips = True

    def eof_received(self):
        if self.rest:
            self.transport.write(self.herd.answer(self.rest + b"\n"))
        # None: the transport closes when everything is written.

    # Who does not read replies is not read from.
    def pause_writing(self):
        self.transport.pause_reading()

    def resume_writing(self):
        self.transport.resume_reading()


class FromNeighbour(asyncio.Protocol):
    """The receiving half of a link: the neighbour's name, then AT lines."""

    __slots__ = ("herd", "neighbour", "rest")

    def __init__(self, herd):
        self.herd = herd
        self.neighbour = None
        self.rest = b""

    def data_received(self, data):
        data = self.rest + data
        end = data.rfind(b"\n") + 1
        self.rest = data[end:]
        data = data[:end]
        if self.neighbour is None and data:
            self.neighbour, _, data = data.partition(b"\n")
        if data:
            self.herd.hear(data, self.neighbour)


class ToNeighbour(asyncio.Protocol):
    """The sending half of a link. While it cannot send it keeps which clients are news, not what was said
    of them, so that it is bounded and what is sent later is the newest."""

    __slots__ = ("herd", "neighbour", "address", "transport", "batch", "behind", "is_full", "lost")

    def __init__(self, herd, neighbour, address):
        self.herd = herd
        self.neighbour = neighbour
        self.address = address
        self.transport = None
        self.batch = []
        self.behind = {}
        self.is_full = False

    async def stay_connected(self):
        loop = asyncio.get_running_loop()
        while True:
            pause = 0.05
            while True:
                try:
                    await loop.create_connection(lambda: self, *self.address)
                    break
                except OSError:
                    await asyncio.sleep(pause)
                    pause = min(2 * pause, 1)
            await self.lost

    def connection_made(self, transport):
        self.lost = asyncio.get_running_loop().create_future()
        self.transport = transport
        self.is_full = False
        transport.write(self.herd.name + b"\n")
        # What the neighbour knows is not known: it is told everything, and drops what it has.
        self.behind = dict.fromkeys(self.herd.clients)
        self.catch_up()

    def connection_lost(self, _):
        self.transport = None
        self.lost.set_result(None)

    def tell(self, news, changed):
        if self.transport is None:
            return
        if self.behind or self.is_full:
            self.behind.update(dict.fromkeys(changed))
            return
        if not self.batch:
            asyncio.get_running_loop().call_soon(self.flush)
        self.batch += news

    def flush(self):
        batch, self.batch = self.batch, []
        if self.transport is not None:
            self.transport.write(b"".join(batch))

    def catch_up(self):
        clients = self.herd.clients
        while self.behind and not self.is_full:
            count = min(CATCH_UP, len(self.behind))
            lines = [clients[self.behind.popitem()[0]][3] for _ in range(count)]
            self.transport.write(b"".join(lines))

    def pause_writing(self):
        self.is_full = True

    def resume_writing(self):
        self.is_full = False
        self.catch_up()


def neighbour(text):
    name, _, address = text.partition("=")
    host, _, port = address.rpartition(":")
    return name.encode(), (host, int(port))


async def main(options):
    loop = asyncio.get_running_loop()
    herd = Herd(options.name.encode())
    herd.links = [ToNeighbour(herd, name, address) for name, address in options.peer]
    local = "127.0.0.1"
    clients = await loop.create_server(lambda: Client(herd), local, options.port, backlog=1024)
    await loop.create_server(lambda: FromNeighbour(herd), local, options.link_port, backlog=128)
    links = [loop.create_task(link.stay_connected()) for link in herd.links]
    # What is there now stays; what comes and goes has no cycles, so the collector need not look often.
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 50, 100)
    print("ready", flush=True)
    await asyncio.gather(clients.serve_forever(), *links)


def parse_options():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--name", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--link-port", type=int, required=True)
    parser.add_argument("--peer", type=neighbour, action="append", default=[])
    parser.add_argument("--only-memory", action="store_true", help="it is always so")
    parser.add_argument("--uvloop", action="store_true")
    return parser.parse_args()


if __name__ == "__main__":
    options = parse_options()
    run = asyncio.run
    if options.uvloop:
        try:
            import uvloop
        except ImportError:
            print("uvloop is missing: run bench/peers/setup", file=sys.stderr)
            sys.exit(69)
        run = uvloop.run
    try:
        run(main(options))
    except KeyboardInterrupt:
        pass
