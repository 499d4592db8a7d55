//! A herd of real processes whose links go through proxies, with clients, a history and a checker.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tokio::runtime::{Builder, Runtime};
use wherd_server::status::Status;

use crate::checker::{Checker, Counts, Promise};
use crate::herd::{Client, FIVE, SLACK, Server, free_port, program, wait_until};
use crate::history::{Finals, Recorder, Run, shown};
use crate::load::Load;
use crate::options::{Acknowledge, Folder, Options};
use crate::plan::{border, wires};
use crate::proxy::{self, Side, Wire};
use crate::server::Member;

/// How long after the last fault all servers have to agree and to be ready. Debug builds on a
/// machine that others use, too, may take longer than they promise.
pub(crate) const AGREEMENT_LIMIT: Duration = Duration::from_secs(5);
/// How often a condition is looked at.
const POLL: Duration = Duration::from_millis(5);
/// How many questions are in flight when all servers are asked for everything.
const QUESTIONS_AT_ONCE: usize = 100;

/// The herd.
pub(crate) struct Trial {
    // Dropped first: clients and proxies of servers that are gone would only complain.
    pub(crate) load: Load,
    pub(crate) members: Vec<Arc<Member>>,
    /// As in [`wires`].
    pub(crate) wires: Vec<Arc<Wire>>,
    pub(crate) recorder: Arc<Recorder>,
    checker: Checker,
    pub(crate) promise: Promise,
    page: u32,
    _runtime: Runtime,
    acknowledge: Acknowledge,
    folder: PathBuf,
    _kept: Folder,
}

/// What became of one page of the history.
pub(crate) struct Healed {
    pub(crate) counts: Counts,
    /// From the last fault until all agreed and were ready.
    pub(crate) agreed_after: Duration,
}

impl Trial {
    /// Starts the five servers in a folder of their own; waits until they are linked and ready.
    pub(crate) fn start(name: &str, options: &Options, pause_ms: u64) -> Self {
        Self::start_wrapped(name, options, pause_ms, &[])
    }

    /// The same, with a command around some of the servers.
    pub(crate) fn start_wrapped(
        name: &str,
        options: &Options,
        pause_ms: u64,
        wrappers: &[(usize, &[&str])],
    ) -> Self {
        let owned = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect();
        let wrappers = wrappers
            .iter()
            .map(|(server, words)| (*server, owned(words)));
        Self::start_on(name, options, pause_ms, |runtime, folder| {
            let mut layout = Layout::with_proxies(runtime, folder, options.seed);
            layout.wrappers = wrappers.collect();
            layout
        })
    }

