//! Clients that are many, slow or hostile: each limit is reached, counted, and felt by nobody else.
//!
//! The figures of `docs/limits.md` come from the tests that are ignored here: the same with as many
//! clients as the promise names. They want a release build, 20,000 open files and the machine to
//! themselves:
//!
//!     cargo test --release -p wherd --test it -- limits --ignored --test-threads 1 --nocapture

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit, setrlimit};

use crate::herd::{
    Client, FIVE, Herd, PATIENCE, Peer, SLACK, Server, Setup, Stop, hello_with, shown, wait_for,
    wait_until,
};

const CONNECTIONS: &str = "wherd_client_connections";
const ACCEPTED: &str = "wherd_client_connections_accepted_total";
const REFUSED: &str = "wherd_client_connections_refused_total";
const LIMIT: &str = "wherd_client_connections_limit";
const CLOSED_AS_IDLE: &str = "wherd_client_connections_closed_total{why=\"idle\"}";
const CLOSED_FOR_SLOW_LINE: &str = "wherd_client_connections_closed_total{why=\"slow_line\"}";
const CLOSED_FOR_NOT_READING: &str = "wherd_client_connections_closed_total{why=\"not_reading\"}";

/// Hill alone, with these limits.
fn lonely(limits: &str) -> (Herd, Server) {
    let herd = Setup::lonely().with(&format!("[limits]\n{limits}")).start();
    let hill = herd.server("Hill");
    (herd, hill)
}

/// Lets this process have as many sockets as it may.
fn raise_open_files() {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: maximum,
        maximum,
    };
    setrlimit(Resource::Nofile, raised).expect("the hard limit is allowed");
}

/// As many connections, all accepted.
fn crowd(hill: &Server, count: usize) -> Vec<TcpStream> {
    raise_open_files();
    let before = hill.metric(ACCEPTED);
    let connect = |_| TcpStream::connect(hill.clients).expect("it listens");
    let crowd: Vec<_> = (0..count).map(connect).collect();
    wait_until("the crowd", || {
        hill.metric(ACCEPTED) >= before + count as f64
    });
    crowd
}

fn proc_file(server: &Server, name: &str) -> String {
    fs::read_to_string(format!("/proc/{}/{name}", server.pid)).expect("it runs")
}

fn resident_bytes(server: &Server) -> u64 {
    let status = proc_file(server, "status");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB"));
    kib.expect("a size").parse::<u64>().expect("a number") * 1024
}

fn open_files(server: &Server) -> BTreeSet<u64> {
    let entries = fs::read_dir(format!("/proc/{}/fd", server.pid)).expect("it runs");
    let name = |entry: std::io::Result<fs::DirEntry>| entry.expect("an entry").file_name();
    let number = |name: std::ffi::OsString| name.to_str()?.parse().ok();
    entries.filter_map(|entry| number(name(entry))).collect()
}

/// Processor time that it has taken so far, in hundredths of a second.
fn taken_ticks(server: &Server) -> u64 {
    let stat = proc_file(server, "stat");
    // The name of the program, in parentheses, may have spaces.
    let fields = stat.rsplit(')').next().expect("fields");
    let fields: Vec<_> = fields.split_whitespace().collect();
    let ticks = |index: usize| fields[index].parse::<u64>().expect("a number");
    ticks(11) + ticks(12)
}

/// How long 99 of a hundred round trips take at the most, until `is_over`.
fn slowest_of_hundred(client: &mut Client, mut is_over: impl FnMut() -> bool) -> Duration {
    let mut times = Vec::new();
    while !is_over() {
        times.push(client.round_trip("good"));
        thread::sleep(Duration::from_millis(1));
    }
    times.sort_unstable();
    times[times.len() * 99 / 100]
}

/// Slow writers delay nobody: of a few tries one shows that, since what else the machine does can
/// only make it look worse.
fn check_slow_writers(count: usize, line_timeout_s: u64, floor: Duration) {
    let mut tries = Vec::new();
    for _ in 0..4 {
        let (quiet, busy) = slow_writers(count, line_timeout_s);
        tries.push((quiet, busy));
        if busy < (quiet * 2).max(floor) {
            return;
        }
    }
    panic!("99 of 100 round trips, without slow writers and with them: {tries:?}");
}

