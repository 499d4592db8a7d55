//! A herd of real processes on ports that were free, and who talks to it.
//!
//! Every test starts a herd of its own in a folder of its own, so tests run side by side. Nothing
//! here sleeps for a time that was guessed: it waits for a condition, with a deadline. What a test
//! that failed needs to be understood, the end of every server's log, is printed when its herd is
//! dropped.

use std::fs;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use tempfile::TempDir;
use wherd_proto::frame::{self, Frame, Hello, PROTOCOL_VERSION};
use wherd_proto::{Origin, ServerName};
use wherd_server::status::{PortsFile, Status};

/// The servers of the default herd, each with whom it talks to.
pub(crate) const FIVE: [(&str, &[&str]); 5] = [
    ("Hill", &["Jaquez", "Smith"]),
    ("Jaquez", &["Hill", "Singleton"]),
    ("Smith", &["Hill", "Singleton", "Campbell"]),
    ("Campbell", &["Smith", "Singleton"]),
    ("Singleton", &["Jaquez", "Smith", "Campbell"]),
];

/// How long anything may take before a test gives up on it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
/// How often a condition is looked at.
const POLL: Duration = Duration::from_millis(3);
/// How much of a log is printed when a test fails.
const TAIL_LINES: usize = 40;
/// Debug builds, and the machines of others that run them, may take this many times as long.
pub(crate) const SLACK: u32 = if cfg!(debug_assertions) { 5 } else { 1 };

/// Waits until `look` finds something.
pub(crate) fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        thread::sleep(POLL);
    }
}

/// Waits until `is_so`.
pub(crate) fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    wait_for(what, || is_so().then_some(()));
}

/// The first of a few tries that is quick enough, or a panic with how long each took.
///
/// A promise about time is about the herd. What else the machine does can only make it look
/// slower, so one try that keeps the promise shows that the herd can.
pub(crate) fn check_within(limit: Duration, mut measure: impl FnMut() -> Duration) {
    let mut taken = Vec::new();
    for _ in 0..8 {
        taken.push(measure());
        if taken.last() <= Some(&limit) {
            return eprintln!("within {limit:?}: {taken:?}");
        }
    }
    panic!("never within {limit:?}: {taken:?}");
}

/// Nanoseconds since 1970.
pub(crate) fn now_ns() -> i128 {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH);
    since_1970.expect("after 1970").as_nanos() as i128
}

/// The time as a client writes it.
pub(crate) fn now_text() -> String {
    let now = now_ns();
    format!("{}.{:09}", now / 1_000_000_000, now % 1_000_000_000)
}

/// Bytes for a message.
pub(crate) fn shown(bytes: &[u8]) -> String {
    let text = bytes.escape_ascii().to_string();
    match text.char_indices().nth(2000) {
        Some((end, _)) => format!("{} … ({} bytes)", &text[..end], bytes.len()),
        None => text,
    }
}

/// `wherd` in this folder, with nothing of the surroundings that could choose a configuration.
pub(crate) fn program(folder: &Path) -> Command {
    settled(Command::new(assert_cmd::cargo::cargo_bin!("wherd")), folder)
}

/// The same, with these limits of open files, the soft and the hard one.
fn limited_program(folder: &Path, [soft, hard]: [u64; 2]) -> Command {
    let script = format!("ulimit -S -n {soft} && ulimit -H -n {hard} && exec \"$0\" \"$@\"");
    let mut shell = Command::new("sh");
    shell
        .args(["-c", &script])
        .arg(assert_cmd::cargo::cargo_bin!("wherd"));
    settled(shell, folder)
}

/// Any program, in this folder and with nothing of the surroundings.
pub(crate) fn settled(mut command: Command, folder: &Path) -> Command {
    command
        .current_dir(folder)
        .env_remove("WHERD_CONFIG")
        .env_remove("WHERD_PLACES_KEY")
        .env("XDG_CONFIG_HOME", folder)
        .env("NO_COLOR", "1")
        .env("LC_ALL", "C.UTF-8")
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    command
}

/// A terminal: who sits there, and how a program opens it.
pub(crate) fn terminal() -> (fs::File, impl Fn() -> fs::File) {
    // Other tests start servers just now, which must not hold it open.
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let terminal = openpt(flags).expect("a terminal");
    grantpt(&terminal).expect("a terminal");
    unlockpt(&terminal).expect("a terminal");
    let name = ptsname(&terminal, Vec::new()).expect("a terminal");
    let name = name.into_string().expect("a path");
    let open = move || {
        let opened = fs::OpenOptions::new().read(true).write(true).open(&name);
        opened.expect("a terminal")
    };
    (terminal.into(), open)
}

