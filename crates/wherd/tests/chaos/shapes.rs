//! Tests with a fixed shape: one kind of fault, many times.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use wherd_sim::Random;

use crate::checker::{Checker, Counts, Promise};
use crate::disk::{Failing, How, Injection, take_image};
use crate::herd::{Client, FIVE, Server, now_text, shown, wait_for, wait_until};
use crate::history::{Exchange, Finals};
use crate::network::run;
use crate::options::{Acknowledge, Folder, Options};
use crate::server::Member;
use crate::summary::Summary;
use crate::trial::{Trial, ask, place};

/// How long clients pause between two bursts, at most.
const PAUSE_MS: u64 = 20;
/// How many lines clients say before the first image is taken.
const ENOUGH_LINES: usize = 1_000;

/// Kills servers in the moment in which a client has read an acknowledgement, and now and then all
/// of them.
pub(crate) fn kill_many(options: &Options) -> Summary {
    let mut trial = Trial::start("kills", options, PAUSE_MS);
    let (mut summary, mut random) = (Summary::default(), Random::new(options.seed));
    for number in 1..=options.times(10, 100) {
        trial.load.open();
        let any = random.below(FIVE.len());
        trial.member(any).target(true);
        wait_until("a kill", || trial.member(any).ended().is_some());
        if number % 5 == 0 {
            summary.fault("kill -9 of all servers");
            trial.kill_all();
            trial.start_all();
        } else {
            summary.fault("kill -9 right after an answer");
            trial.member(any).reap();
            trial.member(any).start();
        }
        summary.take(trial.check());
    }
    summary
}

/// Stops servers with SIGTERM under load, where everything is in memory: what was acknowledged has
/// to be at a neighbour before the process is gone.
pub(crate) fn stop_many(options: &Options) -> Summary {
    let options = Options {
        acknowledge: Acknowledge::Memory,
        ..*options
    };
    let mut trial = Trial::start("stops", &options, PAUSE_MS);
    let (mut summary, mut random) = (Summary::default(), Random::new(options.seed));
    for _ in 0..options.times(10, 100) {
        trial.load.open();
        // Somewhere in the middle of what clients say.
        thread::sleep(Duration::from_millis(random.within(&(50..300))));
        let any = random.below(FIVE.len());
        summary.fault("SIGTERM");
        trial.member(any).signal(Signal::TERM);
        trial.member(any).check_stopped();
        trial.member(any).start();
        summary.take(trial.check());
    }
    summary
}

/// What a disk had of a running server at some moment.
struct Image {
    server: usize,
    data: PathBuf,
    /// What was acknowledged before this has to be in it.
    taken_at: Duration,
    what: String,
}

/// Takes images of the disks of running servers at random moments, kills the herd, and starts a
/// server from each image, alone; and the herd from one image of each server, each of another
/// moment.
pub(crate) fn cut_the_power(options: &Options) -> Summary {
    let trial = Trial::start("power", options, 5);
    let (mut summary, mut random) = (Summary::default(), Random::new(options.seed));
    trial.load.open();
    wait_until("lines to look for", || {
        trial.recorder.count() > ENOUGH_LINES
    });
    let single = (0..options.times(5, 50)).map(|_| random.below(FIVE.len()));
    let servers: Vec<usize> = single.chain(0..FIVE.len()).collect();
    let images: Vec<Image> = servers
        .into_iter()
        .enumerate()
        .map(|(number, server)| {
            thread::sleep(Duration::from_millis(random.within(&(20..400))));
            Image::take(&trial, number, server, &mut random)
        })
        .collect();
    trial.load.close();
    wait_until("clients with nothing in flight", || trial.load.is_quiet());
    trial.kill_all();
    let last_page = trial.folder().join("history-last.jsonl");
    let exchanges = trial.recorder.turn_page(&last_page).expect("a file");
    let (single, herd) = images.split_at(images.len() - FIVE.len());
    for image in single {
        summary.fault("image of a cut power");
        check_image(&trial, image, &exchanges, &mut summary);
    }
    summary.fault("herd of images of a cut power");
    check_herd_of_images(&trial, herd, &exchanges, &mut summary);
    assert!(
        summary.counts().checked > 0,
        "nothing was acknowledged before"
    );
    summary
}

