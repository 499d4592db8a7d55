//! For tests: an HTTP server that behaves as places services do, at their best and at their worst.
//!
//! It listens on loopback, on a port of its own, answers each connection once, and keeps what it
//! was asked. [`Reply`] has what a test wants to be answered; [`google`] answers as Google does.

#![forbid(unsafe_code)]

pub mod google;

use std::collections::BTreeMap;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// The longest that anything waits for a client that says nothing, or a test that has ended.
const PATIENCE: Duration = Duration::from_secs(20);

/// A request as it came.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Received {
    /// `GET` or `POST`.
    pub method: String,
    /// The path with the query.
    pub target: String,
    /// By their names in lower case.
    pub headers: BTreeMap<String, String>,
    /// All of it.
    pub body: Vec<u8>,
}

impl Received {
    /// A header; empty where there is none.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    /// The body as JSON; `null` where it is none.
    #[must_use]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
}

/// What is answered.
#[derive(Clone, Debug)]
pub enum Reply {
    /// JSON with this status.
    Json(u16, serde_json::Value),
    /// A status, headers and a body.
    Http(u16, Vec<(&'static str, String)>, Vec<u8>),
    /// These bytes and nothing else, whether they are HTTP or not.
    Raw(Vec<u8>),
    /// These bytes one by one, with a pause after each, until they end or the client does.
    Dribble(Vec<u8>, Duration),
    /// Nothing; the connection stays open.
    Silence,
    /// The same after this time.
    After(Duration, Box<Self>),
}

type Answer = dyn Fn(&Received) -> Reply + Send + Sync;

/// A server that runs until it is dropped.
pub struct Stub {
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    received: Mutex<Vec<Received>>,
    answer: Mutex<Arc<Answer>>,
    is_stopped: AtomicBool,
}

impl Stub {
    /// Starts one that answers so.
    ///
    /// # Panics
    /// No port of loopback can be listened on.
    #[must_use]
    pub fn start(answer: impl Fn(&Received) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("it listens");
        let shared = Arc::new(Shared {
            received: Mutex::default(),
            answer: Mutex::new(Arc::new(answer)),
            is_stopped: AtomicBool::new(false),
        });
        let accepting = Arc::clone(&shared);
        thread::spawn(move || {
            for stream in listener.incoming() {
                if accepting.is_stopped.load(Ordering::SeqCst) {
                    return;
                }
                let shared = Arc::clone(&accepting);
                // What goes wrong with a client is the client's to notice.
                thread::spawn(move || stream.and_then(|stream| shared.serve(stream)));
            }
        });
        Self { address, shared }
    }

    /// The base URL.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What it was asked so far.
    #[must_use]
    pub fn received(&self) -> Vec<Received> {
        lock(&self.shared.received).clone()
    }

    /// How often it was asked.
    #[must_use]
    pub fn count(&self) -> usize {
        lock(&self.shared.received).len()
    }

    /// Answers otherwise from here on.
    pub fn answer(&self, answer: impl Fn(&Received) -> Reply + Send + Sync + 'static) {
        *lock(&self.shared.answer) = Arc::new(answer);
    }
}

impl Drop for Stub {
    fn drop(&mut self) {
        self.shared.is_stopped.store(true, Ordering::SeqCst);
        // Wakes who accepts.
        let _ = TcpStream::connect(self.address);
    }
}

impl Shared {
    fn serve(&self, mut stream: TcpStream) -> io::Result<()> {
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        let received = read(&stream)?;
        let answer = Arc::clone(&*lock(&self.answer));
        lock(&self.received).push(received.clone());
        self.write(&mut stream, answer(&received))
    }

    fn write(&self, stream: &mut TcpStream, reply: Reply) -> io::Result<()> {
        match reply {
            Reply::Json(status, body) => {
                let kind = ("Content-Type", "application/json; charset=UTF-8".to_owned());
                stream.write_all(&http(status, &[kind], body.to_string().as_bytes()))
            }
            Reply::Http(status, headers, body) => stream.write_all(&http(status, &headers, &body)),
            Reply::Raw(bytes) => stream.write_all(&bytes),
            Reply::Dribble(bytes, pause) => {
                for byte in bytes {
                    stream.write_all(&[byte])?;
                    self.wait(pause);
                    if self.is_stopped.load(Ordering::SeqCst) {
                        break;
                    }
                }
                Ok(())
            }
            Reply::Silence => {
                // Until the client has had enough.
                let _ = stream.read(&mut [0]);
                Ok(())
            }
            Reply::After(pause, reply) => {
                self.wait(pause);
                self.write(stream, *reply)
            }
        }
    }

    /// Sleeps, in naps: a test that has ended does not wait for it.
    fn wait(&self, pause: Duration) {
        const NAP: Duration = Duration::from_millis(20);
        let mut left = pause;
        while !left.is_zero() && !self.is_stopped.load(Ordering::SeqCst) {
            let nap = left.min(NAP);
            thread::sleep(nap);
            left -= nap;
        }
    }
}

fn read(stream: &TcpStream) -> io::Result<Received> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let mut words = line.split_whitespace();
    let mut received = Received {
        method: words.next().unwrap_or_default().to_owned(),
        target: words.next().unwrap_or_default().to_owned(),
        ..Received::default()
    };
    loop {
        line.clear();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(':') else {
            break;
        };
        let (name, value) = (name.to_ascii_lowercase(), value.trim().to_owned());
        received.headers.insert(name, value);
    }
    let length = received.header("content-length").parse().unwrap_or(0);
    reader.take(length).read_to_end(&mut received.body)?;
    Ok(received)
}

/// An answer of HTTP/1.1 after which the connection ends.
#[must_use]
pub fn http(status: u16, headers: &[(&str, String)], body: &[u8]) -> Vec<u8> {
    let mut text = format!("HTTP/1.1 {status} Status\r\nConnection: close\r\n");
    for (name, value) in headers {
        text += &format!("{name}: {value}\r\n");
    }
    let has_length = headers.iter().any(|(name, _)| *name == "Content-Length");
    if !has_length {
        text += &format!("Content-Length: {}\r\n", body.len());
    }
    text += "\r\n";
    [text.as_bytes(), body].concat()
}

fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
