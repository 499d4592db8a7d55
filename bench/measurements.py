"""What is measured: each measurement is a function that takes a peer and yields its figures, load by load.

`bench/run` calls them by turns, peer after peer, and keeps what they yield; `report.py` makes tables of it.
"""

import contextlib
import csv
import dataclasses
import io
import json
import pathlib
import re
import shlex
import statistics
import time

from herd import ANSWER, BENCH, HERD, LOCAL, Failure, Missing, Server, connect, free_ports, plan, start

REPOSITORY = BENCH.parent
# Connections and lines in flight on each.
LOADS = {"16x64": (16, 64), "50x1": (50, 1), "1x1": (1, 1)}
CLIENTS, MANY_CLIENTS, HERD_CLIENTS = 1_000, 1_000_000, 10_000
FIXED_RATE = 20_000
# A herd has collapsed where less than this share of what was due is answered, or updates take longer, in µs.
CARRIED, LATE_US = 0.9, 1_000_000
STREAMS_RATES = [125 * 2**i for i in range(7)]
RATES = [4_000 * 2**i for i in range(9)]
# Reports a second while servers are killed: well below what each herd carries.
STREAMS_LOSS_RATE, LOSS_RATE = 200, 5_000
KILL_AFTER, SETTLED, SETTLE_LIMIT = 2, 1.5, 15
PATIENCE = 15


class Bench:
    """What measurements share: the programs, the cores, and the commands that were run."""

    def __init__(self, wherd, seconds, warm_up, cores, results):
        self.wherd = wherd
        self.examples = wherd.parent / "examples"
        self.seconds = seconds
        self.warm_up = warm_up
        self.server_core, self.load_core = cores
        self.results = results
        self.commands = []

    def note(self, command, folder, core=None):
        """Keeps a command as a person would type it in the repository."""
        pinned = [] if core is None else ["taskset", "-c", core]
        text = shlex.join(str(part) for part in [*pinned, *command])
        for path, name in (
            (folder, "DIR"), (self.wherd, "wherd"), (self.examples, "examples"), (f"{REPOSITORY}/", ""),
        ):  # fmt: skip
            text = text.replace(str(path), name)
        self.commands.append(text)

    @contextlib.contextmanager
    def servers(self, peer, processes, names=("Hill",), pinned=True, **how):
        """Servers of a peer that run meanwhile, on the servers' core."""
        if peer["name"] == "ceiling":
            (port,) = free_ports(1)
            servers = [Server("Hill", port, [self.examples / "ceiling", str(port)])]
        else:
            servers = plan(peer, processes.folder, names, self.wherd, **how)
        core = self.server_core if pinned else None
        for server in servers:
            self.note(server.command, processes.folder, core)
        start(servers, processes, core)
        yield servers
        processes.check()

    def load(self, processes, servers, *options, pinned=True, seconds=None):
        """What `wherd bench` reports of a load on these servers."""
        targets = [part for server in servers for part in ("--server", f"{LOCAL}:{server.port}")]
        command = [self.wherd, "bench", *targets, *map(str, options), "--threads", "1", "--json", "--yes"]
        core = self.load_core if pinned else None
        self.note(command, processes.folder, core)
        limit = (self.seconds if seconds is None else seconds) + self.warm_up + 2 * PATIENCE
        output, errors, _ = processes.run(command, limit, core)
        if not output:
            raise Failure(errors.decode(errors="replace").strip().splitlines()[0])
        return json.loads(output)

    def timing(self, seconds=None):
        return ["--duration", self.seconds if seconds is None else seconds, "--warm-up", self.warm_up]

    def median(self, measurement, peer, load, figure):
        """Of what was measured before; None: nothing was."""
        row = self.results["measurements"].get(measurement, {}).get(peer["name"], {})
        found = [s[figure] for s in row.get("samples", []) if s["load"] == load and figure in s]
        return statistics.median(found) if found else None


