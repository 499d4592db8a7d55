"""Starting and ending the servers of a herd, wherd's or a peer's: what the programs here share."""

import contextlib
import json
import os
import pathlib
import signal
import socket
import subprocess
import time

BENCH = pathlib.Path(__file__).resolve().parent
PEERS = BENCH / "peers"
LOCAL = "127.0.0.1"
HERD = {
    "Hill": ["Jaquez", "Smith"],
    "Jaquez": ["Hill", "Singleton"],
    "Smith": ["Hill", "Campbell", "Singleton"],
    "Campbell": ["Smith", "Singleton"],
    "Singleton": ["Jaquez", "Smith", "Campbell"],
}
# Limits of time, in seconds.
START, ANSWER, END = 20, 5, 5
MISSING_TOOL = 69


class Failure(Exception):
    """A case did not get what the protocol says."""


class OutOfTime(Exception):
    """Something took longer than all of it may take together."""


class Missing(Exception):
    """A peer cannot be started here, and what it lacks."""


def connect(port):
    stream = socket.create_connection((LOCAL, port), timeout=ANSWER)
    stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return stream


def free_ports(count):
    """Ports that were free a moment ago, below those that connections are given by the system."""
    found = []
    with contextlib.ExitStack() as held:
        for port in range(20_000 + os.getpid() % 5_000, 32_000):
            probe = held.enter_context(socket.socket())
            # As the servers do it: a port with connections that have just ended is free.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with contextlib.suppress(OSError):
                probe.bind((LOCAL, port))
                found.append(port)
            if len(found) == count:
                return found
    raise Missing("free ports")


def out_of_time(*_):
    raise OutOfTime("not done in time")


def stop(*_):
    raise KeyboardInterrupt


def catch_signals():
    signal.signal(signal.SIGALRM, out_of_time)
    signal.signal(signal.SIGINT, stop)
    signal.signal(signal.SIGTERM, stop)


class Processes:
    """Every process that is started here is ended here, by its id."""

    def __init__(self, folder):
        self.folder = folder
        self.running = []

    def start(self, command):
        output = open(self.folder / f"{len(self.running)}.log", "w+b")
        # A group of its own: an interrupt at the terminal is for this script, which ends all.
        self.running.append((
            subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd=self.folder, start_new_session=True
            ),
            output,
        ))  # fmt: skip

    def check(self):
        for process, output in self.running:
            if process.poll() is not None:
                output.seek(0)
                said = output.read().decode(errors="replace").strip()
                problem = said.splitlines()[-1] if said else "it said nothing"
                if process.returncode == MISSING_TOOL:
                    raise Missing(problem)
                raise Failure(f"ended with {process.returncode}: {problem}")

    def end(self):
        # Ending is bounded in time, and who asks for it twice would leave processes behind.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        self.end_all()
        catch_signals()

    def end_all(self):
        for process, _ in self.running:
            process.send_signal(signal.SIGTERM)
        end = time.monotonic() + END
        for process, output in self.running:
            try:
                process.wait(max(0.01, end - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            # What it started itself and has not ended.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            output.close()


def wait_for(processes, ports):
    end = time.monotonic() + START
    for port in ports:
        while True:
            processes.check()
            try:
                connect(port).close()
                break
            except OSError:
                if time.monotonic() > end:
                    raise Failure(f"nobody listens after {START} s") from None
                time.sleep(0.02)


def start_wherd(binary, processes):
    if not binary.exists():
        raise Missing(f"{binary}: cargo build --release -p wherd")
    ports = free_ports(15)
    text = ['[herd]\nname = "conformance"\nacknowledge = "memory"\n']
    for number, (name, neighbours) in enumerate(HERD.items()):
        clients, links, http = (f'"{LOCAL}:{port}"' for port in ports[3 * number : 3 * number + 3])
        text.append(
            f"[servers.{name}]\nclients = {clients}\nlinks = {links}\nhttp = {http}\n"
            f"talks_to = {json.dumps(neighbours)}\n"
        )
    config = processes.folder / "herd.toml"
    config.write_text("\n".join(text))
    processes.start(
        [binary, "--config", config, "up", "--ephemeral", "--log-dir", processes.folder / "logs"]
    )
    return dict(zip(HERD, ports[::3]))


def start_herd(command, processes):
    ports = free_ports(10)
    clients, links = dict(zip(HERD, ports[:5])), dict(zip(HERD, ports[5:]))
    for name, neighbours in HERD.items():
        peers = [
            part for other in neighbours for part in ("--peer", f"{other}={LOCAL}:{links[other]}")
        ]
        processes.start([
            *command, "--name", name, "--port", str(clients[name]), "--link-port", str(links[name]), *peers,
            "--only-memory",
        ])  # fmt: skip
    return clients
