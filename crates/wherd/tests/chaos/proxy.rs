//! The network between servers, which can be made bad: a TCP proxy for each server that dials
//! another one.
//!
//! What a server takes for its neighbour's address is a port here. The two proxies between two
//! servers, one for each that dials, share one [`Wire`], whose [`Weather`] says what becomes of
//! what passes. A byte is held up, held back or swallowed, and never changed or put in another
//! order: that is what TCP leaves to a network.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use wherd_sim::random::Random;

/// What one read takes.
const READ_BYTES: usize = 16 * 1024;
/// How many reads may be on their way in one direction of one connection. Beyond it the sender
/// waits, as it does where a router's queue is full.
const READS_ON_THE_WAY: usize = 64;
/// How many connections one proxy carries; further ones wait in the system's queue.
const MAX_CONNECTIONS: usize = 32;
/// How long the silent half of a half-open connection is kept, where nobody closes it.
const SILENCE: Duration = Duration::from_secs(60);

/// What becomes of what goes one way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Flow {
    /// How long everything is on its way.
    pub(crate) delay_ms: u64,
    /// Up to how much longer.
    pub(crate) jitter_ms: u64,
    /// At most so many bytes arrive at a time, a millisecond apart; 0 for any number.
    pub(crate) piece_bytes: usize,
    /// At most so many bytes arrive in a second; 0 for any number.
    pub(crate) bytes_per_s: u64,
    /// Nothing arrives; what was sent is held back, as where packets are lost and sent again.
    pub(crate) is_stalled: bool,
    /// Nothing arrives ever: what was sent is gone, and so is all that follows on the connection.
    pub(crate) is_swallowed: bool,
}

/// What becomes of connections between two servers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Weather {
    /// All connections are reset, and new ones at once.
    pub(crate) is_cut: bool,
    /// How often the connections that there were became half-open: one side is told that the other
    /// is gone, and the other is not told anything.
    pub(crate) half_open_count: u64,
    /// Which side is told.
    pub(crate) told: Side,
    /// From the first server to the second, and back.
    pub(crate) flows: [Flow; 2],
}

/// One of the two servers of a wire.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Side {
    #[default]
    First,
    Second,
}

impl Side {
    fn other(self) -> Self {
        match self {
            Self::First => Self::Second,
            Self::Second => Self::First,
        }
    }
}

/// All connections between two servers, whichever dialled.
#[derive(Debug)]
pub(crate) struct Wire {
    weather: watch::Sender<Weather>,
    passed_bytes: AtomicU64,
    swallowed_bytes: AtomicU64,
}

impl Wire {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            weather: watch::Sender::new(Weather::default()),
            passed_bytes: AtomicU64::new(0),
            swallowed_bytes: AtomicU64::new(0),
        })
    }

    /// Changes the weather, for connections that there are and for new ones.
    pub(crate) fn change(&self, change: impl FnOnce(&mut Weather)) {
        self.weather.send_modify(change);
    }

    /// How many bytes arrived, and how many were swallowed.
    pub(crate) fn bytes(&self) -> (u64, u64) {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        (read(&self.passed_bytes), read(&self.swallowed_bytes))
    }
}

/// Listens, for the server on `dialler`'s side of the wire, to carry what it sends to `target`;
/// the address to dial. It listens until the runtime ends.
pub(crate) fn listen(
    runtime: &Handle,
    wire: Arc<Wire>,
    dialler: Side,
    target: SocketAddr,
    seed: u64,
) -> io::Result<SocketAddr> {
    let listener = runtime.block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))?;
    let address = listener.local_addr()?;
    let proxy = Proxy {
        wire,
        dialler,
        target,
    };
    runtime.spawn(proxy.accept(listener, Random::new(seed)));
    Ok(address)
}

/// One server's way to one other.
#[derive(Clone)]
struct Proxy {
    wire: Arc<Wire>,
    dialler: Side,
    target: SocketAddr,
}

