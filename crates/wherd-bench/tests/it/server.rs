//! A server that answers as a herd of one would, and can be told to be bad at it.

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader, BufWriter, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use wherd_bench::Target;

/// What it does to each answer: its number on the connection, and what is right.
pub(crate) type Manner = fn(u64, String) -> Option<String>;

/// Always right.
pub(crate) fn good(_: u64, answer: String) -> Option<String> {
    Some(answer)
}

type Known = Arc<Mutex<HashMap<String, String>>>;

/// Servers that know the same at once.
pub(crate) fn herd(names: &[&str], manner: Manner) -> Vec<Target> {
    let known = Known::default();
    let start = |name: &&str| start(name, manner, Arc::clone(&known));
    names.iter().map(start).collect()
}

fn start(name: &str, manner: Manner, known: Known) -> Target {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("its address");
    let target = Target {
        name: name.to_owned(),
        address,
    };
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (stream, known) = (stream.expect("a client"), Arc::clone(&known));
            // Who bench leaves is no failure of ours.
            thread::spawn(move || serve(stream, manner, &known));
        }
    });
    target
}

fn serve(stream: TcpStream, manner: Manner, known: &Known) -> std::io::Result<()> {
    let mut out = BufWriter::new(stream.try_clone()?);
    let mut lines = BufReader::new(stream);
    let mut line = String::new();
    for number in 0.. {
        if lines.buffer().is_empty() {
            out.flush()?;
        }
        line.clear();
        if lines.read_line(&mut line)? == 0 {
            break;
        }
        let Some(answer) = manner(number, answer(&line, known)) else {
            break;
        };
        out.write_all(answer.as_bytes())?;
    }
    out.flush()
}

fn answer(line: &str, known: &Known) -> String {
    let mut known = known.lock().expect("nobody panics with it");
    let fields: Vec<&str> = line.split_whitespace().collect();
    match fields.as_slice() {
        ["IAMAT", client, position, time] => {
            let told = format!("AT Tiny +0.000000001 {client} {position} {time}\n");
            known.insert((*client).to_owned(), told.clone());
            told
        }
        ["WHATSAT", client, ..] => match known.get(*client) {
            Some(told) => format!("{told}{{\n   \"status\" : \"OK\"\n}}\n\n"),
            None => format!("? {line}"),
        },
        _ => format!("? {line}"),
    }
}