impl Image {
    fn take(trial: &Trial, number: usize, server: usize, random: &mut Random) -> Self {
        let data = trial.folder().join(format!("image-{number}"));
        let taken_at = trial.recorder.now();
        let what = take_image(&trial.data(), FIVE[server].0, &data, random);
        Self {
            server,
            data,
            taken_at,
            what: what.expect("a journal"),
        }
    }
}

/// The herd from an image of each server agrees, and has what each acknowledged before its own.
fn check_herd_of_images(
    trial: &Trial,
    images: &[Image],
    exchanges: &[Exchange],
    summary: &mut Summary,
) {
    for image in images {
        let name = FIVE[image.server].0;
        let data = trial.data().join(name);
        fs::remove_dir_all(&data).expect("removed");
        fs::rename(image.data.join(name), data).expect("renamed");
    }
    trial.start_all();
    trial.wait_for_agreement(Instant::now());
    let owed = exchanges.iter().map(|exchange| {
        let image = images
            .iter()
            .find(|image| FIVE[image.server].0 == exchange.run.server);
        owed_by(image.expect("each server has one"), exchange)
    });
    let owed: Vec<Exchange> = owed.collect();
    let finals = trial.ask_all(&Checker::default().clients(&owed));
    check_owed("a herd of images", owed, &finals, summary);
}

/// One server alone, whose disk fails in the middle of what a client says: it is killed before the
/// disk is well again, and what it acknowledged is there.
///
/// In a herd neighbours would have what was acknowledged by mistake.
pub(crate) fn fail_while_writing(options: &Options) -> Result<String, String> {
    let folder = Folder::create(&format!("failing-{}", options.seed));
    let folder = folder.path();
    let place = place("Hill", &folder);
    let hill = alone(&place, "Hill", &folder);
    let mut random = Random::new(options.seed);
    let mut acknowledged = Vec::new();
    let mut refused_count = 0;
    for number in 0..options.times(6, 60) {
        let failing = Failing {
            call: "pwrite64",
            how: How::Error(random.pick(&["EIO", "ENOSPC"])),
        };
        let pid = hill.pid().expect("it runs");
        let words = folder.join("strace.err");
        let after = 1 + random.within(&(0..20));
        let injection = Injection::after(after, pid, &folder, "Hill", failing, &words)?;
        let mut client = place.connect();
        let is_refused = (0..100).any(|burst| {
            let (mut is_refused, answers) = (false, say_burst(&mut client, number, burst));
            for (id, answer) in answers {
                if answer.starts_with(b"AT ") {
                    acknowledged.push((id, answer));
                } else {
                    is_refused = true;
                    refused_count += 1;
                }
            }
            is_refused
        });
        assert!(is_refused, "the disk fails, and nothing is refused");
        hill.kill();
        drop(injection);
        start_alone(&hill);
        for (id, answer) in &acknowledged {
            let told = place.whatsat(id);
            assert_eq!(
                told.as_ref(),
                Some(answer),
                "{id}: acknowledged, and not there"
            );
        }
    }
    let count = acknowledged.len();
    Ok(format!(
        "{count} acknowledged, all there; {refused_count} refused"
    ))
}

/// Sends some reports at once; their IDs, and the answers.
fn say_burst(client: &mut Client, number: u32, burst: u32) -> Vec<(String, Vec<u8>)> {
    let ids: Vec<_> = (0..8).map(|n| format!("c{number}-{burst}-{n}")).collect();
    let lines = ids
        .iter()
        .map(|id| format!("IAMAT {id} +1-1 {}\n", now_text()));
    client.send(lines.collect::<String>().as_bytes());
    ids.into_iter().map(|id| (id, client.read_line())).collect()
}

/// A server that is a herd of its own, with its data in `folder`.
fn alone(place: &Server, name: &'static str, folder: &Path) -> Member {
    let config = format!(
        "[herd]\nname = \"chaos\"\n[servers.{name}]\nclients = \"{}\"\nlinks = \"{}\"\nhttp = \"{}\"\n",
        place.clients, place.links, place.http
    );
    fs::write(folder.join(format!("{name}.toml")), config).expect("written");
    let member = Member::new(place.clone(), name, folder, &["--data-dir", "."]);
    start_alone(&member);
    member
}

