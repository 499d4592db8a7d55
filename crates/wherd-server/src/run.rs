//! One run of one server: opens everything in order, closes it in an order that loses nothing.

use crate::access::http;
use crate::access::line;
use crate::clock;
use crate::config::{Address, Config, ServerConfig, UnknownServer};
use crate::journal::{self, Folder, JournalError, Replayed, Worker};
use crate::neighbour;
use crate::net::TcpListener;
use crate::node::{self, Node};
use crate::places::{self, Local, Places, PlacesError, Shelf, Surroundings, Telling};
use crate::reload::Reloader;
use crate::service::Service;
use crate::status::{Addresses, PortsFile, ServerPorts};
use crate::telemetry::log::log_path;
use crate::telemetry::{Level, Log};
use crate::watchdog::Task;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;
use thiserror::Error;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use wherd_core::Replica;
use wherd_proto::ServerName;
use wherd_proto::journal::Owner;

/// How long clients have to be answered what was read of them, once the server stops.
const CLIENTS_TIMEOUT: Duration = Duration::from_millis(200);
/// How long a server whose place was taken goes on telling so.
const SUPERSEDED_LINGER: Duration = Duration::from_secs(2);
/// How long the journal then has to write what came with that.
const JOURNAL_TIMEOUT: Duration = Duration::from_secs(2);

/// What a run is told beside its configuration; each takes the place of what the file says.
#[derive(Clone, Debug, Default)]
pub struct RunOptions {
    /// Where the log goes.
    pub log_dir: Option<PathBuf>,
    /// Where the journals are, in a folder for each server.
    pub data_dir: Option<PathBuf>,
    /// No journal: everything is in memory.
    pub is_ephemeral: bool,
    /// Goes on from a journal however old it is.
    pub keeps_old_data: bool,
    /// Where to write what the listeners got.
    pub ports_file: Option<PathBuf>,
    /// A places file; one that cannot be used stops the start.
    pub places_file: Option<PathBuf>,
    /// Each time that this is notified the configuration is read again from where it was read, and
    /// what can change while the server runs does. A file with mistakes changes nothing.
    pub reload: Arc<Notify>,
}