impl Proxy {
    async fn accept(self, listener: TcpListener, mut random: Random) {
        let seats = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        loop {
            let Ok(seat) = Arc::clone(&seats).acquire_owned().await else {
                return;
            };
            let Ok((near, _)) = listener.accept().await else {
                sleep(Duration::from_millis(10)).await;
                continue;
            };
            let (proxy, seed) = (self.clone(), random.any());
            tokio::spawn(async move {
                proxy.carry(near, seed).await;
                drop(seat);
            });
        }
    }

    /// Carries one connection to its end.
    async fn carry(&self, near: TcpStream, seed: u64) {
        let mut weather = self.wire.weather.subscribe();
        let half_open_count = weather.borrow().half_open_count;
        if weather.borrow().is_cut {
            return reset(near);
        }
        let Ok(far) = TcpStream::connect(self.target).await else {
            return reset(near);
        };
        // Without it, pieces would wait for each other here and not where the weather says so.
        let _ = (near.set_nodelay(true), far.set_nodelay(true));
        let (mut near_in, mut near_out) = near.into_split();
        let (mut far_in, mut far_out) = far.into_split();
        let over = {
            let there = self.pump(self.dialler, &mut near_in, &mut far_out, seed);
            let back = self.pump(self.dialler.other(), &mut far_in, &mut near_out, !seed);
            let is_over = |w: &Weather| w.is_cut || w.half_open_count != half_open_count;
            tokio::select! {
                // Both ways have said all they had, or one is broken.
                _ = async { tokio::try_join!(there, back) } => None,
                over = weather.wait_for(is_over) => over.ok().map(|weather| *weather),
            }
        };
        let (near, far) = (near_in.reunite(near_out), far_in.reunite(far_out));
        let (Ok(near), Ok(far)) = (near, far) else {
            unreachable!("halves of one socket");
        };
        match over {
            Some(weather) if !weather.is_cut => {
                let (told, untold) = if weather.told == self.dialler {
                    (near, far)
                } else {
                    (far, near)
                };
                reset(told);
                fall_silent(untold).await;
            }
            _ => {
                reset(near);
                reset(far);
            }
        }
    }

    /// Carries what `from` sends to the other server, until `from` has said all it had.
    async fn pump(
        &self,
        from_side: Side,
        from: &mut OwnedReadHalf,
        to: &mut OwnedWriteHalf,
        seed: u64,
    ) -> io::Result<()> {
        let (on_the_way, arriving) = mpsc::channel(READS_ON_THE_WAY);
        let weather = self.wire.weather.subscribe();
        let random = Random::new(seed);
        tokio::try_join!(
            take_in(weather, from_side, from, on_the_way, random),
            self.give_out(from_side, arriving, to),
        )?;
        Ok(())
    }

    async fn give_out(
        &self,
        from_side: Side,
        mut arriving: mpsc::Receiver<(Instant, Vec<u8>)>,
        to: &mut OwnedWriteHalf,
    ) -> io::Result<()> {
        let mut weather = self.wire.weather.subscribe();
        let mut is_deaf = false;
        while let Some((due_at, bytes)) = arriving.recv().await {
            sleep_until(due_at).await;
            let mut rest = bytes.as_slice();
            while !rest.is_empty() {
                // The wire is there as long as this proxy.
                let flow = weather.wait_for(|w| !w.flow(from_side).is_stalled).await;
                let flow = flow.map(|w| w.flow(from_side)).unwrap_or_default();
                is_deaf |= flow.is_swallowed;
                if is_deaf {
                    self.wire
                        .swallowed_bytes
                        .fetch_add(rest.len() as u64, Ordering::Relaxed);
                    break;
                }
                let (piece, pause) = flow.piece(rest);
                to.write_all(piece).await?;
                self.wire
                    .passed_bytes
                    .fetch_add(piece.len() as u64, Ordering::Relaxed);
                rest = &rest[piece.len()..];
                if !pause.is_zero() {
                    sleep(pause).await;
                }
            }
        }
        // Who hears nothing hears no end, either.
        if is_deaf { Ok(()) } else { to.shutdown().await }
    }
}