    /// The same, wherever the layout says.
    pub(crate) fn start_on(
        name: &str,
        options: &Options,
        pause_ms: u64,
        lay_out: impl FnOnce(&Runtime, &Path) -> Layout,
    ) -> Self {
        let kept = Folder::create(&format!("{name}-{}", options.seed));
        let folder = kept.path();
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let layout = lay_out(&runtime, &folder);
        for (own, server) in layout.servers.iter().enumerate() {
            let path = folder.join(format!("{}.toml", server.name));
            fs::write(path, layout.config(own, options.acknowledge)).expect("written");
        }
        let members = layout.members(&folder, options);
        let wires = layout.wires;
        let recorder = Recorder::create(&folder.join("history-0.jsonl"));
        let recorder = Arc::new(recorder.expect("a file"));
        let handle = runtime.handle();
        let load = Load::start(handle, options.seed, &members, &recorder, pause_ms);
        let trial = Self {
            load,
            members,
            wires,
            recorder,
            checker: Checker::default(),
            promise: Promise::default(),
            page: 0,
            _runtime: runtime,
            acknowledge: options.acknowledge,
            folder,
            _kept: kept,
        };
        trial.start_all();
        wait_until("the herd's links", || {
            trial.disagreement(&mut None).is_none()
        });
        trial
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(crate) fn member(&self, server: usize) -> &Member {
        &self.members[server]
    }

    /// The run that there is ends: where reports are in memory, its acknowledgements may go with
    /// it.
    pub(crate) fn excuse(&mut self, server: usize) {
        if self.acknowledge == Acknowledge::Memory {
            self.promise.excused.extend(self.members[server].run());
        }
    }

    /// What the disk of the server had is gone, with what only it had.
    pub(crate) fn excuse_disk(&mut self, server: usize) {
        let Some(run) = self.members[server].run() else {
            return;
        };
        let earlier = (0..run.number).map(|number| Run { number, ..run });
        self.promise.excused.extend(earlier);
    }

    /// From then on until the next check the server may refuse reports.
    pub(crate) fn trouble(&mut self, server: usize, from: Duration) {
        let name = self.members[server].name;
        self.promise.troubled.push((name, from, Duration::MAX));
    }

    /// The folder of the servers' data.
    pub(crate) fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    /// `kill -9` of all servers, as much at once as can be.
    pub(crate) fn kill_all(&self) {
        for member in &self.members {
            member.signal(Signal::KILL);
        }
        for member in &self.members {
            member.reap();
        }
    }

    pub(crate) fn start_all(&self) {
        for member in &self.members {
            member.start();
        }
    }

    /// Cuts these servers off from all others, or lets them meet again.
    pub(crate) fn cut(&self, group: &BTreeSet<usize>, is_cut: bool) {
        for wire in border(group) {
            self.wires[wire].change(|weather| weather.is_cut = is_cut);
        }
    }

    /// Holds back all that a server sends to others and they to it, or lets it go on.
    pub(crate) fn stall(&self, server: usize, is_stalled: bool) {
        for wire in border(&BTreeSet::from([server])) {
            self.wires[wire].change(|weather| {
                for flow in &mut weather.flows {
                    flow.is_stalled = is_stalled;
                }
            });
        }
    }

    /// Closes the load, waits until the herd agrees, and checks all that happened since the last
    /// time. The faults are over.
    ///
    /// # Panics
    /// With what was wrong.
    pub(crate) fn check(&mut self) -> Healed {
        let healed_at = Instant::now();
        self.load.close();
        let agreed_after = self.wait_for_agreement(healed_at);
        self.wait_until_still();
        let page = self.page;
        self.page += 1;
        let next = self.folder.join(format!("history-{}.jsonl", self.page));
        let exchanges = self.recorder.turn_page(&next).expect("a file");
        let clients = self.checker.clients(&exchanges);
        let finals = self.ask_all(&clients);
        let mut promise = std::mem::take(&mut self.promise);
        if let Acknowledge::Neighbour(_) = self.acknowledge {
            // Any server may be without enough neighbours at any time.
            let all = self.members.iter().map(|member| member.name);
            let always = all.map(|name| (name, Duration::ZERO, Duration::MAX));
            promise.troubled.extend(always);
        }
        let (counts, faults) = self.checker.check(exchanges, &finals, &promise);
        assert!(
            faults.is_empty(),
            "history-{page}.jsonl breaks promises:\n{}",
            faults.join("\n")
        );
        // It is right, so nobody will read it.
        let _ = fs::remove_file(self.folder.join(format!("history-{page}.jsonl")));
        Healed {
            counts,
            agreed_after,
        }
    }

    /// How long it took since `healed_at`.
    pub(crate) fn wait_for_agreement(&self, healed_at: Instant) -> Duration {
        let mut seen = None;
        loop {
            let disagreement = self.disagreement(&mut seen);
            let taken = healed_at.elapsed();
            let Some(why) = disagreement else {
                return taken;
            };
            assert!(
                taken < AGREEMENT_LIMIT * SLACK,
                "no agreement {taken:?} after the last fault: {why}"
            );
            thread::sleep(POLL);
        }
    }

    /// Why the herd does not agree yet; `None` where all hold the same and are ready.
    fn disagreement(&self, seen: &mut Option<Vec<(u64, String)>>) -> Option<String> {
        let mut held = Vec::new();
        for member in &self.members {
            if let Some(status) = member.ended() {
                panic!("{}", self.end_of(member, status));
            }
            match status(&member.server) {
                Ok(status) if status.is_ready => held.push((status.clients_count, status.digest)),
                Ok(status) => {
                    return Some(format!("{}: {}", member.name, status.not_ready.join(", ")));
                }
                Err(error) => return Some(format!("{}: {error}", member.name)),
            }
        }
        let is_one = held.iter().all(|one| *one == held[0]);
        let why = (!is_one).then(|| format!("they hold {held:?}"));
        *seen = Some(held);
        why
    }

    /// What there is to say about a server that ended by itself.
    fn end_of(&self, member: &Member, status: ExitStatus) -> String {
        format!(
            "{} ended by itself: {status}\n{}",
            member.name,
            member.words()
        )
    }

    /// Waits until clients have nothing in flight, and then until all hold the same: what a
    /// client left behind in a socket may be read a moment later.
    fn wait_until_still(&self) {
        wait_until("clients with nothing in flight", || self.load.is_quiet());
        let mut last = None;
        wait_until("servers that do not change", || {
            let mut held = None;
            let is_agreed = self.disagreement(&mut held).is_none();
            let is_same = is_agreed && held == last;
            last = held;
            is_same
        });
    }

    /// What each server tells of each of these.
    pub(crate) fn ask_all(&self, clients: &BTreeSet<Vec<u8>>) -> Finals {
        let asked = self
            .members
            .iter()
            .map(|member| (member.name, ask(&member.server, clients)));
        asked.collect()
    }

    /// `wherd verify` says that all servers hold the same.
    pub(crate) fn check_verify(&self) {
        let mut verify = program(&self.folder);
        verify.args(["--config", "Hill.toml", "verify"]);
        let output = verify
            .stderr(Stdio::piped())
            .stdout(Stdio::piped())
            .output();
        let output = output.expect("it runs");
        assert!(output.status.success(), "wherd verify: {output:?}");
    }

    /// What passed between the servers, for the summary.
    pub(crate) fn traffic(&self) -> String {
        let bytes = self.wires.iter().map(|wire| wire.bytes());
        let (passed, swallowed) = bytes.fold((0, 0), |sum, wire| (sum.0 + wire.0, sum.1 + wire.1));
        format!("between servers: {passed} bytes passed, {swallowed} were swallowed")
    }
}

/// Asks one server for all of these clients.
pub(crate) fn ask(server: &Server, clients: &BTreeSet<Vec<u8>>) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let clients: Vec<&Vec<u8>> = clients.iter().collect();
    let mut told = BTreeMap::new();
    let mut connection = server.connect();
    for some in clients.chunks(QUESTIONS_AT_ONCE) {
        let questions: Vec<Vec<u8>> = some
            .iter()
            .map(|client| [b"WHATSAT ", client.as_slice(), b" 0 0"].concat())
            .collect();
        connection.send(&[questions.join(&b'\n'), b"\n".to_vec()].concat());
        for (client, question) in some.iter().zip(&questions) {
            if let Some(at_line) = hear(&mut connection, question) {
                told.insert((*client).clone(), at_line);
            }
        }
    }
    told
}