/// One server of a herd that does not run yet.
struct ServerSetup {
    name: String,
    talks_to: Vec<String>,
    clients: u16,
    links: u16,
    http: u16,
}

impl ServerSetup {
    fn new(name: &str, talks_to: &[&str]) -> Self {
        Self {
            name: name.to_owned(),
            talks_to: talks_to.iter().map(|&name| name.to_owned()).collect(),
            clients: free_port(),
            links: free_port(),
            http: free_port(),
        }
    }
}

/// A port that is free, and that no other test is given: while a server is stopped its neighbours
/// dial its port, and should find no other herd there.
pub(crate) fn free_port() -> u16 {
    // Below those that the system gives to outgoing connections.
    const PORTS: Range<u16> = 10_000..32_768;
    static NEXT: Mutex<u16> = Mutex::new(0);
    let mut next = NEXT.lock().expect("nobody panics with it");
    if *next == 0 {
        // Other runs of the tests look elsewhere.
        *next = PORTS.start + (now_ns() % PORTS.len() as i128) as u16;
    }
    loop {
        let port = *next;
        *next = if port + 1 < PORTS.end {
            port + 1
        } else {
            PORTS.start
        };
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// What a herd is like before it runs.
pub(crate) struct Setup {
    servers: Vec<ServerSetup>,
    only: Vec<String>,
    toml: String,
    is_classic: bool,
    is_ephemeral: bool,
    acknowledge: &'static str,
    open_files: Option<[u64; 2]>,
    folder: TempDir,
}

impl Setup {
    /// The five servers with the default edges.
    pub(crate) fn five() -> Self {
        Self::of(&FIVE)
    }

    /// Hill alone.
    pub(crate) fn lonely() -> Self {
        Self::of(&[("Hill", &[])])
    }

    /// These servers, each with whom it talks to.
    pub(crate) fn of(servers: &[(&str, &[&str])]) -> Self {
        let servers = servers.iter();
        Self {
            servers: servers
                .map(|(name, talks_to)| ServerSetup::new(name, talks_to))
                .collect(),
            only: Vec::new(),
            toml: String::new(),
            is_classic: false,
            is_ephemeral: false,
            acknowledge: "disk",
            open_files: None,
            folder: tempfile::tempdir().expect("a folder"),
        }
    }

    /// Starts only these of its servers.
    pub(crate) fn only(mut self, names: &[&str]) -> Self {
        self.only = names.iter().map(|&name| name.to_owned()).collect();
        self
    }

    /// Sections of the configuration.
    pub(crate) fn with(mut self, toml: &str) -> Self {
        self.toml.push_str(toml);
        self.toml.push('\n');
        self
    }

    /// The link port of a server that is not started.
    pub(crate) fn with_link_port(mut self, name: &str, port: u16) -> Self {
        let server = self.servers.iter_mut().find(|server| server.name == name);
        server.expect("a server of this name").links = port;
        self
    }

    /// With these limits of open files, the soft and the hard one.
    pub(crate) fn with_open_files(mut self, limits: [u64; 2]) -> Self {
        self.open_files = Some(limits);
        self
    }

    pub(crate) fn classic(mut self) -> Self {
        self.is_classic = true;
        self
    }

    pub(crate) fn ephemeral(mut self) -> Self {
        self.is_ephemeral = true;
        self
    }

    /// What acknowledgements wait for.
    pub(crate) fn acknowledging(mut self, level: &'static str) -> Self {
        self.acknowledge = level;
        self
    }

    /// Where it will run.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    fn config(&self) -> String {
        let acknowledge = self.acknowledge;
        let mut toml = format!("[herd]\nname = \"tested\"\nacknowledge = {acknowledge:?}\n");
        for server in &self.servers {
            toml += &format!(
                "[servers.{}]\ntalks_to = {:?}\n",
                server.name, server.talks_to
            );
            let ports = [
                ("clients", server.clients),
                ("links", server.links),
                ("http", server.http),
            ];
            for (what, port) in ports {
                toml += &format!("{what} = \"127.0.0.1:{port}\"\n");
            }
        }
        toml + &self.toml
    }

    /// Starts `wherd up`, and waits until the ports are known.
    pub(crate) fn bind(self) -> Herd {
        let words = fs::File::create(self.folder().join("up.err")).expect("created");
        self.bind_with_stderr(words.into())
    }

    /// The same, with this for the standard error of `wherd up`.
    pub(crate) fn bind_with_stderr(self, words: Stdio) -> Herd {
        let folder = self.folder();
        fs::write(folder.join("herd.toml"), self.config()).expect("written");
        let mut command = match self.open_files {
            None => program(folder),
            Some(limits) => limited_program(folder, limits),
        };
        command.args(["--config", "herd.toml", "up", "--json"]);
        command.args(["--ports-file", "ports.json", "--log-dir", "logs"]);
        if self.is_ephemeral {
            command.arg("--ephemeral");
        }
        if self.is_classic {
            command.arg("--classic");
        }
        if !self.only.is_empty() {
            command.arg("--only").args(&self.only);
        }
        let spawned_at = Instant::now();
        let mut up = command.stderr(words).spawn().expect("wherd up runs");
        let ports_file = folder.join("ports.json");
        let ports = wait_for("the ports file", || {
            if let Some(status) = up.try_wait().expect("a child of ours") {
                let words = fs::read_to_string(folder.join("up.err")).unwrap_or_default();
                panic!("wherd up ended: {status}\n{words}");
            }
            read_ports(&ports_file)
        });
        Herd {
            ports,
            up,
            own: Vec::new(),
            spawned_at,
            setup: self,
        }
    }

    /// As [`Self::bind`], and waits until all links are up and all servers ready.
    pub(crate) fn start(self) -> Herd {
        let herd = self.bind();
        herd.wait_until_linked();
        herd
    }
}

fn read_ports(file: &Path) -> Option<PortsFile> {
    // It is renamed into its place, so it is whole where it is there.
    let text = fs::read(file).ok()?;
    Some(serde_json::from_slice(&text).expect("a ports file"))
}

/// A herd that runs, until it is dropped.
pub(crate) struct Herd {
    setup: Setup,
    ports: PortsFile,
    up: Child,
    /// The servers that were started again, which are children of this process.
    own: Vec<(String, Child)>,
    /// When `wherd up` was spawned.
    pub(crate) spawned_at: Instant,
}

/// How a server is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// SIGTERM.
    Asked,
    /// SIGKILL.
    Killed,
}

