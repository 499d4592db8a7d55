//! Accepts connections, and waits where it cannot.

use crate::net::{self, TcpListener, TcpStream};
use crate::node::Node;
use crate::telemetry::Level;
use metrics::Counter;
use rustix::io::Errno;
use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How long after an error accepting waits: at first, and at the most. It doubles each time.
const PAUSE: [Duration; 2] = [Duration::from_millis(10), Duration::from_secs(1)];
/// How many connections may wait to be accepted; systems cut it to their own limit, and 4,096 is
/// that of Linux. Whoever finds the queue full tries again after a second. The standard library's
/// 128 are full before a busy machine has woken the thread that accepts.
const QUEUE_COUNT: i32 = 4_096;

/// A listener's queue of connections.
///
/// An error leaves the connection in the queue, so trying again at once would spin for as long as
/// the error lasts: mostly that is until somebody gives a descriptor back.
pub(crate) struct Acceptor<'a> {
    node: &'a Node,
    listener: &'a TcpListener,
    /// Which one it is, for the log.
    name: &'static str,
    failures: &'a Counter,
    spares: Arc<Spares>,
    pause: Duration,
}

/// Descriptors that a listener keeps to itself, and gives up one by one for its connections where
/// there are no others: the shares of [`Descriptors`](crate::limits::Descriptors) hold for this
/// process, and the system as a whole may run out, too.
#[derive(Default)]
pub(crate) struct Spares {
    count: usize,
    files: Mutex<Vec<File>>,
}

impl Spares {
    /// Takes back what was given up, as far as there is any. To be called when a connection has
    /// been closed: whoever else waits for its descriptor looks for it every few milliseconds.
    pub(crate) fn refill(&self) {
        let mut files = self.lock();
        while files.len() < self.count
            && let Ok(file) = File::open("/dev/null")
        {
            files.push(file);
        }
    }

    fn give_up_one(&self) -> bool {
        self.lock().pop().is_some()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<File>> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<'a> Acceptor<'a> {
    pub(crate) fn new(
        node: &'a Node,
        listener: &'a TcpListener,
        name: &'static str,
        failures: &'a Counter,
    ) -> Self {
        net::set_queue_count(listener, QUEUE_COUNT);
        Self {
            node,
            listener,
            name,
            failures,
            spares: Arc::default(),
            pause: PAUSE[0],
        }
    }

    /// Keeps as many descriptors to itself.
    pub(crate) fn with_spares(mut self, count: usize) -> Self {
        self.spares = Arc::new(Spares {
            count,
            files: Mutex::default(),
        });
        self.spares.refill();
        self
    }

    pub(crate) fn spares(&self) -> Arc<Spares> {
        Arc::clone(&self.spares)
    }

    /// The next connection. Cancel safe.
    pub(crate) async fn next(&mut self) -> (TcpStream, SocketAddr) {
        loop {
            match self.listener.accept().await {
                Ok(accepted) => {
                    self.pause = PAUSE[0];
                    return accepted;
                }
                Err(error) if is_out_of_descriptors(&error) && self.spares.give_up_one() => {}
                Err(error) => self.wait(&error).await,
            }
        }
    }

    async fn wait(&mut self, error: &io::Error) {
        self.failures.increment(1);
        let why = error.to_string();
        let fields = [("listener", self.name.into()), ("why", why.as_str().into())];
        self.node
            .log
            .event(Level::Warning, "accept.failed", &fields);
        tokio::time::sleep(self.pause).await;
        self.pause = (self.pause * 2).min(PAUSE[1]);
    }
}

fn is_out_of_descriptors(error: &io::Error) -> bool {
    matches!(
        Errno::from_io_error(error),
        Some(Errno::MFILE | Errno::NFILE)
    )
}