def closed(load):
    connections, in_flight = LOADS[load]
    return ["--connections", connections, "--in-flight", in_flight]


def must_be_right(report):
    if wrong := {name: count for name, count in report["wrong"].items() if count}:
        raise Failure(f"wrong answers: {wrong}")


def figures_of(report):
    """The figures of a load on one server, none of whose answers may be wrong."""
    must_be_right(report)
    (server,) = report["servers"]
    return {
        "lines_per_s": round(report["lines_per_s"], 1),
        "ns_per_line": server["processor_ns_per_line"] and round(server["processor_ns_per_line"], 1),
        "cores": server["cores"] and round(server["cores"], 3),
        "p50_us": report["latency"]["p50_us"],
        "p99_us": report["latency"]["p99_us"],
        "is_load_bound": report["generator"]["is_bottleneck"],
    }


# --- Redis, which has a load of its own --------------------------------------------------------


def processor_ns(process):
    """What a process has used of the processor."""
    fields = pathlib.Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * 10_000_000


def redis_run(bench, processes, server, load, clients, count, pinned=True):
    connections, in_flight = LOADS[load]
    # Each goes elsewhere on a parallel: what stays where it is changes nothing, and is not written to the disk either.
    longitude = f"__rand_int__e-{len(str(clients)) - 3}"
    command = [
        "redis-benchmark", "-h", LOCAL, "-p", str(server.port), "-c", str(connections), "-P", str(in_flight), "-n",
        str(count), "-r", str(clients), "--csv", "GEOADD", "clients", longitude, "34.068930", "bench-00__rand_int__",
    ]  # fmt: skip
    core = bench.load_core if pinned else None
    bench.note(command, processes.folder, core)
    before = processor_ns(server.process)
    try:
        output, errors, code = processes.run(command, 60, core)
    except FileNotFoundError:
        raise Missing("redis-benchmark (Debian's redis-tools)") from None
    if code:
        raise Failure(errors.decode(errors="replace").strip())
    row = list(csv.DictReader(io.StringIO(output.decode())))[-1]
    rate, used_ns = float(row["rps"]), processor_ns(server.process) - before
    return {
        "lines_per_s": round(rate, 1),
        "ns_per_line": round(used_ns / count, 1),
        "cores": round(used_ns / 1e9 * rate / count, 3),
        "p50_us": float(row["p50_latency_ms"]) * 1e3,
        "p99_us": float(row["p99_latency_ms"]) * 1e3,
        "is_load_bound": False,
    }


def redis_load(bench, processes, server, load, clients, pinned=True):
    """Loads it once to know how many requests are a measurement, and for that many."""
    connections, in_flight = LOADS[load]
    first = redis_run(bench, processes, server, load, clients, 2_000 * connections * min(in_flight, 8), pinned)
    count = max(1_000, int(first["lines_per_s"] * bench.seconds))
    return redis_run(bench, processes, server, load, clients, count, pinned)


def redis_member_count(server):
    with connect(server.port) as stream:
        stream.sendall(b"ZCARD clients\r\n")
        return int(stream.recv(100)[1:])


# --- one server --------------------------------------------------------------------------------


def loads(bench, peer, processes, names, clients=CLIENTS, pinned=True, **how):
    with bench.servers(peer, processes, pinned=pinned, **how) as servers:
        for load in names:
            if peer.get("protocol") == "redis":
                yield load, redis_load(bench, processes, servers[0], load, clients, pinned)
                continue
            options = [*closed(load), "--clients", clients, *bench.timing()]
            yield load, figures_of(bench.load(processes, servers, *options, pinned=pinned))


def throughput(bench, peer, processes):
    yield from loads(bench, peer, processes, LOADS)


def disk(bench, peer, processes):
    yield from loads(bench, peer, processes, LOADS, is_durable=True)


def cores(bench, peer, processes):
    yield from loads(bench, peer, processes, ["16x64"], pinned=False)