impl Herd {
    /// The servers that `wherd up` started.
    pub(crate) fn servers(&self) -> Vec<Server> {
        let names = self.setup.servers.iter().map(|server| &server.name);
        let started = names.filter(|name| self.ports.servers.contains_key(*name));
        started.map(|name| self.server(name)).collect()
    }

    /// One of them.
    pub(crate) fn server(&self, name: &str) -> Server {
        let ports = &self.ports.servers[name];
        let address = |text: &str| text.parse().expect("an address with a number");
        Server {
            name: name.to_owned(),
            clients: address(&ports.addresses.clients),
            links: address(&ports.addresses.links),
            http: address(&ports.addresses.http),
            pid: ports.pid,
            log: self.folder().join(&ports.log),
        }
    }

    pub(crate) fn folder(&self) -> &Path {
        self.setup.folder()
    }

    pub(crate) fn config_file(&self) -> PathBuf {
        self.folder().join("herd.toml")
    }

    /// Changes the configuration; nobody reads it before [`Self::reload`].
    pub(crate) fn rewrite(&self, change: impl FnOnce(String) -> String) {
        let file = self.config_file();
        let text = fs::read_to_string(&file).expect("a configuration");
        // Beside and renamed: a server may be reading it.
        let beside = file.with_extension("new");
        fs::write(&beside, change(text)).expect("written");
        fs::rename(beside, file).expect("renamed");
    }

    /// Lets a server read the configuration again, and waits until it has.
    pub(crate) fn reload(&self, name: &str) {
        let server = self.server(name);
        let count = || server.log().matches(" reload.done ").count();
        let before = count();
        server.signal(Signal::HUP);
        wait_until(&format!("the reload of {name}"), || count() > before);
    }

    /// What `wherd up` complained about so far.
    pub(crate) fn words(&self) -> String {
        fs::read_to_string(self.folder().join("up.err")).unwrap_or_default()
    }

    /// Waits until every server has a link to each neighbour that runs, and is ready.
    pub(crate) fn wait_until_linked(&self) {
        let names: Vec<String> = self.servers().into_iter().map(|s| s.name).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        self.wait_until_these_are_linked(&names);
    }

