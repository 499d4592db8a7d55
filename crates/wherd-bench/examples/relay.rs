//! The least time that bytes take over two hops: the floor that the spread of updates is compared with.
//!
//! Three processes stand where a client's server, the one between and the farthest one stand; each reads and
//! writes on what it has read, and looks at nothing. The client writes a line to the first and waits
//! until the last has written it to a socket that the client reads, as `wherd bench --spread` has
//! all of its times from one clock. One line is on its way at a time.
//!
//! ```sh
//! cargo run --release -p wherd-bench --example relay -- 1000 10     # lines, and milliseconds between them
//! ```

use std::error::Error;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

const HOPS: usize = 3;
/// As long as an AT line of the load.
const LINE: &[u8] = &[b'x'; 94];

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.as_slice() {
        [hop, next] if hop == "hop" => relay(next.parse()?),
        [count, interval_ms] => {
            measure(count.parse()?, Duration::from_millis(interval_ms.parse()?))
        }
        _ => Err("how many lines, and how many milliseconds between them, please".into()),
    }
}

/// Takes one connection and writes what it reads to the next port, until it ends.
fn relay(next: u16) -> Result<(), Box<dyn Error>> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let mut out = connect(next)?;
    writeln!(std::io::stdout(), "{}", listener.local_addr()?.port())?;
    let (mut stream, _) = listener.accept()?;
    stream.set_nodelay(true)?;
    let mut buffer = [0; 4096];
    loop {
        match stream.read(&mut buffer)? {
            0 => return Ok(()),
            count => out.write_all(&buffer[..count])?,
        }
    }
}

fn connect(port: u16) -> std::io::Result<TcpStream> {
    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

fn measure(count: u64, interval: Duration) -> Result<(), Box<dyn Error>> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let mut port = listener.local_addr()?.port();
    // Each ends when the one before it does, and the first with this process.
    let mut children = Vec::new();
    for _ in 0..HOPS {
        let mut child = Command::new(std::env::current_exe()?)
            .args(["hop", &port.to_string()])
            .stdout(Stdio::piped())
            .spawn()?;
        let mut said = String::new();
        let output = child.stdout.take().ok_or("no output")?;
        BufReader::new(output).read_line(&mut said)?;
        port = said.trim().parse()?;
        children.push(child);
    }
    let mut first = connect(port)?;
    let (mut last, _) = listener.accept()?;
    let mut times_ns = Histogram::<u64>::new(3)?;
    let mut answer = [0; LINE.len()];
    for _ in 0..count {
        let sent = Instant::now();
        first.write_all(LINE)?;
        last.read_exact(&mut answer)?;
        times_ns.record(sent.elapsed().as_nanos() as u64)?;
        std::thread::sleep(interval);
    }
    drop(first);
    for mut child in children {
        child.wait()?;
    }
    let at = |quantile| times_ns.value_at_quantile(quantile) as f64 / 1e3;
    let (p50, p99, max) = (at(0.5), at(0.99), times_ns.max() as f64 / 1e3);
    writeln!(
        std::io::stdout(),
        r#"{{"p50_us": {p50}, "p99_us": {p99}, "max_us": {max}}}"#
    )?;
    Ok(())
}