def resident_bytes(servers):
    total = 0
    for server in servers:
        with contextlib.suppress(OSError):
            status = pathlib.Path(f"/proc/{server.process.pid}/status").read_text()
            total += int(re.search(r"VmRSS:\s+(\d+)", status)[1]) * 1024
    return total


def million(bench, peer, processes):
    """Memory before and after a million clients are reported, and what the server takes then."""
    with bench.servers(peer, processes) as servers:
        before = resident_bytes(servers)
        clients = MANY_CLIENTS
        if peer.get("protocol") == "redis":
            # Random members: of a million nearly all in five million.
            redis_run(bench, processes, servers[0], "16x64", MANY_CLIENTS, 5 * MANY_CLIENTS)
            clients = redis_member_count(servers[0])
        else:
            filled = ["--clients", MANY_CLIENTS, *closed("16x64"), "--count", 1, "--warm-up", 0]
            must_be_right(bench.load(processes, servers, *filled, seconds=60))
        # What was needed to take them and not to hold them is given back by those who do.
        time.sleep(1)
        memory = {"resident_before": before, "resident_after": resident_bytes(servers), "clients": clients}
        if peer.get("protocol") == "redis":
            figures = redis_load(bench, processes, servers[0], "16x64", MANY_CLIENTS)
        else:
            # Long enough for a collector's work to be a share of it, and not all of it.
            options = [*closed("16x64"), "--clients", MANY_CLIENTS, "--no-preload", *bench.timing(2 * bench.seconds)]
            figures = figures_of(bench.load(processes, servers, *options))
        yield "16x64", figures | memory


def open_loop(bench, peer, processes):
    """How long clients wait at half of what the server takes, and at a rate that is the same for all."""
    most = bench.median("throughput", peer, "16x64", "lines_per_s")
    rates = {"fixed": FIXED_RATE} | ({"half": int(most / 2)} if most else {})
    with bench.servers(peer, processes) as servers:
        for load, rate in rates.items():
            options = ["--rate", rate, "--connections", 16, "--clients", CLIENTS, *bench.timing()]
            report = bench.load(processes, servers, *options)
            due = rate * report["measured_s"]
            yield load, figures_of(report) | {
                "rate": rate,
                "sent_share": round(report["sent_count"] / due, 4),
                "late_p99_us": report["generator"]["late"]["p99_us"],
            }


def places(bench, peer, processes):
    """Questions with five places of those that are built in, beside reports."""
    with bench.servers(peer, processes) as servers:
        for load, name, share in (("16x64", "16x64", 100), ("1x1", "1x1", 100), ("1x1 IAMAT", "1x1", 0)):
            options = [*closed(name), "--whatsat", share, "--km", 10, "--bound", 5, *bench.timing()]
            yield load, figures_of(bench.load(processes, servers, *options))


# --- five servers ------------------------------------------------------------------------------


def farthest(spread):
    """How updates came to the server that they took longest to."""
    times = [server["latency"] for server in spread["servers"]]
    return {
        **{f"spread_{name}": max(t[name] for t in times) for name in ("p50_us", "p99_us", "max_us")},
        "markers": spread["marker_count"],
        "lost_markers": sum(server["lost_count"] for server in spread["servers"]),
    }


def spread(bench, peer, processes):
    """Without load: from a client's report at Hill until the last server tells it."""
    if peer["name"] == "relay":
        command = [bench.examples / "relay", str(int(bench.seconds * 100)), "10"]
        bench.note(command, processes.folder)
        output, *_ = processes.run(command, bench.seconds + PATIENCE)
        yield "alone", {f"spread_{name}": value for name, value in json.loads(output).items()}
        return
    with bench.servers(peer, processes, tuple(HERD), pinned=False) as servers:
        report = bench.load(processes, servers, "--spread", "--duration", bench.seconds, pinned=False)
        must_be_right(report)
        yield "alone", farthest(report["spread"]) | {"question_p50_us": report["spread"]["question"]["p50_us"]}