    /// The same of some of its servers, among themselves.
    pub(crate) fn wait_until_these_are_linked(&self, names: &[&str]) {
        for name in names {
            let server = self.server(name);
            wait_until(&format!("the links and the readiness of {name}"), || {
                let status = server.status();
                let mut wanted = status
                    .neighbours
                    .iter()
                    .filter(|n| names.contains(&&*n.name));
                wanted.all(|n| n.is_up) && (status.is_ready || names.len() < 2)
            });
        }
    }

    /// Waits until these servers hold the same, that many clients.
    pub(crate) fn wait_until_equal(&self, names: &[&str], clients_count: u64) {
        wait_until(
            &format!("{clients_count} clients, the same on {names:?}"),
            || {
                let all = names.iter().map(|name| self.server(name).status());
                let all: Vec<_> = all.map(|s| (s.clients_count, s.digest)).collect();
                all.iter()
                    .all(|one| one.0 == clients_count && *one == all[0])
            },
        );
    }

    /// Stops one server, and waits until its process is gone.
    pub(crate) fn stop(&mut self, name: &str, how: Stop) {
        let server = self.server(name);
        server.signal(match how {
            Stop::Asked => Signal::TERM,
            Stop::Killed => Signal::KILL,
        });
        if let Some(place) = self.own.iter().position(|own| own.0 == name) {
            let mut child = self.own.swap_remove(place).1;
            child.wait().expect("a child of ours");
        }
        wait_until(&format!("the end of {name}"), || !server.is_running());
    }

    /// Waits until a server ends that was started again.
    pub(crate) fn ended(&mut self, name: &str) -> ExitStatus {
        let place = self.own.iter().position(|own| own.0 == name);
        let mut child = self.own.swap_remove(place.expect("a child of ours")).1;
        wait_for(&format!("the end of {name}"), || {
            child.try_wait().expect("a child of ours")
        })
    }

    /// Starts a server again, on the ports that it had.
    pub(crate) fn restart(&mut self, name: &str) {
        self.restart_with(name, &[]);
    }

    /// The same, with more options.
    pub(crate) fn restart_with(&mut self, name: &str, options: &[&str]) {
        let words = fs::File::create(self.folder().join(format!("{name}-again.err")));
        self.start_again(name, words.expect("created").into(), options);
    }

    /// The same, with this for its standard error.
    pub(crate) fn restart_with_stderr(&mut self, name: &str, stderr: Stdio) {
        self.start_again(name, stderr, &[]);
    }

    fn start_again(&mut self, name: &str, stderr: Stdio, options: &[&str]) {
        let ports_file = format!("{name}-again.json");
        let mut command = program(self.folder());
        command.arg("--config").arg(self.config_file());
        command.args([
            "serve",
            name,
            "--log-dir",
            "logs",
            "--ports-file",
            &ports_file,
        ]);
        command.args(options);
        if self.setup.is_ephemeral {
            command.arg("--ephemeral");
        }
        if self.setup.is_classic {
            command.arg("--classic");
        }
        let path = self.folder().join(ports_file);
        // One of an earlier run would be taken for this one's.
        let _ = fs::remove_file(&path);
        let child = command.stderr(stderr).spawn().expect("it runs");
        // Ours from here on: it is ended whatever becomes of the test.
        self.own.push((name.to_owned(), child));
        let words = self.folder().join(format!("{name}-again.err"));
        let (_, child) = self.own.last_mut().expect("it was pushed");
        let ports = wait_for("the ports file of a server", || {
            if let Some(status) = child.try_wait().expect("a child of ours") {
                let words = fs::read_to_string(&words).unwrap_or_default();
                // Another run of the tests may have had the port for a moment.
                assert_eq!(status.code(), Some(75), "{name} ended: {status}\n{words}");
                *child = command.spawn().expect("it runs");
            }
            read_ports(&path)
        });
        self.ports.servers.extend(ports.servers);
    }

    /// Sends `wherd up` a signal.
    pub(crate) fn signal_up(&self, signal: Signal) {
        kill(self.up.id(), signal);
    }

    /// Waits until `wherd up` ends.
    pub(crate) fn up_ended(&mut self) -> ExitStatus {
        let up = &mut self.up;
        wait_for("the end of wherd up", || {
            up.try_wait().expect("a child of ours")
        })
    }
}

fn kill(pid: u32, signal: Signal) {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    // Who is gone already needs no signal.
    let _ = kill_process(pid.expect("the id of a process"), signal);
}