/// The AT line of an answer; `None` where the client is not known.
fn hear(connection: &mut Client, question: &[u8]) -> Option<Vec<u8>> {
    let mut line = connection.read_line();
    line.pop();
    if line.starts_with(b"AT ") {
        connection.read_places();
        return Some(line);
    }
    let refusal = [b"? ", question].concat();
    assert!(line == refusal, "{} to {}", shown(&line), shown(question));
    None
}

/// What it says of itself, where it answers.
pub(crate) fn status(server: &Server) -> Result<Status, String> {
    let (code, _, body) = server
        .try_get("/api/v1/status")
        .map_err(|e| e.to_string())?;
    if code != 200 {
        return Err(format!("status {code}"));
    }
    serde_json::from_str(&body).map_err(|error| error.to_string())
}

/// A server on ports that were free.
pub(crate) fn place(name: &str, folder: &Path) -> Server {
    let address = || SocketAddr::from(([127, 0, 0, 1], free_port()));
    Server {
        name: name.to_owned(),
        clients: address(),
        links: address(),
        http: address(),
        pid: 0,
        log: folder.join("logs").join(format!("{name}.log")),
    }
}

/// Where servers are, and what each dials to reach its neighbours.
pub(crate) struct Layout {
    /// As in [`FIVE`].
    pub(crate) servers: Vec<Server>,
    /// As in [`wires`], where there are proxies.
    pub(crate) wires: Vec<Arc<Wire>>,
    /// What a server dials for another, where that is not the other's own address.
    pub(crate) dialled: BTreeMap<(usize, usize), SocketAddr>,
    /// Commands that end in running a server, in the place of themselves.
    pub(crate) wrappers: BTreeMap<usize, Vec<String>>,
    /// What else is in the section `[herd]`.
    pub(crate) herd: String,
}

