//! The beginnings of links, and neighbours and clients that do not do their part.

use std::cell::Cell;
use std::future::pending;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use turmoil::net::{TcpListener, TcpStream};
use wherd_proto::frame::{self, Hello, PROTOCOL_VERSION};
use wherd_proto::{Origin, ServerName};
use wherd_turmoil::config::ServerConfig;

use crate::client::Connection;
use crate::faults::HEALED_WITHIN;
use crate::for_seeds;
use crate::herd::{Herd, Logs, Setup};

const SECOND: Duration = Duration::from_secs(1);
/// Where Smith's neighbours dial.
const SMITHS_LINKS: (&str, u16) = ("0.0.0.0", 5375);

#[test]
fn both_sides_dial_at_once_and_one_link_stays() {
    for_seeds(
        "both_sides_dial_at_once_and_one_link_stays",
        0..100,
        |seed| {
            let mut herd = Setup::two(seed).latency_ms(seed % 40).start();
            herd.wait_linked(SECOND);
            // Whatever else was begun has ended by then.
            herd.run_for(SECOND / 2);
            herd.wait_linked(SECOND / 2);
            let logs = herd.end();
            let hills = the_one_link(&logs, "Hill");
            let smiths = the_one_link(&logs, "Smith");
            let is_dialled_by_hill = hills.ends_with(":5375");
            assert_ne!(
                is_dialled_by_hill,
                smiths.ends_with(":5373"),
                "{hills} {smiths}"
            );
        },
    );
}

/// The address at the other end of the link that a server has in the end.
fn the_one_link<'a>(logs: &'a Logs, server: &str) -> &'a str {
    let up = logs.lines(server, &["link.up"]);
    let down = logs.lines(server, &["link.down"]);
    // The neighbour may have had the other connection for a moment.
    assert!(up.len() <= 2, "{server} does not stay: {up:?} {down:?}");
    assert_eq!(up.len(), down.len() + 1, "{server}: {up:?} {down:?}");
    let mut fields = up[up.len() - 1].split(' ');
    let address = fields.find_map(|field| field.strip_prefix("address="));
    address.expect("an address")
}

#[test]
fn a_neighbour_that_never_says_hello_is_given_up() {
    for_seeds(
        "a_neighbour_that_never_says_hello_is_given_up",
        0..1,
        |seed| {
            let mut herd = Setup::five(seed).start_without(&["Smith"]);
            let (is_mute, accepted_count) = (Rc::new(Cell::new(true)), Rc::new(Cell::new(0)));
            let (server, mute, count) = (
                herd.server("Smith"),
                is_mute.clone(),
                accepted_count.clone(),
            );
            herd.add_host("Smith", move || {
                let (server, is_mute, count) = (server.clone(), mute.get(), count.clone());
                async move {
                    match is_mute {
                        true => Ok(accept_and_say_nothing(&count).await?),
                        false => server.run().await,
                    }
                }
            });
            herd.gone.insert("Smith".to_owned());
            herd.wait_linked(SECOND * 2);
            herd.start_writers(2);
            herd.run_for(SECOND * 40);
            // Three neighbours; each waits 3 s for HELLO, and then up to 5 s.
            let count = accepted_count.get();
            assert!((12..=40).contains(&count), "{count} dials");
            is_mute.set(false);
            herd.gone.clear();
            herd.restart("Smith");
            let took = herd.wait_linked(HEALED_WITHIN);
            eprintln!("seed {seed}: {count} dials, linked {took:?} after Smith speaks");
            herd.stop_writers();
            herd.check_agreement(SECOND);
            let logs = herd.end();
            let failed = logs.lines("Hill", &["link.failed", "neighbour=Smith"]);
            assert!(failed[0].contains("timed out"), "{failed:?}");
        },
    );
}

async fn accept_and_say_nothing(accepted_count: &Cell<usize>) -> io::Result<()> {
    let listener = TcpListener::bind(SMITHS_LINKS).await?;
    let mut streams = Vec::new();
    loop {
        streams.push(listener.accept().await?);
        accepted_count.update(|count| count + 1);
    }
}

#[test]
fn a_neighbour_that_never_reads_is_cut_off_and_delays_nobody() {
    let test = "a_neighbour_that_never_reads_is_cut_off_and_delays_nobody";
    for_seeds(test, 0..2, |seed| {
        let setup = Setup::two(seed).latency_ms(5).tcp_capacity(8);
        let mut herd = setup.start_without(&["Smith"]);
        herd.add_host("Smith", || async { Ok(link_and_never_read().await?) });
        herd.gone.insert("Smith".to_owned());
        let hill = herd.config.servers[0].clone();
        let slowest = herd.begin("reporter", async move { slowest_answer(&hill).await });
        let is_up = |herd: &mut Herd| herd.is_linked("Hill", "Smith");
        herd.run_until("Smith is linked", SECOND * 4, is_up);
        let stalled = Duration::from_secs(herd.config.limits.stalled_timeout_s);
        let took = herd.run_until("Smith is cut off", stalled * 2, |herd| !is_up(herd));
        assert!(took >= stalled, "after {took:?} already");
        herd.run_until("all is reported", SECOND * 30, |_| {
            slowest.borrow().is_some()
        });
        let slowest = slowest.take().expect("a time").expect("answers");
        assert!(slowest < SECOND / 10, "an answer took {slowest:?}");
        let logs = herd.end();
        let down = logs.lines("Hill", &["link.down", "neighbour=Smith"]);
        assert!(down[0].contains("the neighbour does not read"), "{down:?}");
    });
}