impl Drop for Herd {
    fn drop(&mut self) {
        for (_, child) in &mut self.own {
            let _ = child.kill();
            let _ = child.wait();
        }
        // It stops its servers, which end with it even where it is killed.
        self.signal_up(Signal::TERM);
        let deadline = Instant::now() + Duration::from_secs(5);
        while Instant::now() < deadline && matches!(self.up.try_wait(), Ok(None)) {
            thread::sleep(POLL);
        }
        let _ = self.up.kill();
        let _ = self.up.wait();
        if thread::panicking() {
            self.print_what_happened();
        }
    }
}

impl Herd {
    fn print_what_happened(&self) {
        eprintln!("--- wherd up said\n{}", self.words());
        for (name, ports) in &self.ports.servers {
            let log = fs::read(self.folder().join(&ports.log)).unwrap_or_default();
            let log = String::from_utf8_lossy(&log).into_owned();
            let lines: Vec<_> = log.lines().collect();
            let (begin, tail) = lines.split_at(lines.len().saturating_sub(TAIL_LINES));
            let links = begin.iter().filter(|line| line.contains("Z link."));
            let told: Vec<_> = links.chain(tail).map(|l| shown(l.as_bytes())).collect();
            eprintln!(
                "--- of its links, and the end of {name}.log\n{}",
                told.join("\n")
            );
        }
    }
}

/// Where one server is.
#[derive(Clone, Debug)]
pub(crate) struct Server {
    pub(crate) name: String,
    pub(crate) clients: SocketAddr,
    pub(crate) links: SocketAddr,
    pub(crate) http: SocketAddr,
    pub(crate) pid: u32,
    pub(crate) log: PathBuf,
}

impl Server {
    pub(crate) fn signal(&self, signal: Signal) {
        // The process may be a child of `wherd up`, whose id could be another's once it is gone.
        if self.is_running() {
            kill(self.pid, signal);
        }
    }

    /// Whether its process is there and is still this server.
    pub(crate) fn is_running(&self) -> bool {
        let arguments = fs::read(format!("/proc/{}/cmdline", self.pid)).unwrap_or_default();
        let mut arguments = arguments.split(|byte| *byte == 0);
        arguments.any(|argument| argument == self.name.as_bytes())
    }

    /// Whether all of its ports can be listened on by somebody else.
    pub(crate) fn has_freed_its_ports(&self) -> bool {
        let addresses = [self.clients, self.links, self.http];
        addresses
            .iter()
            .all(|address| TcpListener::bind(address).is_ok())
    }

    pub(crate) fn connect(&self) -> Client {
        Client::connect(self.clients)
    }

    /// What it answers to these bytes, when a client sends them, half-closes and reads to the end.
    pub(crate) fn talk(&self, bytes: &[u8]) -> Vec<u8> {
        let mut client = self.connect();
        client.send(bytes);
        client.half_close();
        client.read_to_end()
    }

    /// Reports a client; the AT line of the answer.
    pub(crate) fn iamat(&self, id: &str, position: &str, time: &str) -> Vec<u8> {
        let operands = format!("{id} {position} {time}");
        let reply = self.talk(format!("IAMAT {operands}\n").as_bytes());
        let pattern = format!("AT {} <skew> {operands}\n", self.name);
        check_matches(pattern.as_bytes(), &reply, &operands);
        reply
    }

    /// The AT line of the answer to a WHATSAT, or `None` where the client is not known.
    pub(crate) fn whatsat(&self, id: &str) -> Option<Vec<u8>> {
        let question = format!("WHATSAT {id} 0 0\n");
        let reply = self.talk(question.as_bytes());
        if reply == format!("? {question}").as_bytes() {
            return None;
        }
        let end = reply.iter().position(|byte| *byte == b'\n');
        let end = end.unwrap_or_else(|| panic!("no line: {}", shown(&reply)));
        check_matches(b"\n<places>", &reply[end..], &question);
        Some(reply[..=end].to_vec())
    }

    /// Waits until it answers a WHATSAT with this AT line.
    pub(crate) fn wait_until_it_tells(&self, id: &str, at_line: &[u8]) {
        let what = format!("{} from {}", shown(at_line), self.name);
        wait_until(&what, || self.whatsat(id).as_deref() == Some(at_line));
    }

    /// What it answers to a GET: the code, the header and the body.
    pub(crate) fn get(&self, path: &str) -> (u16, String, String) {
        let reply = self.try_get(path);
        reply.unwrap_or_else(|error| panic!("GET {path} of {}: {error}", self.name))
    }

