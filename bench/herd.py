"""Starting and ending the servers of a herd, wherd's or a peer's: what the programs here share."""

import contextlib
import ctypes
import dataclasses
import json
import os
import pathlib
import signal
import socket
import subprocess
import time

BENCH = pathlib.Path(__file__).resolve().parent
PEERS = BENCH / "peers"
BUILD = PEERS / ".build"
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
    """A server did not do what it has to."""


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


# --- signals -----------------------------------------------------------------------------------


def out_of_time(*_):
    raise OutOfTime("not done in time")


def stop(*_):
    raise KeyboardInterrupt


def catch_signals():
    signal.signal(signal.SIGALRM, out_of_time)
    signal.signal(signal.SIGINT, stop)
    signal.signal(signal.SIGTERM, stop)


# --- processes ---------------------------------------------------------------------------------

_system = ctypes.CDLL(None, use_errno=True)
_PR_SET_PDEATHSIG = 1


def _before_exec(core):
    """What a process does before it becomes the program: it ends with this one, however that ends."""
    parent = os.getpid()

    def prepare():
        if hasattr(_system, "prctl"):
            _system.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
            if os.getppid() != parent:
                os._exit(1)
        if core is not None:
            os.sched_setaffinity(0, {core})

    return prepare


class Processes:
    """Every process that is started here is ended here, by its id."""

    def __init__(self, folder):
        self.folder = folder
        self.running = []
        self.started_count = 0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.end()

    def start(self, command, core=None):
        output = open(self.folder / f"{self.started_count}.log", "w+b")
        self.started_count += 1
        # A group of its own: an interrupt at the terminal is for this script, which ends all.
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd=self.folder, start_new_session=True,
            preexec_fn=_before_exec(core),
        )  # fmt: skip
        self.running.append((process, output))
        return process

    def run(self, command, seconds, core=None):
        """What a program that ends by itself prints, and its exit code."""
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=self.folder,
            start_new_session=True, preexec_fn=_before_exec(core),
        )  # fmt: skip
        try:
            output, errors = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            raise OutOfTime(f"{os.path.basename(command[0])} was not done after {seconds:.0f} s") from None
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        return output, errors, process.returncode

    def check(self):
        for process, output in self.running:
            if process.poll() is not None:
                output.seek(0)
                said = output.read().decode(errors="replace").strip()
                problem = said.splitlines()[-1] if said else "it said nothing"
                if process.returncode == MISSING_TOOL:
                    raise Missing(problem)
                raise Failure(f"ended with {process.returncode}: {problem}")

    def kill(self, process):
        """Ends one at once, without a word to it."""
        process.kill()
        process.wait()
        output = next(output for other, output in self.running if other is process)
        output.close()
        self.running.remove((process, output))

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
        self.running.clear()


# --- servers -----------------------------------------------------------------------------------


@dataclasses.dataclass
class Server:
    """One server of a herd: where clients connect, and how it is started."""

    name: str
    port: int
    command: list
    process: subprocess.Popen = None


def plan(peer, folder, names=tuple(HERD), wherd=None, is_durable=False, options=()):
    """The servers of a peer with these names, on free ports, with all that they write in a folder.

    Durable: an acknowledged report is on the disk, for peers that can. The options are the peer's own.
    """
    ports = free_ports(3 * len(names))
    clients, links, https = (dict(zip(names, ports[i::3])) for i in range(3))
    neighbours = {name: [other for other in HERD[name] if other in names] for name in names}
    if "start" not in peer:
        if not wherd.exists():
            raise Missing(f"{wherd}: cargo build --release -p wherd")
        level = "disk" if is_durable else "memory"
        text = [f'[herd]\nname = "bench"\nacknowledge = "{level}"\n']
        for name in names:
            text.append(
                f'[servers.{name}]\nclients = "{LOCAL}:{clients[name]}"\nlinks = "{LOCAL}:{links[name]}"\n'
                f'http = "{LOCAL}:{https[name]}"\ntalks_to = {json.dumps(neighbours[name])}\n'
            )
        config = folder / "herd.toml"
        config.write_text("\n".join(text))
        return [
            Server(name, clients[name], [str(wherd), "--config", str(config), "serve", name, *options])
            for name in names
        ]
    servers = []
    for name in names:
        command = [str(PEERS / peer["start"][0]), *peer["start"][1:]]
        command += ["--name", name, "--port", str(clients[name]), "--link-port", str(links[name])]
        for other in neighbours[name]:
            command += ["--peer", f"{other}={LOCAL}:{links[other]}"]
        if is_durable:
            data = folder / "data"
            data.mkdir(exist_ok=True)
            command += ["--data-dir", str(data)]
        else:
            command.append("--only-memory")
        servers.append(Server(name, clients[name], [*command, *options]))
    return servers


def start(servers, processes, core=None):
    """Starts servers, and waits until all listen."""
    for server in servers:
        server.process = processes.start(server.command, core)
    end = time.monotonic() + START
    for server in servers:
        while True:
            processes.check()
            try:
                connect(server.port).close()
                break
            except OSError:
                if time.monotonic() > end:
                    raise Failure(f"nobody listens after {START} s") from None
                time.sleep(0.02)