/// A crowd begins lines, and goes on with a byte now and then. All are gone in time. How long 99 of
/// 100 round trips of another client take before that, and meanwhile.
fn slow_writers(count: usize, line_timeout_s: u64) -> (Duration, Duration) {
    let (_herd, hill) = lonely(&format!("line_timeout_s = {line_timeout_s}"));
    let mut good = hill.connect();
    let mut crowd = crowd(&hill, count);
    let start = Instant::now();
    let quiet = slowest_of_hundred(&mut good, || start.elapsed() > Duration::from_secs(2));
    let begun = Instant::now();
    for stream in &mut crowd {
        stream.write_all(b"IAMAT ").expect("it reads");
        stream.set_nonblocking(true).expect("a socket");
    }
    let is_over = AtomicBool::new(false);
    let (busy, gone_after) = thread::scope(|scope| {
        scope.spawn(|| dribble(&crowd, &is_over));
        let watch = scope.spawn(|| {
            wait_until("the end of the crowd", || hill.metric(CONNECTIONS) <= 1.0);
            is_over.store(true, Ordering::Relaxed);
            begun.elapsed()
        });
        let busy = slowest_of_hundred(&mut good, || is_over.load(Ordering::Relaxed));
        (busy, watch.join().expect("they go"))
    });
    eprintln!("{count} slow writers gone after {gone_after:?}; p99 {quiet:?}, then {busy:?}");
    let limit = Duration::from_secs(line_timeout_s);
    assert!(gone_after >= limit, "{gone_after:?}");
    let latest = limit + Duration::from_secs(2) * SLACK;
    assert!(gone_after <= latest, "{gone_after:?}");
    assert_eq!(hill.metric(CLOSED_FOR_SLOW_LINE), count as f64);
    (quiet, busy)
}

/// A byte to each of them about every two seconds, and to a few at once.
fn dribble(crowd: &[TcpStream], is_over: &AtomicBool) {
    let parts = crowd.len().div_ceil(5);
    while !is_over.load(Ordering::Relaxed) {
        for part in crowd.chunks(5) {
            for mut stream in part {
                // Who is closed cannot.
                let _ = stream.write(b"x");
            }
            thread::sleep(Duration::from_secs(2) / parts as u32);
        }
    }
}

#[test]
fn a_thousand_slow_writers_are_gone_in_time_and_delay_nobody() {
    check_slow_writers(1_000, 2, Duration::from_millis(20) * SLACK);
}

#[test]
#[ignore = "takes a quiet machine: see the head of this file"]
fn five_thousand_slow_writers_are_gone_in_time_and_delay_nobody() {
    check_slow_writers(5_000, 10, Duration::from_micros(500));
}

/// A crowd says nothing, or a line, or, half of it, as much as makes buffers grow; it costs little
/// from then on.
fn check_idle(count: usize) {
    // A debug build's futures are larger.
    const MOST_BYTES: u64 = if cfg!(debug_assertions) { 9_000 } else { 6_000 };
    let (_herd, hill) = lonely("");
    let line = b"IAMAT a +34-118 5\n";
    // What the first client makes the server keep is no cost of a connection.
    hill.talk(&line.repeat(400));
    let before = resident_bytes(&hill);
    let mut crowd = crowd(&hill, count);
    for (number, stream) in crowd.iter_mut().enumerate() {
        let lines_count = [0, 1, 400, 400][number % 4];
        let bytes = line.repeat(lines_count);
        stream.write_all(&bytes).expect("it reads");
        let mut replies =
            vec![0; lines_count * b"AT Hill +1795261607.959498503 a +34-118 5\n".len()];
        stream.read_exact(&mut replies).expect("it answers");
    }
    let bytes = wait_for("little memory", || {
        let bytes = resident_bytes(&hill).saturating_sub(before) / count as u64;
        (bytes <= MOST_BYTES).then_some(bytes)
    });
    eprintln!("{count} idle connections: {bytes} bytes each");
    assert_eq!(hill.metric(CONNECTIONS), count as f64);
    // They are served as before.
    for stream in crowd.iter_mut().take(30) {
        stream.write_all(b"x\n").expect("it reads");
        let mut reply = [0; 4];
        stream.read_exact(&mut reply).expect("it answers");
        assert_eq!(&reply, b"? x\n");
    }
}