def rates(bench, peer, processes):
    """Spread beside a load whose rate doubles until the herd does not carry it."""
    with bench.servers(peer, processes, tuple(HERD), pinned=False) as servers:
        before = resident_bytes(servers)
        for rate in STREAMS_RATES if peer["name"].startswith("asyncio-streams") else RATES:
            options = ["--rate", rate, "--clients", HERD_CLIENTS, "--no-preload", "--spread", *bench.timing()]
            report = bench.load(processes, servers, *options, pinned=False)
            wrong, seen = report["wrong"], farthest(report["spread"])
            answered = report["answered_count"] / (rate * report["measured_s"])
            is_late = seen["lost_markers"] > 0 or seen["spread_p99_us"] > LATE_US or seen["markers"] == 0
            figures = {
                "rate": rate,
                "answered_share": round(answered, 4),
                "lines_per_s": round(report["lines_per_s"], 1),
                "p99_us": report["latency"]["p99_us"],
                "unanswered": wrong["unanswered_count"],
                "lost_connections": wrong["lost_connection_count"],
                "mismatched": wrong["mismatched_count"] + wrong["refused_count"],
                "resident_before": before,
                "resident_after": resident_bytes(servers),
                "server_cores": round(sum(s["cores"] or 0 for s in report["servers"]), 3),
                "is_carried": answered >= CARRIED and not is_late and not wrong["lost_connection_count"],
                "is_load_bound": report["generator"]["is_bottleneck"],
            } | seen
            yield str(rate), figures
            if not figures["is_carried"]:
                return


# --- loss --------------------------------------------------------------------------------------


def report_until_killed(server, rate, kill):
    """Reports a client after the other at a rate, and kills the server meanwhile; those that it acknowledged."""
    sent = acknowledged = 0
    rest = b""
    begin, is_killed = time.monotonic(), False
    with connect(server.port) as stream:
        stream.settimeout(0.01)
        with contextlib.suppress(ConnectionError):
            while True:
                passed = time.monotonic() - begin
                if passed > KILL_AFTER and not is_killed:
                    kill()
                    is_killed = True
                if not is_killed and (due := int(passed * rate)) > sent:
                    now = time.time()
                    lines = (f"IAMAT loss-{i:015} +34.068930-118.445127 {now:.9f}\n" for i in range(sent, due))
                    stream.sendall("".join(lines).encode())
                    sent = due
                try:
                    part = stream.recv(1 << 20)
                except TimeoutError:
                    continue
                if not part:
                    break
                *whole, rest = (rest + part).split(b"\n")
                if refused := [line for line in whole if not line.startswith(b"AT ")]:
                    raise Failure(f"refused: {refused[0]!r}")
                acknowledged += len(whole)
    return acknowledged


def known(server, count):
    """Which of so many clients a server knows."""
    found = set()
    with connect(server.port) as stream:
        for first in range(0, count, 500):
            asked = range(first, min(first + 500, count))
            lines = [f"WHATSAT loss-{i:015} 0 0\n" for i in asked]
            stream.sendall("".join([*lines, "END\n"]).encode())
            answer = b""
            while not answer.endswith(b"? END\n"):
                part = stream.recv(1 << 20)
                if not part:
                    raise Failure(f"{server.name} closed while it was asked")
                answer += part
            refused = {int(i) for i in re.findall(rb"^\? WHATSAT loss-(\d+)", answer, re.MULTILINE)}
            found.update(set(asked) - refused)
    return found


def settle(servers, count):
    """What each server knows, when that does not change any more."""
    end, before, since = time.monotonic() + SETTLE_LIMIT, None, time.monotonic()
    while True:
        now = [known(server, count) for server in servers]
        if now != before:
            before, since = now, time.monotonic()
        if all(len(found) == count for found in now):
            return now
        if time.monotonic() - since > SETTLED or time.monotonic() > end:
            return now
        time.sleep(0.1)