fn start_alone(member: &Member) {
    member.start();
    wait_until("a server alone", || {
        assert!(member.ended().is_none(), "{}", member.words());
        let reply = member.server.try_get("/readyz");
        reply.is_ok_and(|reply| reply.0 == 200)
    });
}

/// A server from the image alone has all that it acknowledged before, and nothing made up.
fn check_image(trial: &Trial, image: &Image, exchanges: &[Exchange], summary: &mut Summary) {
    let name = FIVE[image.server].0;
    let place = &trial.member(image.server).server;
    let alone = alone(place, name, &image.data);
    let owed: Vec<Exchange> = exchanges.iter().map(|e| owed_by(image, e)).collect();
    let clients = Checker::default().clients(&owed);
    let finals = Finals::from([(name, ask(place, &clients))]);
    alone.kill();
    let what = format!("{name} from {} ({})", image.data.display(), image.what);
    check_owed(&what, owed, &finals, summary);
}

fn check_owed(what: &str, owed: Vec<Exchange>, finals: &Finals, summary: &mut Summary) {
    let (counts, faults) = Checker::default().check(owed, finals, &Promise::default());
    assert!(faults.is_empty(), "{what}:\n{}", faults.join("\n"));
    summary.add(Counts {
        checked: counts.checked,
        lost: counts.lost,
        ..Counts::default()
    });
}

/// Of an image only that is owed which its server acknowledged before; anything else may be in it.
fn owed_by(image: &Image, exchange: &Exchange) -> Exchange {
    let mut owed = exchange.clone();
    let is_owed = owed.run.server == FIVE[image.server].0
        && owed.line.starts_with(b"IAMAT ")
        && owed
            .answer
            .as_ref()
            .is_some_and(|(at, _)| *at < image.taken_at);
    if !is_owed {
        owed.answer = None;
    }
    owed
}

/// A disk of four megabytes that is filled up by somebody else: reports are refused, questions are
/// answered, and when there is room again all is well without a restart.
pub(crate) fn fill_the_disk(options: &Options) -> Result<Summary, String> {
    let mount = "mount -t tmpfs -o size=4m none \"$0\"";
    run(&["unshare", "--mount", "sh", "-c", mount, "/mnt"])?;
    let wrapper = format!("mkdir -p data/Hill && {mount} && exec \"$@\"");
    // The mount is the server's own, and goes with it.
    let wrapper = ["unshare", "--mount", "sh", "-c", &wrapper, "data/Hill"];
    let mut trial = Trial::start_wrapped("full", options, PAUSE_MS, &[(0, &wrapper)]);
    let mut summary = Summary::default();
    summary.fault("full disk");
    trial.load.open();
    trial.trouble(0, trial.recorder.now());
    let hill = &trial.members[0];
    let pid = hill.pid().expect("it runs");
    let known = format!("IAMAT known +1-1 {}\n", now_text());
    let told = wait_for("an acknowledgement", || {
        let told = hill.server.talk(known.as_bytes());
        told.starts_with(b"AT ").then_some(told)
    });
    let folder = format!("/proc/{pid}/root{}", trial.data().join("Hill").display());
    let filler = Path::new(&folder).join("filler");
    fill(&filler).expect("filled");
    let unready = wait_for("a server that says that it is not ready", || {
        let (code, _, why) = hill.server.get("/readyz");
        (code == 503).then_some(why)
    });
    assert!(unready.contains("journal"), "{unready}");
    let line = format!("IAMAT late +1-1 {}\n", now_text());
    let refused = hill.server.talk(line.as_bytes());
    assert_eq!(shown(&refused), shown(format!("? {line}").as_bytes()));
    assert_eq!(
        hill.server.whatsat("known"),
        Some(told),
        "questions are answered"
    );
    assert_eq!(hill.server.get("/livez").0, 200);
    fs::remove_file(&filler).expect("removed");
    wait_until("a server that is ready again", || {
        hill.server.get("/readyz").0 == 200
    });
    assert_eq!(hill.pid(), Some(pid), "it did not start again");
    summary.take(trial.check());
    // With the process its disk goes, too.
    trial.load.open();
    summary.fault("lost disk");
    trial.member(0).kill();
    trial.member(0).start();
    trial.excuse_disk(0);
    summary.take(trial.check());
    Ok(summary)
}