    pub(crate) fn try_get(&self, path: &str) -> std::io::Result<(u16, String, String)> {
        let mut stream = TcpStream::connect(self.http)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let request = format!("GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes())?;
        let mut reply = String::new();
        stream.read_to_string(&mut reply)?;
        let (head, body) = reply.split_once("\r\n\r\n").unwrap_or((&reply, ""));
        let code = head.split(' ').nth(1).and_then(|code| code.parse().ok());
        let code = code.ok_or_else(|| std::io::Error::other(format!("no HTTP: {reply:?}")))?;
        Ok((code, head.to_ascii_lowercase(), body.to_owned()))
    }

    pub(crate) fn status(&self) -> Status {
        let (code, _, body) = self.get("/api/v1/status");
        assert_eq!(code, 200, "{body}");
        serde_json::from_str(&body).expect("a status")
    }

    /// The value of a metric.
    pub(crate) fn metric(&self, name: &str) -> f64 {
        let (_, _, text) = self.get("/metrics");
        let mut lines = text.lines().filter_map(|line| line.split_once(' '));
        let value = lines.find(|line| line.0 == name).map(|line| line.1);
        let value = value.unwrap_or_else(|| panic!("no {name} in {text}"));
        value.parse().expect("a number")
    }

    /// Its log so far.
    pub(crate) fn log(&self) -> String {
        let bytes = fs::read(&self.log).expect("a log");
        String::from_utf8(bytes).expect("a log is text")
    }

    /// Waits until there is a line in its log that has all of these in it, and returns it.
    pub(crate) fn wait_for_log(&self, fragments: &[&str]) -> String {
        wait_for(&format!("{fragments:?} in {}.log", self.name), || {
            let log = self.log();
            let has_all = |line: &&str| fragments.iter().all(|fragment| line.contains(fragment));
            log.lines().find(has_all).map(str::to_owned)
        })
    }
}

/// One client's connection.
pub(crate) struct Client {
    stream: TcpStream,
    /// What was read and not yet taken.
    read: Vec<u8>,
}

impl Client {
    pub(crate) fn connect(address: SocketAddr) -> Self {
        // A network that was mended a moment ago is still looking for who has the address.
        let stream = wait_for("a way to the server", || {
            let stream = TcpStream::connect(address);
            let fault = stream.as_ref().err().map(std::io::Error::kind);
            (fault != Some(ErrorKind::HostUnreachable)).then_some(stream)
        });
        Self::of(stream.unwrap_or_else(|error| panic!("nobody listens at {address}: {error}")))
    }

    pub(crate) fn of(stream: TcpStream) -> Self {
        stream.set_nodelay(true).expect("a socket");
        stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
        stream.set_write_timeout(Some(PATIENCE)).expect("a socket");
        Self {
            stream,
            read: Vec::new(),
        }
    }

    /// The other end of it, for another thread.
    pub(crate) fn stream(&self) -> TcpStream {
        self.stream.try_clone().expect("a socket")
    }

    pub(crate) fn address(&self) -> String {
        self.stream.local_addr().expect("a socket").to_string()
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.try_send(bytes).expect("the server takes what is sent");
    }

    pub(crate) fn try_send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// Sends these pieces in segments of their own.
    pub(crate) fn send_pieces<'a>(&mut self, pieces: impl IntoIterator<Item = &'a [u8]>) {
        for piece in pieces {
            self.send(piece);
        }
    }

    /// Says that nothing more will be sent.
    pub(crate) fn half_close(&self) {
        self.stream.shutdown(Shutdown::Write).expect("a socket");
    }

    /// Whatever one read gives.
    pub(crate) fn read_once(&mut self) -> Vec<u8> {
        assert!(self.read.is_empty(), "something was read before");
        let mut buffer = vec![0; 1 << 20];
        let count = read_some(&mut self.stream, &mut buffer).expect("an answer");
        buffer.truncate(count);
        buffer
    }

    /// All that comes until the server closes.
    pub(crate) fn read_to_end(&mut self) -> Vec<u8> {
        let mut all = std::mem::take(&mut self.read);
        if let Err(error) = self.stream.read_to_end(&mut all) {
            panic!("not closed ({error}) after {}", shown(&all));
        }
        all
    }

    /// What comes up to the end of the next line.
    pub(crate) fn read_line(&mut self) -> Vec<u8> {
        self.read_through(b"\n")
    }

    /// The same, or what came before the server was gone.
    pub(crate) fn try_read_line(&mut self) -> Vec<u8> {
        let mut buffer = [0; 4096];
        while !self.read.contains(&b'\n') {
            match read_some(&mut self.stream, &mut buffer) {
                Ok(count @ 1..) => self.read.extend_from_slice(&buffer[..count]),
                _ => return std::mem::take(&mut self.read),
            }
        }
        self.read_line()
    }