#[test]
fn two_thousand_idle_connections_take_six_kilobytes_each() {
    check_idle(2_000);
}

#[test]
#[ignore = "takes 15,000 sockets: see the head of this file"]
fn fifteen_thousand_idle_connections_take_six_kilobytes_each() {
    check_idle(15_000);
}

#[test]
fn idle_connections_are_closed_and_counted() {
    let (_herd, hill) = lonely("idle_timeout_s = 2");
    let _crowd = crowd(&hill, 200);
    wait_until("the end of all", || hill.metric(CLOSED_AS_IDLE) == 200.0);
    assert_eq!(hill.metric(CONNECTIONS), 0.0);
}

/// Connections that send without an end, as fast as it goes, and never a newline.
#[test]
fn lines_without_an_end_take_no_memory_and_are_cut_off() {
    const COUNT: usize = 20;
    let (_herd, hill) = lonely("line_timeout_s = 2");
    let mut good = hill.connect();
    good.round_trip("good");
    let before = resident_bytes(&hill);
    let crowd = crowd(&hill, COUNT);
    let most = thread::scope(|scope| {
        for mut stream in crowd {
            scope.spawn(move || while stream.write_all(&[b'x'; 1 << 16]).is_ok() {});
        }
        let mut most = 0;
        wait_until("the end of all", || {
            good.round_trip("good");
            most = most.max(resident_bytes(&hill));
            hill.metric(CLOSED_FOR_SLOW_LINE) == COUNT as f64
        });
        most
    });
    // A buffer of 64 KiB each, and what the allocator keeps.
    let growth = most.saturating_sub(before);
    eprintln!(
        "{COUNT} endless lines: {} KiB each",
        growth / 1024 / COUNT as u64
    );
    assert!(growth < COUNT as u64 * (256 << 10), "{growth}");
    assert_eq!(hill.metric("wherd_long_lines_total"), COUNT as f64);
}

/// Connections that ask for places without an end, and read none of them.
fn check_never_readers(count: usize, stalled_timeout_s: u64) {
    const WAITING_BYTES: u64 = 256 << 10;
    let (_herd, hill) = lonely(&format!("stalled_timeout_s = {stalled_timeout_s}"));
    let mut good = hill.connect();
    good.round_trip("good");
    hill.iamat("a", "+34.068930-118.445127", "5");
    let before = resident_bytes(&hill);
    let crowd = crowd(&hill, count);
    let questions = b"WHATSAT a 50 20\n".repeat(1000);
    let start = Instant::now();
    let most = thread::scope(|scope| {
        for mut stream in crowd {
            let questions = &questions;
            scope.spawn(move || while stream.write_all(questions).is_ok() {});
        }
        let mut most = 0;
        wait_until("the end of all", || {
            good.round_trip("good");
            most = most.max(resident_bytes(&hill));
            hill.metric(CLOSED_FOR_NOT_READING) == count as f64
        });
        most
    });
    let growth = most.saturating_sub(before) / count as u64;
    let taken = start.elapsed();
    eprintln!(
        "{count} that never read: {} KiB each, gone after {taken:?}",
        growth / 1024
    );
    // What waits, a reply of the greatest length beyond it, twice for a buffer that grows, and
    // what was read.
    assert!(growth < WAITING_BYTES * 3, "{growth}");
    assert!(taken >= Duration::from_secs(stalled_timeout_s), "{taken:?}");
    wait_until("the good one to be alone", || {
        hill.metric(CONNECTIONS) == 1.0
    });
}

#[test]
fn clients_that_never_read_take_bounded_memory_and_are_cut_off() {
    check_never_readers(40, 2);
}

#[test]
#[ignore = "takes a quiet machine: see the head of this file"]
fn five_hundred_clients_that_never_read_take_bounded_memory() {
    check_never_readers(500, 10);
}