impl Layout {
    /// Servers on ports that were free, and a proxy for each that dials another.
    fn with_proxies(runtime: &Runtime, folder: &Path, seed: u64) -> Self {
        let servers: Vec<Server> = FIVE.iter().map(|(name, _)| place(name, folder)).collect();
        let all: Vec<_> = wires().iter().map(|_| Wire::new()).collect();
        let mut dialled = BTreeMap::new();
        for ((one, other), wire) in wires().into_iter().zip(&all) {
            let ways = [(one, other, Side::First), (other, one, Side::Second)];
            for (dialler, target, side) in ways {
                let handle = runtime.handle();
                let seed = seed ^ dialled.len() as u64;
                let to = servers[target].links;
                let address = proxy::listen(handle, Arc::clone(wire), side, to, seed);
                dialled.insert((dialler, target), address.expect("a port"));
            }
        }
        Self {
            servers,
            wires: all,
            dialled,
            wrappers: BTreeMap::new(),
            herd: String::new(),
        }
    }

    fn members(&self, folder: &Path, options: &Options) -> Vec<Arc<Member>> {
        let data: &[&str] = if options.has_disks() {
            &["--data-dir", "data"]
        } else {
            &["--ephemeral"]
        };
        let members = self.servers.iter().zip(FIVE).enumerate();
        members
            .map(|(number, (server, (name, _)))| {
                let mut member = Member::new(server.clone(), name, folder, data);
                member.wrapper = self.wrappers.get(&number).cloned().unwrap_or_default();
                Arc::new(member)
            })
            .collect()
    }

    /// What one server is told of the herd: its own ports, and what it dials.
    fn config(&self, own: usize, acknowledge: Acknowledge) -> String {
        let mut toml = format!(
            "[herd]\nname = \"chaos\"\nacknowledge = \"{acknowledge}\"\n{}",
            self.herd
        );
        for (number, (server, (_, talks_to))) in self.servers.iter().zip(FIVE).enumerate() {
            // Servers that are no neighbours have no proxy between them, and never dial.
            let links = self.dialled.get(&(own, number)).unwrap_or(&server.links);
            toml += &format!(
                "[servers.{}]\ntalks_to = {talks_to:?}\nclients = \"{}\"\nlinks = \"{links}\"\n\
                 http = \"{}\"\n",
                server.name, server.clients, server.http
            );
        }
        // Small journals, so that they are compacted all the time; and logs for people to read.
        toml + "[journal]\ncompact_min_bytes = 65536\ncompact_factor = 2\n\
                [log]\ntraffic_lines_per_second = 2000\nrotate_bytes = 33554432\nkeep = 2\n"
    }
}
