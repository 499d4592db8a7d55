//! Who listens at an address of this machine, how many talk to it, and how much processor time it has
//! used.
//!
//! Read from `/proc`, so on Linux only, and of processes of the same user. Any server is found this way,
//! whatever it is written in, with all of its processes that listen together.

use std::collections::BTreeSet;
use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::thread;
use std::time::Duration;

use rustix::param::clock_ticks_per_second;
use rustix::time::{ClockId, clock_gettime};

/// The states of a socket, as the system's table has them.
const ESTABLISHED: &str = "01";
const LISTEN: &str = "0A";

/// The processes that listen at this address.
#[must_use]
pub fn listeners(address: SocketAddr) -> Vec<u32> {
    let inodes: BTreeSet<u64> = sockets(address, LISTEN).into_iter().collect();
    if inodes.is_empty() {
        return Vec::new();
    }
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let ids = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    ids.filter(|id| has_socket(*id, &inodes)).collect()
}

/// How many connections there are to this address, whoever made them; 0 where it is on another
/// machine.
#[must_use]
pub fn connections_count(address: SocketAddr) -> usize {
    sockets(address, ESTABLISHED).len()
}

/// How many processors the machine has, whichever of them this process may use: the servers may
/// use others.
pub(crate) fn processors_count() -> usize {
    let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
    // One line for all, `cpu`, and one for each, `cpu0`.
    let is_one = |line: &&str| {
        let number = line.strip_prefix("cpu");
        number.is_some_and(|number| number.starts_with(|c: char| c.is_ascii_digit()))
    };
    match stat.lines().filter(is_one).count() {
        0 => thread::available_parallelism().map_or(1, usize::from),
        count => count,
    }
}

/// The inodes of the sockets at an address of this machine that are in this state.
fn sockets(address: SocketAddr, state: &str) -> Vec<u64> {
    if !address.ip().to_canonical().is_loopback() {
        return Vec::new();
    }
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"];
    let tables = tables.map(|table| fs::read_to_string(table).unwrap_or_default());
    let lines = tables.iter().flat_map(|table| table.lines());
    lines
        .filter_map(|line| inode(line, address, state))
        .collect()
}

/// The inode of the socket in this line of the system's table, if it is there and in this state.
fn inode(line: &str, address: SocketAddr, state: &str) -> Option<u64> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let (host, port) = fields.get(1)?.rsplit_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let is_any = host.bytes().all(|byte| byte == b'0');
    // An IPv4 address that is mapped to IPv6 ends with it.
    let is_there = is_any || host.ends_with(&host_text(address.ip().to_canonical()));
    if port == address.port() && is_there && fields.get(3) == Some(&state) {
        fields.get(9)?.parse().ok()
    } else {
        None
    }
}

/// An address as the system's table has it.
fn host_text(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => format!("{:08X}", u32::from_ne_bytes(address.octets())),
        IpAddr::V6(address) => {
            let octets = address.octets();
            let (words, _) = octets.as_chunks::<4>();
            let words = words.iter().map(|word| u32::from_ne_bytes(*word));
            words.map(|word| format!("{word:08X}")).collect()
        }
    }
}

fn has_socket(id: u32, inodes: &BTreeSet<u64>) -> bool {
    let open = fs::read_dir(format!("/proc/{id}/fd"));
    let targets = open.into_iter().flatten().flatten().filter_map(|file| {
        let target = fs::read_link(file.path()).ok()?;
        let inode = target
            .to_str()?
            .strip_prefix("socket:[")?
            .strip_suffix(']')?;
        inode.parse().ok()
    });
    let mut targets = targets;
    targets.any(|inode: u64| inodes.contains(&inode))
}

/// How much processor time these have used since they began; `None` where one is gone or is not ours.
#[must_use]
pub fn processor_time(ids: &[u32]) -> Option<Duration> {
    if ids.is_empty() {
        return None;
    }
    ids.iter().map(|id| of_process(*id)).sum()
}

fn of_process(id: u32) -> Option<Duration> {
    let text = fs::read_to_string(Path::new("/proc").join(id.to_string()).join("stat")).ok()?;
    // The program's name is in brackets, and may have any bytes.
    let (_, fields) = text.rsplit_once(')')?;
    let mut fields = fields.split_whitespace().skip(11);
    let [user, system]: [u64; 2] = [fields.next()?.parse().ok()?, fields.next()?.parse().ok()?];
    let ticks_per_s = clock_ticks_per_second().max(1);
    Some(Duration::from_nanos(
        (user + system) * (1_000_000_000 / ticks_per_s),
    ))
}

/// How much processor time the calling thread has used.
#[must_use]
pub fn thread_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec as u32)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream};
    use std::thread;
    use std::time::Instant;

    #[test]
    fn who_listens_is_found() {
        for host in [
            "127.0.0.1:0",
            "[::1]:0",
            "0.0.0.0:0",
            "[::ffff:127.0.0.1]:0",
        ] {
            let Ok(listener) = TcpListener::bind(host) else {
                continue;
            };
            let port = listener.local_addr().expect("an address").port();
            let asked: IpAddr = if host.starts_with("[::1") {
                [0, 0, 0, 0, 0, 0, 0, 1].into()
            } else {
                [127, 0, 0, 1].into()
            };
            let address = SocketAddr::new(asked, port);
            assert_eq!(listeners(address), [std::process::id()], "{host}");
            drop(listener);
            assert!(listeners(address).is_empty(), "{host}");
        }
        assert!(listeners(SocketAddr::from(([192, 0, 2, 1], 80))).is_empty());
    }

    #[test]
    fn who_is_connected_is_counted() {
        for host in ["127.0.0.1:0", "[::1]:0", "[::]:0"] {
            let Ok(listener) = TcpListener::bind(host) else {
                continue;
            };
            let port = listener.local_addr().expect("an address").port();
            let asked: IpAddr = if host == "[::1]:0" {
                [0, 0, 0, 0, 0, 0, 0, 1].into()
            } else {
                [127, 0, 0, 1].into()
            };
            let address = SocketAddr::new(asked, port);
            let wait_for = |count| {
                let deadline = Instant::now() + Duration::from_secs(30);
                while connections_count(address) != count {
                    assert!(Instant::now() < deadline, "never {count} at {host}");
                    thread::sleep(Duration::from_millis(1));
                }
            };
            wait_for(0);
            let clients = [(); 2].map(|()| TcpStream::connect(address).expect("it listens"));
            let accepted = listener.accept().expect("a client");
            // The other one waits to be accepted.
            wait_for(2);
            drop(clients);
            wait_for(0);
            drop(accepted);
        }
    }

    #[test]
    fn processor_time_grows_with_work() {
        let own = [std::process::id()];
        let (process, thread) = (processor_time(&own).expect("ours"), thread_time());
        while thread_time() < thread + Duration::from_millis(40) {
            std::hint::spin_loop();
        }
        let process = processor_time(&own).expect("ours") - process;
        assert!(process >= Duration::from_millis(20), "{process:?}");
        assert_eq!(processor_time(&[]), None);
    }
}