/// Every server of a herd is told of far more clients than it may know, all at once.
fn check_id_flood(ids_count: usize, clients_limit: usize, most_bytes: u64) {
    let limits = format!("[limits]\nclients = {clients_limit}");
    let herd = Setup::five().with(&limits).start();
    let servers = herd.servers();
    let known = herd.server("Hill").iamat("known", "+34-118", "5");
    herd.wait_until_equal(&FIVE.map(|(name, _)| name), 1);
    let before: Vec<_> = servers.iter().map(resident_bytes).collect();
    thread::scope(|scope| {
        for server in &servers {
            scope.spawn(|| flood_with_ids(server, ids_count / FIVE.len()));
        }
    });
    let clients_count = wait_for("equal servers", || {
        let statuses: Vec<_> = servers.iter().map(Server::status).collect();
        let digests: BTreeSet<_> = statuses.iter().map(|s| &s.digest).collect();
        (digests.len() == 1).then_some(statuses[0].clients_count)
    });
    // Until they hear of each other's clients each of them has room of its own.
    let most_count = clients_limit * FIVE.len();
    assert!((clients_limit..=most_count).contains(&(clients_count as usize)));
    for (server, before) in servers.iter().zip(before) {
        let growth = resident_bytes(server).saturating_sub(before);
        eprintln!(
            "{}: {clients_count} clients, {} KiB more",
            server.name,
            growth / 1024
        );
        assert!(growth < most_bytes, "{growth}");
        assert_eq!(server.whatsat("known"), Some(known.clone()));
        server.iamat("known", "+34-118", "4");
        let line = format!("IAMAT new{} +1-1 5\n", server.name);
        assert_eq!(
            server.talk(line.as_bytes()),
            [b"? ", line.as_bytes()].concat()
        );
        assert_eq!(server.metric("wherd_clients"), clients_count as f64);
        assert_eq!(server.metric("wherd_clients_limit"), clients_limit as f64);
    }
    let refused = servers
        .iter()
        .map(|s| s.metric("wherd_reports_refused_total"));
    let accepted = servers
        .iter()
        .map(|s| s.metric("wherd_reports_accepted_total"));
    let (refused, accepted) = (refused.sum::<f64>(), accepted.sum::<f64>());
    let (said, tried) = (ids_count as f64 + 1.0, FIVE.len() as f64);
    assert_eq!(
        accepted + refused,
        said + tried,
        "each is accepted or refused"
    );
    let newest = herd.server("Campbell").iamat("known", "+35-118", "6");
    herd.server("Jaquez").wait_until_it_tells("known", &newest);
}

/// Reports of as many clients that nobody knows, each answered with AT or refused.
fn flood_with_ids(server: &Server, count: usize) {
    let mut client = server.connect();
    let mut writing = client.stream();
    thread::scope(|scope| {
        scope.spawn(move || {
            for first in (0..count).step_by(1000) {
                let numbers = first..count.min(first + 1000);
                let line = |n: usize| format!("IAMAT {}-{n:07}-of-a-flood +1-1 5\n", server.name);
                let lines: String = numbers.map(line).collect();
                writing.write_all(lines.as_bytes()).expect("it reads");
            }
            writing.shutdown(Shutdown::Write).expect("a socket");
        });
        let replies = client.read_to_end();
        let replies: Vec<_> = replies.split_inclusive(|byte| *byte == b'\n').collect();
        assert_eq!(replies.len(), count);
        let at = format!("AT {} ", server.name);
        let is_one =
            |reply: &&[u8]| reply.starts_with(at.as_bytes()) || reply.starts_with(b"? IAMAT ");
        let other = replies.iter().find(|reply| !is_one(reply));
        assert_eq!(other, None);
    });
}

#[test]
fn a_flood_of_ids_fills_no_server_and_hides_no_client() {
    check_id_flood(100_000, 2_000, 64 << 20);
}

#[test]
#[ignore = "takes a quiet machine: see the head of this file"]
fn two_million_ids_fill_no_server_and_hide_no_client() {
    check_id_flood(2_000_000, 100_000, 200 << 20);
}

#[test]
fn client_ids_that_are_too_long_are_counted() {
    let (_herd, hill) = lonely("client_id_bytes = 8");
    for line in ["IAMAT 123456789 +1-1 5\n", "WHATSAT 123456789 0 0\n"] {
        assert_eq!(
            shown(&hill.talk(line.as_bytes())),
            shown(format!("? {line}").as_bytes())
        );
    }
    hill.iamat("12345678", "+1-1", "5");
    assert_eq!(hill.metric("wherd_long_client_ids_total"), 2.0);
    assert_eq!(hill.metric("wherd_refused_lines_total"), 2.0);
}