/// Why a server does not start.
#[derive(Debug, Error)]
pub enum RunError {
    /// The herd has no server of this name.
    #[error(transparent)]
    UnknownServer(#[from] UnknownServer),
    /// Somebody else listens there.
    #[error("{server} cannot listen for {what} on {address}: the port is in use")]
    PortInUse {
        /// Which server.
        server: String,
        /// Which of its listeners: `clients`, `links` or `http`.
        what: &'static str,
        /// Where.
        address: Address,
    },
    /// The address cannot be listened on.
    #[error("{server} cannot listen for {what} on {address}: {error}")]
    Listen {
        /// Which server.
        server: String,
        /// Which of its listeners.
        what: &'static str,
        /// Where.
        address: Address,
        /// What the system says.
        #[source]
        error: io::Error,
    },
    /// The places file cannot be used.
    #[error(transparent)]
    Places(#[from] PlacesError),
    /// The journal cannot be used.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The log cannot be written.
    #[error("cannot write the log {}: {error}", path.display())]
    Log {
        /// Which file.
        path: PathBuf,
        /// What the system says.
        #[source]
        error: io::Error,
    },
    /// A newer run of this server has taken its place: two have its name, or its clock was ahead
    /// once. Everything ended as after a shutdown.
    #[error("a newer run of {server}, {run}, has taken its place")]
    Superseded {
        /// Which server.
        server: String,
        /// That run.
        run: u64,
        /// Whether this one had numbered anything or was linked to anybody.
        has_begun: bool,
    },
    /// A file or folder of the run cannot be made.
    #[error("cannot write {}: {error}", path.display())]
    Write {
        /// Which.
        path: PathBuf,
        /// What the system says.
        #[source]
        error: io::Error,
    },
}

/// The sockets of one server, bound.
struct Listeners {
    clients: TcpListener,
    links: TcpListener,
    http: TcpListener,
    addresses: Addresses,
}

/// Runs the server `name` of the herd until `shutdown` is cancelled.
///
/// Then it frees its ports, answers what it has read of its clients, sends its neighbours what
/// they lack, and writes its log out. That takes some milliseconds, and at the worst 0.2 s for
/// clients that do not read, and `last_words_ms` for neighbours that do not.
///
/// # Errors
/// When it cannot start; nothing is left behind then but an empty log. Or when another run has
/// taken its place ([`RunError::Superseded`]).
pub async fn run(
    config: Config,
    name: &str,
    options: RunOptions,
    shutdown: CancellationToken,
) -> Result<(), RunError> {
    let config = with_options(config, &options);
    match run_once(&config, name, &options, 0, &shutdown).await {
        // The clock was ahead in an earlier run, and no disk knew of it. Where it is another
        // process, that one is the older from here on.
        Err(RunError::Superseded {
            run,
            has_begun: false,
            ..
        }) => run_once(&config, name, &options, run, &shutdown).await,
        ended => ended,
    }
}

/// One run, with a number beyond `newest_run`.
async fn run_once(
    config: &Config,
    name: &str,
    options: &RunOptions,
    newest_run: u64,
    shutdown: &CancellationToken,
) -> Result<(), RunError> {
    let server = config.server(name)?.clone();
    // A file that cannot be used is told before anything is begun.
    let local_places = Local::open(&config.places)?;
    let name = ServerName::new(name).unwrap_or_else(|error| {
        unreachable!("the configuration checked its names: {error}");
    });
    let empty_replica = || node::empty_replica(config, &server, &name);
    let mut replica = empty_replica();
    let stored = Stored::open(config, &name, &mut replica)?;
    if stored.as_ref().is_some_and(|stored| stored.is_too_old) {
        replica = empty_replica();
    }
    let listeners = Listeners::bind(&server).await?;
    let log_file = log_path(&config.log.dir, name.as_str());
    let log =
        Log::open(name.as_str(), &config.log, config.classic).map_err(|error| RunError::Log {
            path: log_file.clone(),
            error,
        })?;
    log_start(&log, config, &listeners.addresses);
    let stored_run = stored.as_ref().map_or(0, Stored::newest_run);
    let newest_run = newest_run.max(stored_run);
    let stop = shutdown.child_token();
    let node = Node::new(config, &server, replica, newest_run, log.clone(), stop);
    let node = Arc::new(node);
    let writing = stored.map(|stored| stored.go_on(&node));
    let shelf = open_places(local_places, config, &node);
    if let Some(path) = &options.ports_file {
        write_ports_file(path, name.as_str(), &listeners.addresses, &log_file).map_err(
            |error| RunError::Write {
                path: path.clone(),
                error,
            },
        )?;
    }
    let watchdog = node
        .watchdog
        .start(Arc::clone(&node), log.clone(), || std::process::abort());
    serve(
        config,
        options,
        Arc::clone(&node),
        shelf,
        listeners,
        shutdown,
    )
    .await;
    if let (Some(journal), Some(writing)) = (&node.journal, writing) {
        journal.stop();
        let ended = tokio::task::spawn_blocking(|| writing.join());
        // A disk that does not answer must not keep the process.
        let _ = tokio::time::timeout(JOURNAL_TIMEOUT, ended).await;
    }
    drop(watchdog);
    log.event(Level::Info, "server.stop", &[]);
    log.close();
    node.superseded_by().map_or(Ok(()), |run| {
        let server = server.name;
        let has_begun = node.has_begun();
        Err(RunError::Superseded {
            server,
            run,
            has_begun,
        })
    })
}

/// What earlier runs of a server left it.
struct Stored {
    folder: Folder,
    replayed: Option<Replayed>,
    /// The server was away for longer than the herd remembers what it forgot.
    is_too_old: bool,
}

impl Stored {
    /// Opens the journal, and lets the replica have what is in it; `None` where there is to be
    /// none.
    fn open(
        config: &Config,
        name: &ServerName,
        replica: &mut Replica,
    ) -> Result<Option<Self>, JournalError> {
        if !config.has_journals() {
            return Ok(None);
        }
        let folder = Folder::open(&config.journal.dir, name.as_str())?;
        let owner = Owner {
            herd: config.herd.name.clone(),
            server: name.clone(),
            incarnation: 0,
        };
        let replayed = folder.replay(&owner, replica)?;
        let limit_ms = config.replication.away_limit_s * 1000;
        let is_old = |replayed: &Replayed| {
            let age_ms = clock::wall_ms().saturating_sub(replayed.written_at_ms);
            replayed.records_count > 0 && age_ms > limit_ms
        };
        let is_too_old = !config.keeps_old_data && replayed.as_ref().is_some_and(is_old);
        Ok(Some(Self {
            folder,
            replayed,
            is_too_old,
        }))
    }

    fn newest_run(&self) -> u64 {
        self.replayed
            .as_ref()
            .map_or(0, |replayed| replayed.newest_run)
    }

    /// Tells what was found, and lets a thread write from here on.
    fn go_on(self, node: &Arc<Node>) -> JoinHandle<()> {
        let Self {
            folder,
            replayed,
            is_too_old,
        } = self;
        let Some(journal) = node.journal.clone() else {
            unreachable!("a node of a server with a journal has one");
        };
        if let Some(replayed) = &replayed {
            journal::log_replayed(node, &folder, replayed);
        }
        if is_too_old {
            journal::log_too_old(node, &folder);
        }
        let sound = replayed
            .as_ref()
            .filter(|replayed| replayed.damage.is_empty() && !is_too_old);
        let worker = Worker::new(Arc::clone(node), journal, folder, sound);
        std::thread::Builder::new()
            .name("journal".into())
            .spawn(|| worker.run())
            .expect("a thread for the journal")
    }
}

/// What the options say takes the place of what the file says.
pub(crate) fn with_options(mut config: Config, options: &RunOptions) -> Config {
    if let Some(dir) = &options.data_dir {
        config.journal.dir.clone_from(dir);
    }
    config.ephemeral |= options.is_ephemeral;
    config.keeps_old_data |= options.keeps_old_data;
    if let Some(dir) = &options.log_dir {
        config.log.dir.clone_from(dir);
    }
    if let Some(file) = &options.places_file {
        config.places.file = Some(file.clone());
        config.places.optional = false;
    }
    config
}

/// The places, with a budget that the herd shares.
fn open_places(
    local: (Local, Option<PlacesError>),
    config: &Config,
    node: &Arc<Node>,
) -> Arc<Shelf> {
    let budget_node = Arc::clone(node);
    let around = Surroundings {
        budget: Box::new(move |account, limit| places::budget(&budget_node, account, limit)),
        observer: Arc::new(Telling::new(Arc::clone(node))),
    };
    let (places, warnings) = Places::new(local, config, &around);
    for warning in &warnings {
        let fields = [("why", warning.as_str().into())];
        node.log.event(Level::Warning, "places.unusable", &fields);
    }
    let shelf = Arc::new(Shelf::new(Arc::new(places), around));
    check_places(&shelf, config, node);
    shelf
}

/// Has a long places file read as a whole, while it is used.
pub(crate) fn check_places(shelf: &Arc<Shelf>, config: &Config, node: &Arc<Node>) {
    let log = node.log.clone();
    shelf.check_in_background(config, move |why| {
        log.event(Level::Warning, "places.unusable", &[("why", why.into())]);
    });
}

/// Everything that runs, until the shutdown and what is left to do after it.
async fn serve(
    config: &Config,
    options: &RunOptions,
    node: Arc<Node>,
    shelf: Arc<Shelf>,
    listeners: Listeners,
    shutdown: &CancellationToken,
) {
    let (clients, links) = (TaskTracker::new(), TaskTracker::new());
    let mut tasks = JoinSet::new();
    let descriptors = node.settings.borrow().descriptors;
    descriptors.tell(&config.limits, &node.log, &node.metrics);
    let http_server = http::Server {
        node: Arc::clone(&node),
        addresses: listeners.addresses,
        is_classic: config.classic,
    };
    tasks.spawn(neighbour::accept(
        Arc::clone(&node),
        listeners.links,
        links.clone(),
    ));
    let reloader = Reloader::new(
        Arc::clone(&node),
        config.clone(),
        options.clone(),
        links.clone(),
        Arc::clone(&shelf),
    );
    let watchdog = &node.watchdog;
    tasks.spawn(watchdog.watch(Task::Reload, async move { match reloader.run().await {} }));
    let timed = Arc::clone(&node);
    tasks.spawn(watchdog.watch(Task::Time, async move { timed.keep_time().await }));
    let ticking = Arc::clone(watchdog);
    tasks.spawn(watchdog.watch(Task::Tick, async move { ticking.tick().await }));
    let http = http::serve(Arc::new(http_server), listeners.http, shutdown.clone());
    tasks.spawn(http);
    let service = Arc::new(Service::new(Arc::clone(&node), shelf));
    tokio::select! {
        // The stop ends some of the tasks, too.
        biased;
        () = line::accept(service, listeners.clients, clients.clone()) => {}
        // A task that ended has panicked: the others would go on without it and look healthy.
        Some(ended) = tasks.join_next() => std::panic::resume_unwind(match ended {
            Ok(()) => Box::new("a task that never ends has ended"),
            Err(error) => error.into_panic(),
        }),
    }
    // Who is not done by then does not read.
    clients.close();
    let _ = tokio::time::timeout(CLIENTS_TIMEOUT, clients.wait()).await;
    node.say_last_words();
    links.close();
    let last_words = Duration::from_millis(config.replication.last_words_ms);
    let _ = tokio::time::timeout(last_words, links.wait()).await;
    if node.superseded_by().is_some() && node.has_begun() {
        // Whoever wonders why nobody serves here finds it in the status.
        let _ = tokio::time::timeout(SUPERSEDED_LINGER, shutdown.cancelled()).await;
    }
}

impl Listeners {
    async fn bind(server: &ServerConfig) -> Result<Self, RunError> {
        let (clients, clients_address) = bind(server, "clients", &server.clients).await?;
        let (links, links_address) = bind(server, "links", &server.links).await?;
        let (http, http_address) = bind(server, "http", &server.http).await?;
        let addresses = Addresses {
            clients: clients_address,
            links: links_address,
            http: http_address,
        };
        Ok(Self {
            clients,
            links,
            http,
            addresses,
        })
    }
}

/// Listens on an address: the socket, and the address with the port that it got.
async fn bind(
    server: &ServerConfig,
    what: &'static str,
    address: &Address,
) -> Result<(TcpListener, String), RunError> {
    let bound = async {
        let listener = TcpListener::bind(address.pair()).await?;
        let port = listener.local_addr()?.port();
        Ok((listener, address.with_port(port).to_string()))
    };
    bound.await.map_err(|error: io::Error| {
        let (server, address) = (server.name.clone(), address.clone());
        if error.kind() == io::ErrorKind::AddrInUse {
            RunError::PortInUse {
                server,
                what,
                address,
            }
        } else {
            RunError::Listen {
                server,
                what,
                address,
                error,
            }
        }
    })
}

/// Written beside its place and renamed, so that whoever sees the file sees all of it.
fn write_ports_file(
    path: &Path,
    name: &str,
    addresses: &Addresses,
    log_file: &Path,
) -> io::Result<()> {
    let ports = ServerPorts {
        addresses: addresses.clone(),
        pid: std::process::id(),
        log: log_file.display().to_string(),
    };
    let mut file = PortsFile::default();
    file.servers.insert(name.to_owned(), ports);
    let mut beside = path.to_owned().into_os_string();
    beside.push(format!(".{}", std::process::id()));
    std::fs::write(&beside, serde_json::to_vec_pretty(&file)?)?;
    std::fs::rename(beside, path)
}

fn log_start(log: &Log, config: &Config, addresses: &Addresses) {
    let fields = [
        ("version", env!("CARGO_PKG_VERSION").into()),
        ("clients", addresses.clients.as_str().into()),
        ("links", addresses.links.as_str().into()),
        ("http", addresses.http.as_str().into()),
        (
            "profile",
            if config.classic { "classic" } else { "full" }.into(),
        ),
    ];
    log.event(Level::Info, "server.start", &fields);
}