    /// What comes up to the end of the next answer of a WHATSAT.
    pub(crate) fn read_places(&mut self) -> Vec<u8> {
        self.read_through(b"\n\n")
    }

    fn read_through(&mut self, end: &[u8]) -> Vec<u8> {
        let mut buffer = vec![0; 1 << 16];
        loop {
            let found = self.read.windows(end.len()).position(|bytes| bytes == end);
            if let Some(at) = found {
                let rest = self.read.split_off(at + end.len());
                return std::mem::replace(&mut self.read, rest);
            }
            match read_some(&mut self.stream, &mut buffer) {
                Ok(count) if count > 0 => self.read.extend_from_slice(&buffer[..count]),
                end => panic!("no end ({end:?}) after {}", shown(&self.read)),
            }
        }
    }

    /// Waits until the server closes the connection, without a byte; how long that took.
    pub(crate) fn wait_for_close(&mut self) -> Duration {
        let start = Instant::now();
        let mut buffer = [0; 1024];
        match read_some(&mut self.stream, &mut buffer) {
            Ok(0) => {}
            Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
            other => panic!("not closed: {other:?} {}", shown(&buffer)),
        }
        start.elapsed()
    }

    /// Says a line and hears its answer; how long that took.
    pub(crate) fn round_trip(&mut self, id: &str) -> Duration {
        let start = Instant::now();
        self.send(format!("IAMAT {id} +1-1 5\n").as_bytes());
        let reply = self.read_line();
        let taken = start.elapsed();
        assert!(reply.starts_with(b"AT "), "{}", shown(&reply));
        taken
    }
}

/// Reads once. A read with a deadline ends early when this process was stopped for a moment, and is
/// then tried again.
fn read_some(stream: &mut TcpStream, buffer: &mut [u8]) -> std::io::Result<usize> {
    loop {
        match stream.read(buffer) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            read => return read,
        }
    }
}

/// Matches `actual` with a pattern: bytes as they are, `<skew>` for a clock's difference, and
/// `<places>` for a places document with the two newlines after it.
pub(crate) fn check_matches(pattern: &[u8], actual: &[u8], context: &str) {
    if let Err((why, rest)) = matches(pattern, actual) {
        panic!(
            "{context:?}: {why}, at {}\n in {}\nfor {}",
            shown(rest),
            shown(actual),
            shown(pattern)
        );
    }
}

fn matches<'a>(pattern: &[u8], mut actual: &'a [u8]) -> Result<(), (String, &'a [u8])> {
    let mut pattern = pattern;
    while let Some(first) = pattern.first() {
        if let Some(rest) = pattern.strip_prefix(b"<skew>") {
            let (_, after) = take_skew(actual).ok_or(("no difference".into(), actual))?;
            (pattern, actual) = (rest, after);
        } else if let Some(rest) = pattern.strip_prefix(b"<places>") {
            let end = actual.windows(2).position(|bytes| bytes == b"\n\n");
            let end = end.ok_or(("no two newlines".into(), actual))?;
            check_places(&actual[..end]).map_err(|why| (why, actual))?;
            (pattern, actual) = (rest, &actual[end + 2..]);
        } else if actual.first() == Some(first) {
            (pattern, actual) = (&pattern[1..], &actual[1..]);
        } else {
            return Err((format!("{:?} is expected", char::from(*first)), actual));
        }
    }
    if actual.is_empty() {
        Ok(())
    } else {
        Err(("there is too much".into(), actual))
    }
}

/// Takes `[+-]D.DDDDDDDDD` off the front: nanoseconds, and what is behind it.
pub(crate) fn take_skew(bytes: &[u8]) -> Option<(i128, &[u8])> {
    let (sign, rest) = bytes.split_first()?;
    let is_negative = match sign {
        b'+' => false,
        b'-' => true,
        _ => return None,
    };
    let whole_count = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (whole, rest) = rest.split_at(whole_count);
    let rest = rest.strip_prefix(b".")?;
    let (fraction, rest) = rest.split_at_checked(9)?;
    let is_plain = whole == b"0" || !whole.starts_with(b"0");
    if !is_plain || !fraction.iter().all(u8::is_ascii_digit) || rest.first() != Some(&b' ') {
        return None;
    }
    let digits = [whole, fraction].concat();
    let ns: i128 = std::str::from_utf8(&digits).ok()?.parse().ok()?;
    Some((if is_negative { -ns } else { ns }, rest))
}