/// Hill has a neighbour, and room for 300 descriptors.
fn cramped() -> Herd {
    let servers: [(&str, &[&str]); 2] = [("Hill", &["Smith"]), ("Smith", &[])];
    Setup::of(&servers).with_open_files([200, 300]).start()
}

#[test]
fn clients_leave_descriptors_for_neighbours_and_http() {
    // 300, but for 64 of its own, 36 for links and 37 for HTTP.
    const ROOM: usize = 163;
    let mut herd = cramped();
    let hill = herd.server("Hill");
    assert_eq!(
        hill.metric("process_max_fds"),
        300.0,
        "the soft limit is raised"
    );
    assert_eq!(hill.metric(LIMIT), ROOM as f64);
    assert_eq!(hill.status().connections_limit, ROOM as u64);
    let told = [
        "server.limits",
        "client_connections=163",
        "configured=16000",
        "ulimit -n",
    ];
    hill.wait_for_log(&told);
    assert!(herd.words().contains("server.limits"), "{}", herd.words());
    let crowd = crowd(&hill, ROOM);
    for _ in 0..300 {
        hill.connect().wait_for_close();
    }
    assert_eq!(hill.metric(REFUSED), 300.0);
    herd.stop("Smith", Stop::Killed);
    herd.restart("Smith");
    herd.wait_until_linked();
    assert_eq!(
        hill.metric("wherd_accept_failures_total{listener=\"clients\"}"),
        0.0
    );
    assert!(hill.metric("process_open_fds") > ROOM as f64);
    for mut stream in crowd {
        stream.write_all(b"x\n").expect("it reads");
        let mut reply = [0; 4];
        stream.read_exact(&mut reply).expect("it answers");
    }
}

#[test]
fn without_descriptors_accepting_waits_and_neighbours_still_link() {
    let servers: [(&str, &[&str]); 2] = [("Hill", &["Smith"]), ("Smith", &[])];
    let herd = Setup::of(&servers).only(&["Hill"]).bind();
    let hill = herd.server("Hill");
    let mut before = hill.connect();
    before.round_trip("a");
    const FAILURES: &str = "wherd_accept_failures_total{listener=\"clients\"}";
    // No higher descriptor than those that are open, and no gap among them.
    let pid = Pid::from_raw(hill.pid as i32);
    let limit_to = |current| {
        let limit = Rlimit {
            current: Some(current),
            maximum: getrlimit(Resource::Nofile).maximum,
        };
        prlimit(pid, Resource::Nofile, limit)
            .expect("a child's child")
            .current
    };
    let usual = limit_to(open_files(&hill).len() as u64).expect("a limit");
    let mut fillers = Vec::new();
    wait_until("the last descriptor gone", || {
        fillers.push(hill.connect());
        hill.metric(FAILURES) > 0.0
    });
    // Whatever is given back for a moment has somebody waiting for it.
    fillers.extend((0..20).map(|_| hill.connect()));
    let mut waiting = hill.connect();
    let (start, failures, ticks) = (Instant::now(), hill.metric(FAILURES), taken_ticks(&hill));
    let period = Duration::from_secs(3);
    wait_until("some time", || {
        before.round_trip("a");
        thread::sleep(Duration::from_millis(20));
        start.elapsed() >= period
    });
    // From 10 ms on the pauses double, up to a second: nine of them in these three seconds.
    let failures = hill.metric(FAILURES) - failures;
    assert!((1.0..=12.0).contains(&failures), "{failures}");
    let ticks = taken_ticks(&hill) - ticks;
    assert!(ticks < 100, "{ticks} hundredths of a second of {period:?}");
    hill.wait_for_log(&["accept.failed", "listener=clients", "why="]);
    Peer::linked(&hill, "Smith");
    limit_to(usual);
    waiting.round_trip("b");
}

