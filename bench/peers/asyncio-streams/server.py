"""The herd as the reports describe it: asyncio streams, one line after the other.

Each AT line that is news is flooded to every neighbour over a connection of its own.
"""

import argparse
import asyncio
import logging
import re
import sys
import time

log = logging.getLogger("herd")

MAX_LINE = 8192
MAX_CLIENT_ID = 255
BILLION = 1_000_000_000

POSITION = re.compile(rb"([+-]\d+(?:\.\d+)?)([+-]\d+(?:\.\d+)?)")
TIME = re.compile(rb"0*(\d{1,18})(?:\.(\d+))?")
RADIUS = re.compile(rb"\d+(?:\.\d+)?")

# Places are not what is compared: a document of the right form, without any.
DOCUMENT = b'{\n   "html_attributions" : [],\n   "results" : [],\n   "status" : "ZERO_RESULTS"\n}'


def is_position(text):
    match = POSITION.fullmatch(text)
    return match and abs(float(match[1])) <= 90 and abs(float(match[2])) <= 180


def parse_time(text):
    """Nanoseconds since 1970, or None."""
    match = TIME.fullmatch(text)
    if not match:
        return None
    return int(match[1]) * BILLION + int((match[2] or b"").ljust(9, b"0")[:9])


def is_radius(text):
    return RADIUS.fullmatch(text) and float(text) <= 50


def is_bound(text):
    return text.isdigit() and float(text) <= 20


class Server:
    def __init__(self, name, neighbours):
        self.name = name.encode()
        self.neighbours = neighbours
        # Client to what orders its reports (time, server, when it was heard) and its AT line.
        self.clients = {}

    def is_news(self, client, order):
        held = self.clients.get(client)
        return held is None or order > held[0]

    def answer(self, line):
        """The reply, and the AT line that neighbours have to hear of, if any."""
        fields = line.split()
        if len(line) <= MAX_LINE and len(fields) == 4 and len(fields[1]) <= MAX_CLIENT_ID:
            if fields[0] == b"IAMAT":
                return self.iamat(line, *fields[1:])
            if fields[0] == b"WHATSAT":
                return self.whatsat(line, *fields[1:]), None
        return self.refuse(line), None

    def refuse(self, line):
        return b"? " + line[:MAX_LINE] + b"\n"

    def iamat(self, line, client, position, time_text):
        reported = parse_time(time_text)
        if reported is None or not is_position(position):
            return self.refuse(line), None
        heard = time.time_ns()
        skew = heard - reported
        at = b"AT %b %b%d.%09d %b %b %b\n" % (
            self.name, b"-" if skew < 0 else b"+", *divmod(abs(skew), BILLION),
            client, position, time_text,
        )  # fmt: skip
        order = (reported, self.name, skew)
        if not self.is_news(client, order):
            return at, None
        self.clients[client] = (order, at)
        return at, at

    def whatsat(self, line, client, radius, bound):
        if client not in self.clients or not is_radius(radius) or not is_bound(bound):
            return self.refuse(line)
        return self.clients[client][1] + DOCUMENT + b"\n\n"

    def hear(self, line):
        """Takes an AT line of a neighbour; whether it is news."""
        _, server, skew, client, _, time_text = line.split()
        seconds, nanoseconds = skew[1:].split(b".")
        skew = int(skew[:1] + seconds + nanoseconds)
        order = (parse_time(time_text), server, skew)
        if not self.is_news(client, order):
            return False
        self.clients[client] = (order, line)
        return True

    async def serve_client(self, reader, writer):
        log.info("client connected")
        try:
            while line := await reader.readline():
                log.info("client says %r", line)
                line = line[:-1] if line.endswith(b"\n") else line
                line = line[:-1] if line.endswith(b"\r") else line
                reply, news = self.answer(line)
                log.info("client is told %r", reply)
                writer.write(reply)
                await writer.drain()
                if news:
                    await self.flood(news)
        except (ConnectionError, ValueError) as error:
            # ValueError: a line without end, beyond what the stream holds.
            log.info("client failed: %s", error)
        finally:
            log.info("client left")
            writer.close()

    async def serve_neighbour(self, reader, writer):
        try:
            while line := await reader.readline():
                log.info("neighbour says %r", line)
                if self.hear(line):
                    await self.flood(line)
        except (ConnectionError, ValueError) as error:
            log.info("neighbour failed: %s", error)
        finally:
            writer.close()

    async def flood(self, line):
        await asyncio.gather(*(self.tell(*neighbour, line) for neighbour in self.neighbours))

    async def tell(self, neighbour, host, port, line):
        try:
            _, writer = await asyncio.open_connection(host, port)
            log.info("%s is told %r", neighbour, line)
            writer.write(line)
            await writer.drain()
            writer.close()
            await writer.wait_closed()
        except OSError as error:
            log.info("%s is not reached: %s", neighbour, error)


def neighbour(text):
    name, _, address = text.partition("=")
    host, _, port = address.rpartition(":")
    return name, host, int(port)


async def main(options):
    server = Server(options.name, options.peer)
    clients = await asyncio.start_server(
        server.serve_client, "127.0.0.1", options.port, backlog=1024
    )
    links = await asyncio.start_server(
        server.serve_neighbour, "127.0.0.1", options.link_port, backlog=1024
    )
    async with clients, links:
        print("ready", flush=True)
        await asyncio.gather(clients.serve_forever(), links.serve_forever())


def parse_options():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--name", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--link-port", type=int, required=True)
    parser.add_argument("--peer", type=neighbour, action="append", default=[])
    parser.add_argument("--only-memory", action="store_true", help="it is always so")
    parser.add_argument("--uvloop", action="store_true")
    parser.add_argument("--log", metavar="FILE", help="a line for each input and output")
    return parser.parse_args()


if __name__ == "__main__":
    options = parse_options()
    if options.log:
        logging.basicConfig(
            filename=options.log, level=logging.INFO, format="%(asctime)s %(message)s"
        )
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