/// Whether these bytes are a document of a Nearby Search (legacy).
fn check_places(document: &[u8]) -> Result<(), String> {
    let parsed = serde_json::from_slice(document);
    let document: serde_json::Value = parsed.map_err(|error| format!("no JSON: {error}"))?;
    let is_texts = document["html_attributions"]
        .as_array()
        .is_some_and(|lines| lines.iter().all(serde_json::Value::is_string));
    let results = document["results"].as_array().ok_or("no results")?;
    let status = if results.is_empty() {
        "ZERO_RESULTS"
    } else {
        "OK"
    };
    if !is_texts || document["status"] != status {
        return Err("no html_attributions, or another status".into());
    }
    results.iter().try_for_each(check_place)
}

fn check_place(place: &serde_json::Value) -> Result<(), String> {
    let geometry = &place["geometry"];
    let points = [
        &geometry["location"],
        &geometry["viewport"]["northeast"],
        &geometry["viewport"]["southwest"],
    ];
    let is_right = points
        .iter()
        .all(|p| p["lat"].is_f64() && p["lng"].is_f64())
        && place["name"].is_string()
        && place["place_id"].is_string()
        && place["reference"] == place["place_id"]
        && place["types"]
            .as_array()
            .is_some_and(|types| !types.is_empty());
    if is_right {
        Ok(())
    } else {
        Err(format!("no place: {place}"))
    }
}

/// Somebody at a link port, who may be a neighbour, or say so, or talk nonsense.
pub(crate) struct Peer {
    pub(crate) client: Client,
}

impl Peer {
    pub(crate) fn connect(server: &Server) -> Self {
        Self {
            client: Client::connect(server.links),
        }
    }

    /// The other side of a dial.
    pub(crate) fn of(stream: TcpStream) -> Self {
        Self {
            client: Client::of(stream),
        }
    }

    /// Says and hears HELLO: the link is up.
    ///
    /// A server that is just dialling the same neighbour sends the other dial away, and its own
    /// fails soon, since nobody listens there.
    pub(crate) fn linked(server: &Server, name: &str) -> Self {
        Self::linked_by(server, name, |client, hello| client.send(hello))
    }

    /// The same, with a HELLO that is sent in a way of its own.
    pub(crate) fn linked_by(
        server: &Server,
        name: &str,
        mut send: impl FnMut(&mut Client, &[u8]),
    ) -> Self {
        wait_for(&format!("a link as {name}"), || {
            let mut peer = Self::connect(server);
            send(&mut peer.client, &hello(name, &server.name));
            let is_linked = peer.hear(|frame| match frame {
                Frame::Hello(hello) => hello.to.as_str() == name,
                Frame::Refusal(why) if why.contains("is being dialled") => false,
                other => panic!("no HELLO: {other:?}"),
            });
            is_linked.then_some(peer)
        })
    }

    /// Waits for a frame.
    pub(crate) fn hear<T>(&mut self, see: impl FnOnce(Frame<'_>) -> T) -> T {
        let mut buffer = [0; 4096];
        loop {
            let client = &mut self.client;
            if let Some((frame, bytes)) = frame::decode(&client.read, 1 << 20).expect("a frame") {
                let seen = see(frame);
                client.read.drain(..bytes);
                return seen;
            }
            let count = read_some(&mut client.stream, &mut buffer).expect("a frame");
            assert!(count > 0, "closed after {}", shown(&client.read));
            client.read.extend_from_slice(&buffer[..count]);
        }
    }

    /// Waits until the server closes the connection, whatever it says before.
    pub(crate) fn wait_for_close(mut self) {
        let mut rest = Vec::new();
        match self.client.stream.read_to_end(&mut rest) {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
            Err(error) => panic!("the link is not closed: {error}"),
        }
    }
}

/// A HELLO as `from` would say it.
pub(crate) fn hello(from: &str, to: &str) -> Vec<u8> {
    hello_with(from, to, |_| {})
}

/// The same, changed.
pub(crate) fn hello_with(from: &str, to: &str, change: impl FnOnce(&mut Hello)) -> Vec<u8> {
    let name = |name| ServerName::new(name).expect("a name");
    let mut hello = Hello {
        version: PROTOCOL_VERSION,
        herd: "tested".to_owned(),
        origin: Origin {
            server: name(from),
            incarnation: now_ns() as u64,
        },
        to: name(to),
        reflected: Default::default(),
        wants_kept: false,
        counters_reflected: Default::default(),
    };
    change(&mut hello);
    let mut bytes = Vec::new();
    frame::write_hello(&mut bytes, &hello);
    bytes
}