/// Whoever says that it is done is answered and forgotten, though it never closes.
#[test]
fn half_closed_connections_take_no_seat() {
    let (_herd, hill) = lonely("");
    hill.iamat("a", "+1-1", "5");
    let before = open_files(&hill).len();
    let crowd: Vec<_> = (0..600)
        .map(|number| {
            let mut stream = TcpStream::connect(hill.clients).expect("it listens");
            let words = [&b""[..], b"IAMAT a +1-1 5\n", b"IAMAT a +1-1 5\nWHATSA"][number % 3];
            stream.write_all(words).expect("it reads");
            stream.shutdown(Shutdown::Write).expect("a socket");
            stream
        })
        .collect();
    wait_until("free seats", || {
        hill.metric(CONNECTIONS) == 0.0 && open_files(&hill).len() <= before + 1
    });
    for (number, mut stream) in crowd.into_iter().enumerate() {
        stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
        let mut replies = String::new();
        stream.read_to_string(&mut replies).expect("the end");
        assert_eq!(replies.lines().count(), number % 3, "{replies:?}");
    }
}

/// Connections that come and go at once, from several sides: nothing of them stays.
fn check_churn(count: usize) {
    const SIDES: usize = 4;
    let herd = Setup::lonely()
        .with("[log]\nconnection_lines_per_second = 100")
        .start();
    let hill = herd.server("Hill");
    let mut good = hill.connect();
    let mut churn = |count: usize| {
        let before = hill.metric(ACCEPTED);
        thread::scope(|scope| {
            for _ in 0..SIDES {
                scope.spawn(|| {
                    for number in 1..=count / SIDES {
                        come_and_go(&hill);
                        if number % 100 == 0 {
                            // More than a few hundred that wait to be accepted are given up by
                            // the system, and never counted.
                            hill.connect().round_trip("other");
                        }
                    }
                });
            }
        });
        wait_until("all to have come and gone", || {
            good.round_trip("good");
            hill.metric(ACCEPTED) >= before + count as f64 && hill.metric(CONNECTIONS) == 1.0
        });
    };
    churn(count / 10);
    let (memory, files) = (resident_bytes(&hill), open_files(&hill).len());
    let start = Instant::now();
    churn(count);
    let growth = resident_bytes(&hill).saturating_sub(memory);
    let rate = count as f64 / start.elapsed().as_secs_f64();
    eprintln!(
        "{count} connections, {rate:.0} a second: {} KiB more",
        growth / 1024
    );
    assert!(growth < 4 << 20, "{growth}");
    wait_until("their descriptors", || open_files(&hill).len() <= files + 1);
    let line = hill.wait_for_log(&["log.left_out", "client.open=", "client.close="]);
    let written = hill.log().matches(" client.open ").count();
    // The budget of each second that it took, and of those at both ends.
    let seconds = herd.spawned_at.elapsed().as_secs() as usize + 2;
    assert!(written <= 100 * seconds, "{written} lines; {line}");
}

fn come_and_go(hill: &Server) {
    let stream = TcpStream::connect(hill.clients).expect("it listens");
    // Otherwise the ports of this machine are used up by those that were closed.
    let _ = rustix::net::sockopt::set_socket_linger(&stream, Some(Duration::ZERO));
}

#[test]
fn connections_that_come_and_go_leave_nothing_behind() {
    check_churn(4_000);
}

#[test]
#[ignore = "takes a while: see the head of this file"]
fn a_hundred_thousand_connections_leave_nothing_behind() {
    check_churn(100_000);
}