/// Reads what a server sends, and says when each read is due at the other end.
async fn take_in(
    weather: watch::Receiver<Weather>,
    side: Side,
    from: &mut OwnedReadHalf,
    on_the_way: mpsc::Sender<(Instant, Vec<u8>)>,
    mut random: Random,
) -> io::Result<()> {
    let mut last_due_at = Instant::now();
    loop {
        let mut buffer = vec![0; READ_BYTES];
        let count = from.read(&mut buffer).await?;
        if count == 0 {
            return Ok(());
        }
        buffer.truncate(count);
        let flow = weather.borrow().flow(side);
        let delay_ms = flow.delay_ms + random.within(&(0..flow.jitter_ms));
        // What was sent later does not arrive sooner.
        last_due_at = last_due_at.max(Instant::now() + Duration::from_millis(delay_ms));
        if on_the_way.send((last_due_at, buffer)).await.is_err() {
            return Ok(());
        }
    }
}

impl Weather {
    fn flow(&self, from_side: Side) -> Flow {
        self.flows[from_side as usize]
    }
}

impl Flow {
    /// What arrives at once of these bytes, and how long it is until the next can.
    fn piece<'a>(&self, bytes: &'a [u8]) -> (&'a [u8], Duration) {
        if self.piece_bytes > 0 {
            let count = bytes.len().min(self.piece_bytes);
            return (&bytes[..count], Duration::from_millis(1));
        }
        if self.bytes_per_s > 0 {
            // A hundredth of a second's worth, so that it flows.
            let count = bytes.len().min((self.bytes_per_s / 100).max(1) as usize);
            let pause = Duration::from_secs_f64(count as f64 / self.bytes_per_s as f64);
            return (&bytes[..count], pause);
        }
        (bytes, Duration::ZERO)
    }
}

/// Closes a socket as a machine does that is gone: whoever sends something is told so.
fn reset(stream: TcpStream) {
    let _ = stream.set_zero_linger();
}