/// Writes until there is no room.
fn fill(path: &Path) -> io::Result<()> {
    let mut file = File::create(path)?;
    for bytes in [vec![0; 65_536], vec![0; 1]] {
        while file.write_all(&bytes).is_ok() {}
    }
    Ok(())
}

/// An acknowledgement leaves the server after a flush that began when the report was written.
///
/// `kill -9` cannot tell: what was written and not flushed survives it. So strace looks on.
pub(crate) fn watch_the_flush(options: &Options) -> Result<String, String> {
    let trial = Trial::start("flush", options, PAUSE_MS);
    let hill = &trial.members[0];
    let pid = hill.pid().expect("it runs").to_string();
    let (trace, words) = (
        trial.folder().join("trace"),
        trial.folder().join("strace.err"),
    );
    let calls = "trace=write,pwrite64,fdatasync,fsync,sendto,writev";
    let strace = Command::new("strace")
        .args(["-f", "-y", "-s", "100000", "-e", calls, "-p", &pid, "-o"])
        .arg(&trace)
        .stdin(Stdio::null())
        .stderr(File::create(&words).expect("a file"))
        .spawn();
    let mut strace = strace.map_err(|error| format!("strace: {error}"))?;
    wait_for("strace at the server", || {
        let words = fs::read_to_string(&words).unwrap_or_default();
        match strace.try_wait().expect("a child of ours") {
            Some(_) => Some(Err(words)),
            None => words.contains("attached").then_some(Ok(())),
        }
    })?;
    let mut client = hill.server.connect();
    let ids: Vec<String> = (0..50)
        .map(|number| format!("watched{number:04}-"))
        .collect();
    for id in &ids {
        client.send(format!("IAMAT {id} +1-1 {}\n", now_text()).as_bytes());
        let answer = client.read_line();
        assert!(answer.starts_with(b"AT "), "{}", shown(&answer));
    }
    hill.kill();
    let _ = strace.wait();
    let mut text = Vec::new();
    let read = File::open(&trace).and_then(|mut file| file.read_to_end(&mut text));
    read.expect("a trace");
    let text = String::from_utf8_lossy(&text);
    for id in &ids {
        check_flushed(&text, id);
    }
    Ok(format!(
        "{} acknowledgements, each after a flush",
        ids.len()
    ))
}

/// In a trace of the system calls: the report to the journal, a flush, the answer to the client.
fn check_flushed(trace: &str, id: &str) {
    let lines: Vec<&str> = trace.lines().collect();
    let place = |what: &dyn Fn(&str) -> bool| lines.iter().position(|line| what(line));
    let is_journal = |line: &str| line.contains("/journal>");
    let written =
        place(&|line| line.contains(id) && is_journal(line) && !line.contains("fdatasync"));
    let written = written.unwrap_or_else(|| panic!("{id} is not written to the journal"));
    // The log has it, too, between other words.
    let is_answer = |line: &str| line.contains(&format!(" {id} ")) && line.contains(", \"AT Hill ");
    let answered = place(&is_answer).unwrap_or_else(|| panic!("{id} is not answered"));
    let between = lines.get(written..answered).unwrap_or_default();
    let begun = between
        .iter()
        .position(|line| line.contains("fdatasync(") && is_journal(line));
    let ended = |line: &&str| line.contains("fdatasync") && line.trim_end().ends_with("= 0");
    let is_flushed = begun.is_some_and(|begun| between[begun..].iter().any(ended));
    let told: Vec<_> = between.iter().map(|line| shown(line.as_bytes())).collect();
    assert!(
        is_flushed,
        "{id} is answered before a flush:\n{}",
        told.join("\n")
    );
}