def loss(bench, peer, processes):
    """What is left of acknowledged reports when a server is killed and started, and when all are."""
    rate = STREAMS_LOSS_RATE if peer["name"].startswith("asyncio-streams") else LOSS_RATE
    for is_durable in (False, True) if peer["name"] == "wherd" else (False,):
        load = "disk" if is_durable else "memory"
        folder = processes.folder / load
        folder.mkdir()
        servers = plan(peer, folder, wherd=bench.wherd, is_durable=is_durable, options=own_folders(peer, folder))
        for server in servers:
            bench.note(server.command, processes.folder)
        start(servers, processes)
        hill = servers[0]
        # A report goes through every link before the count begins.
        settle_links(servers)
        count = report_until_killed(hill, rate, lambda: processes.kill(hill.process))
        start([hill], processes)
        after_one = settle(servers, count)
        for server in servers:
            processes.kill(server.process)
        start(servers, processes)
        after_all = settle(servers, count)
        yield load, {
            "acknowledged": count,
            "one_hill": len(after_one[0]),
            "one_anywhere": len(set.union(*after_one)),
            "one_everywhere": len(set.intersection(*after_one)),
            "all_anywhere": len(set.union(*after_all)),
            "all_everywhere": len(set.intersection(*after_all)),
        }
        for server in servers:
            processes.kill(server.process)


def own_folders(peer, folder):
    if "start" in peer:
        return []
    return ["--data-dir", str(folder / "data"), "--log-dir", str(folder / "logs")]


def settle_links(servers):
    """Waits until what is said at Hill is known everywhere: all links are up."""
    with connect(servers[0].port) as stream:
        stream.sendall(b"IAMAT first +0+0 1\n")
        stream.recv(1000)
    end = time.monotonic() + 2 * ANSWER
    for server in servers:
        while True:
            with connect(server.port) as stream:
                stream.sendall(b"WHATSAT first 0 0\n")
                if stream.recv(1000).startswith(b"AT"):
                    break
            if time.monotonic() > end:
                raise Failure(f"{server.name} never heard of the first report")
            time.sleep(0.05)


# --- all of them -------------------------------------------------------------------------------


@dataclasses.dataclass
class Measurement:
    name: str
    measure: callable
    # Whom it does not apply to has no row.
    is_for: callable
    # What takes long is repeated less often.
    most_repetitions: int
    # For one peer and one repetition, in seconds.
    limit: int


def is_herd(peer):
    return peer["name"] not in ("redis", "ceiling", "relay")


def is_server(peer):
    return peer["name"] != "relay"


def is_quiet(peer):
    """What the log of the reports costs is in the throughput; elsewhere it would say the same again."""
    return peer["name"] != "asyncio-streams-log"


ALL = [
    Measurement("throughput", throughput, is_server, 9, 60),
    Measurement("million", million, lambda peer: is_server(peer) and is_quiet(peer), 3, 120),
    Measurement("disk", disk, lambda peer: peer["name"] in ("wherd", "redis"), 9, 60),
    Measurement("cores", cores, lambda peer: is_server(peer) and is_quiet(peer), 3, 30),
    Measurement("open", open_loop, lambda peer: is_quiet(peer) and peer["name"] not in ("redis", "relay"), 3, 60),
    Measurement("spread", spread, lambda peer: is_herd(peer) and is_quiet(peer) or peer["name"] == "relay", 5, 60),
    Measurement("rates", rates, lambda peer: is_herd(peer) and is_quiet(peer), 2, 150),
    Measurement("loss", loss, lambda peer: is_herd(peer) and is_quiet(peer), 1, 120),
    Measurement("places", places, lambda peer: peer["name"] == "wherd", 3, 60),
]