/// Keeps a socket open and says nothing on it, until its other end closes it.
async fn fall_silent(mut stream: TcpStream) {
    let mut buffer = vec![0; READ_BYTES];
    let listening = async { while stream.read(&mut buffer).await.is_ok_and(|n| n > 0) {} };
    let _ = timeout(SILENCE, listening).await;
    reset(stream);
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::{TcpListener, TcpStream};
    use std::thread;

    use tokio::runtime::{Builder, Runtime};

    use super::*;

    /// A wire, and both ends of one connection over it.
    struct Ends {
        wire: Arc<Wire>,
        dialler: TcpStream,
        dialled: TcpStream,
        _runtime: Runtime,
    }

    fn connect() -> Ends {
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let wire = Wire::new();
        let target = TcpListener::bind("127.0.0.1:0").expect("a port");
        let to = target.local_addr().expect("bound");
        let address = listen(runtime.handle(), Arc::clone(&wire), Side::First, to, 1);
        let dialler = TcpStream::connect(address.expect("a port")).expect("it listens");
        let dialled = target.accept().expect("it dials").0;
        for end in [&dialler, &dialled] {
            let patience = Some(Duration::from_secs(20));
            end.set_read_timeout(patience).expect("a socket");
        }
        Ends {
            wire,
            dialler,
            dialled,
            _runtime: runtime,
        }
    }

    /// Sends from the dialler; how long it took to arrive, whole and unchanged.
    fn check_passes(ends: &mut Ends, bytes: &[u8]) -> Duration {
        let start = Instant::now();
        ends.dialler.write_all(bytes).expect("sent");
        let mut arrived = vec![0; bytes.len()];
        ends.dialled.read_exact(&mut arrived).expect("it arrives");
        assert!(arrived == bytes, "other bytes arrive");
        start.elapsed()
    }

    /// Nothing arrives for a while that is many times what it takes otherwise.
    fn check_silent(end: &mut TcpStream) {
        end.set_read_timeout(Some(Duration::from_millis(200)))
            .expect("a socket");
        let error = end.read(&mut [0; 1]).expect_err("nothing arrives");
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        end.set_read_timeout(Some(Duration::from_secs(20)))
            .expect("a socket");
    }

    #[test]
    fn bytes_pass_both_ways_and_so_does_an_end() {
        let mut ends = connect();
        check_passes(&mut ends, b"there");
        ends.dialled.write_all(b"back").expect("sent");
        let mut reply = [0; 4];
        ends.dialler.read_exact(&mut reply).expect("it arrives");
        assert_eq!(&reply, b"back");
        ends.dialler
            .shutdown(std::net::Shutdown::Write)
            .expect("a socket");
        assert_eq!(ends.dialled.read(&mut reply).expect("an end"), 0);
        assert_eq!(ends.wire.bytes(), (9, 0));
    }

    #[test]
    fn weather_takes_its_time_and_changes_no_byte() {
        let bytes: Vec<u8> = (0..2_000_u32).map(|n| n as u8).collect();
        for (flow, least_ms) in [
            (
                Flow {
                    delay_ms: 100,
                    jitter_ms: 10,
                    ..Flow::default()
                },
                100,
            ),
            (
                Flow {
                    piece_bytes: 20,
                    ..Flow::default()
                },
                99,
            ),
            (
                Flow {
                    bytes_per_s: 20_000,
                    ..Flow::default()
                },
                90,
            ),
        ] {
            let mut ends = connect();
            ends.wire.change(|weather| weather.flows[0] = flow);
            let taken = check_passes(&mut ends, &bytes);
            assert!(
                taken >= Duration::from_millis(least_ms),
                "{flow:?}: {taken:?}"
            );
        }
    }

    #[test]
    fn what_was_stalled_arrives_when_the_stall_is_over() {
        let mut ends = connect();
        ends.wire.change(|w| w.flows[0].is_stalled = true);
        ends.dialler.write_all(b"late").expect("sent");
        check_silent(&mut ends.dialled);
        // The other way is not stalled.
        ends.dialled.write_all(b"x").expect("sent");
        ends.dialler.read_exact(&mut [0; 1]).expect("it arrives");
        ends.wire.change(|w| *w = Weather::default());
        let mut late = [0; 4];
        ends.dialled.read_exact(&mut late).expect("it arrives");
        assert_eq!(&late, b"late");
    }

    #[test]
    fn what_was_swallowed_is_gone_and_nothing_follows_it() {
        let mut ends = connect();
        ends.wire.change(|w| w.flows[0].is_swallowed = true);
        ends.dialler.write_all(b"gone").expect("sent");
        check_silent(&mut ends.dialled);
        ends.wire.change(|w| *w = Weather::default());
        ends.dialler.write_all(b"after it").expect("sent");
        check_silent(&mut ends.dialled);
        assert_eq!(ends.wire.bytes(), (0, 12));
    }

    #[test]
    fn a_cut_is_told_to_both_and_to_who_comes_later() {
        let mut ends = connect();
        check_passes(&mut ends, b"before");
        let address = ends.dialler.peer_addr().expect("a socket");
        ends.wire.change(|w| w.is_cut = true);
        for end in [&mut ends.dialler, &mut ends.dialled] {
            let error = end.read(&mut [0; 1]).expect_err("it is reset");
            assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
        }
        let mut late = TcpStream::connect(address).expect("it listens");
        assert!(late.read(&mut [0; 1]).is_err(), "it is reset");
    }

    #[test]
    fn half_of_a_connection_can_go() {
        let mut ends = connect();
        ends.wire.change(|w| {
            w.half_open_count += 1;
            w.told = Side::Second;
        });
        let error = ends.dialled.read(&mut [0; 1]).expect_err("it is reset");
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
        let writing = thread::spawn(move || {
            ends.dialler.write_all(b"is anybody there").expect("sent");
            check_silent(&mut ends.dialler);
        });
        writing.join().expect("the other half is open and silent");
    }
}