/// Says HELLO and goes on living, and reads nothing after Hill's HELLO.
async fn link_and_never_read() -> io::Result<()> {
    let listener = TcpListener::bind(SMITHS_LINKS).await?;
    let (mut stream, _) = listener.accept().await?;
    stream.read_u8().await?;
    let name = |name| ServerName::new(name).expect("a name");
    let now_ms = turmoil::since_epoch().expect("a host").as_millis() as u64;
    let hello = Hello {
        version: PROTOCOL_VERSION,
        herd: "wherd".to_owned(),
        origin: Origin {
            server: name("Smith"),
            incarnation: now_ms << 20,
        },
        to: name("Hill"),
        reflected: Default::default(),
        wants_kept: false,
        counters_reflected: Default::default(),
    };
    let mut bytes = Vec::new();
    frame::write_hello(&mut bytes, &hello);
    for value in 0.. {
        if stream.write_all(&bytes).await.is_err() {
            break;
        }
        tokio::time::sleep(SECOND / 2).await;
        bytes.clear();
        frame::write_ping(&mut bytes, value);
    }
    pending().await
}

/// Reports twenty times a second for twenty seconds; the longest time to an answer.
async fn slowest_answer(hill: &ServerConfig) -> io::Result<Duration> {
    tokio::time::sleep(SECOND / 10).await;
    let mut connection = Connection::connect(hill.clients.pair()).await?;
    let mut slowest = Duration::ZERO;
    for number in 0..400 {
        let began = tokio::time::Instant::now();
        let line = format!("IAMAT reporter +34-118 1795219200.{number:03}\n");
        connection.send(line).await?;
        connection.line().await?;
        slowest = slowest.max(began.elapsed());
        tokio::time::sleep(SECOND / 20).await;
    }
    Ok(slowest)
}

#[test]
fn slow_links_with_little_room_catch_up() {
    for_seeds("slow_links_with_little_room_catch_up", 0..2, |seed| {
        let mut herd = Setup::five(seed).tcp_capacity(3).start();
        herd.wait_linked(SECOND * 2);
        for (a, b) in herd.edges() {
            let latency = Duration::from_millis(250);
            herd.sim.set_link_latency(a, b, latency);
        }
        herd.start_writers(5);
        herd.run_for(SECOND * 6);
        herd.stop_writers();
        let took = herd.check_agreement(SECOND * 5);
        let count = herd.known.acknowledged_count.get();
        eprintln!("seed {seed}: {count} acknowledged, the same everywhere {took:?} later");
        let logs = herd.end();
        for server in ["Hill", "Jaquez", "Smith", "Campbell", "Singleton"] {
            let down = logs.lines(server, &["link.down"]);
            assert!(down.is_empty(), "{server}: {down:?}");
        }
    });
}

#[test]
fn a_client_that_never_reads_is_closed_and_delays_nobody() {
    let test = "a_client_that_never_reads_is_closed_and_delays_nobody";
    for_seeds(test, 0..2, |seed| {
        let mut herd = Setup::two(seed).latency_ms(5).tcp_capacity(8).start();
        herd.wait_linked(SECOND);
        let hill = herd.config.servers[0].clone();
        let stalled = Duration::from_secs(herd.config.limits.stalled_timeout_s);
        let asking = async move { ask_and_never_read(&hill, stalled).await };
        let glutton = herd.begin("glutton", asking);
        let hill = herd.config.servers[0].clone();
        let slowest = herd.perform("reporter", async move { slowest_answer(&hill).await });
        let slowest = slowest.expect("answers");
        assert!(slowest < SECOND / 10, "an answer took {slowest:?}");
        let was_open_and_closed = glutton.take().expect("the time is over");
        assert_eq!(was_open_and_closed.expect("Hill"), (true, true));
        let logs = herd.end();
        let closed = logs.lines("Hill", &["client.close", "the client does not read"]);
        assert_eq!(closed.len(), 1, "{closed:?}");
    });
}

/// Fills all room for answers. Whether the connection is open a second before the limit, and closed
/// a second after it.
async fn ask_and_never_read(hill: &ServerConfig, limit: Duration) -> io::Result<(bool, bool)> {
    let mut stream = TcpStream::connect(hill.clients.pair()).await?;
    let question = b"WHATSAT glutton 50 20\n";
    stream.write_all(b"IAMAT glutton +34-118 1\n").await?;
    for _ in 0..12 {
        tokio::time::sleep(Duration::from_millis(20)).await;
        stream.write_all(question).await?;
    }
    tokio::time::sleep(limit - SECOND).await;
    let is_open = stream.write_all(question).await.is_ok();
    tokio::time::sleep(SECOND * 2).await;
    Ok((is_open, stream.write_all(question).await.is_err()))
}