#[test]
fn http_connections_are_bounded_in_number_and_time() {
    let (_herd, hill) =
        lonely("http_connections = 3\nhttp_header_timeout_s = 2\nhttp_timeout_s = 4");
    let refused = || hill.metric("wherd_http_connections_refused_total");
    let begin = |words: &[u8]| {
        let mut client = Client::connect(hill.http);
        client.send(words);
        client
    };
    // Two that never say what they want; the third seat is for those who ask.
    let start = Instant::now();
    let mut silent = [begin(b"GET /livez HTT"), begin(b"")];
    wait_until("the seats taken", || {
        hill.metric("wherd_http_connections") == 3.0
    });
    for client in &mut silent {
        client.wait_for_close();
    }
    let waited = start.elapsed();
    let bounds = Duration::from_millis(1900)..Duration::from_secs(3) * SLACK;
    assert!(bounds.contains(&waited), "{waited:?}");
    let closed = || hill.metric("wherd_http_connections_timed_out_total");
    wait_until("both counted", || closed() >= 2.0);
    // One that asks again and again, and is closed for all that.
    let mut busy = begin(b"");
    wait_until("its end", || {
        thread::sleep(Duration::from_millis(200));
        busy.try_send(b"GET /livez HTTP/1.1\r\nHost: a\r\n\r\n")
            .is_err()
    });
    let before = refused();
    let mut crowd: Vec<_> = (0..3).map(|_| begin(b"")).collect();
    crowd.push(Client::connect(hill.http));
    crowd.pop().expect("one too many").wait_for_close();
    drop(crowd);
    wait_until("the refusal counted", || {
        let answer = hill.try_get("/metrics");
        answer.is_ok_and(|(code, ..)| code == 200) && refused() > before
    });
    let mut endless = begin(b"GET /livez HTTP/1.1\r\nX: ");
    let _ = endless.try_send(&[b'x'; 64 << 10]);
    let reply = endless.read_line();
    assert!(reply.starts_with(b"HTTP/1.1 431"), "{}", shown(&reply));
}

/// Bytes of clients and of neighbours get into the log in many places, and are escaped in all.
#[test]
fn nobody_forges_a_line_anywhere_in_the_log() {
    for format in ["text", "json"] {
        let servers: [(&str, &[&str]); 2] = [("Hill", &["Smith"]), ("Smith", &[])];
        let toml = format!("[log]\nformat = \"{format}\"");
        let herd = Setup::of(&servers).with(&toml).start();
        let (hill, smith) = (herd.server("Hill"), herd.server("Smith"));
        say_forged_things(&hill, &smith);
        let everywhere: [(&Server, &[&str]); 2] = [
            (
                &hill,
                &[
                    "client.in",
                    "client.out",
                    "spread",
                    "withheld",
                    "places",
                    "neighbour.out",
                    "link.refused",
                ],
            ),
            (
                &smith,
                &[
                    "neighbour.in",
                    "spread",
                    "client.in",
                    "client.out",
                    "places",
                ],
            ),
        ];
        for (server, events) in everywhere {
            for event in events {
                server.wait_for_log(&[event, "forged"]);
            }
            check_log(server, format == "json");
        }
    }
}

const FORGED: &[u8] = b"forged\x1b[2J\x07\"q\"=\\\xff\xc2\x85\xe2\x80\xa8\xe2\x80\xae\x7f\0";

fn say_forged_things(hill: &Server, smith: &Server) {
    let line = [b"IAMAT ", FORGED, b" +34-118 5\n"].concat();
    let older = [b"IAMAT ", FORGED, b" +34-118 4\n"].concat();
    let question = [b"WHATSAT ", FORGED, b" 1 1\n"].concat();
    let nonsense = [
        FORGED,
        b"\r2026-01-01T00:00:00.000000Z client.open client=forged\r\r\n",
    ]
    .concat();
    hill.talk(&[&line, &older, &question, &nonsense[..]].concat());
    wait_until("the forged client", || smith.status().clients_count == 1);
    smith.talk(&question);
    let mut peer = Peer::connect(hill);
    peer.client.send(&hello_with("Smith", "Hill", |hello| {
        hello.herd = String::from_utf8_lossy(FORGED).into_owned();
    }));
    peer.wait_for_close();
}

/// Every line is one that the server wrote, and nothing in it does anything but print.
fn check_log(server: &Server, is_json: bool) {
    for line in server.log().split('\n').filter(|line| !line.is_empty()) {
        let paints = |c: char| c.is_control() || matches!(c, '\u{2028}'..='\u{202e}');
        assert!(!line.contains(paints), "{line:?}");
        if is_json {
            let event: serde_json::Value = serde_json::from_str(line).expect(line);
            assert!(
                event["time"].is_string() && event["event"].is_string(),
                "{line}"
            );
        } else {
            let is_time = |byte: u8| byte.is_ascii_digit() || b"-:.TZ".contains(&byte);
            assert!(line.bytes().take(27).all(is_time), "{line:?}");
            assert_eq!(line.as_bytes()[27], b' ', "{line:?}");
        }
    }
}
