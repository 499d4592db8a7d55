//! Counters: what is liked is counted everywhere, exactly, whatever happens meanwhile.

use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use wherd_proto::Count;
use wherd_proto::frame::CountsWriter;

use crate::herd::{Client, Herd, Peer, Server, Setup, Stop, program, wait_until};

const FIVE: [&str; 5] = ["Hill", "Jaquez", "Smith", "Campbell", "Singleton"];

/// Asks a server how often an article is liked.
fn likes(server: &Server, article: &str) -> i64 {
    let reply = server.talk(format!("LIKES {article}\n").as_bytes());
    count(&reply, article)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The count of a reply.
fn count(reply: &[u8], article: &str) -> i64 {
    let reply = text(reply);
    let count = reply.strip_prefix(&format!("LIKES {article} "));
    let count = count.and_then(|count| count.trim_end().parse().ok());
    count.unwrap_or_else(|| panic!("no count: {reply}"))
}

/// Says a line and hears a count.
fn said(client: &mut Client, line: &str) -> i64 {
    client.send(format!("{line}\n").as_bytes());
    let article = line.split(' ').nth(1).expect("an article");
    count(&client.read_line(), article)
}

fn wait_until_all_count(herd: &Herd, article: &str, count: i64) {
    wait_until(&format!("{article} to be liked {count} times"), || {
        FIVE.into_iter()
            .all(|name| likes(&herd.server(name), article) == count)
    });
}

#[test]
fn what_is_liked_anywhere_counts_everywhere_and_after_all_were_killed() {
    let mut herd = Setup::five().start();
    herd.wait_until_linked();
    assert_eq!(likes(&herd.server("Hill"), "Zeus"), 0);
    for (place, name) in FIVE.into_iter().enumerate() {
        let mut client = herd.server(name).connect();
        for _ in 0..=place {
            said(&mut client, "LIKE Zeus");
        }
        said(&mut client, "UNLIKE Hera");
    }
    wait_until_all_count(&herd, "Zeus", 15);
    wait_until_all_count(&herd, "Hera", -5);
    for name in FIVE {
        herd.stop(name, Stop::Killed);
    }
    for name in FIVE {
        herd.restart(name);
    }
    wait_until_all_count(&herd, "Zeus", 15);
    let hill = herd.server("Hill");
    assert_eq!(said(&mut hill.connect(), "LIKE Zeus"), 16);
    wait_until_all_count(&herd, "Zeus", 16);
    herd.wait_until_equal(&FIVE, 0);
    let status = hill.status();
    assert_eq!(status.counters.articles_count, 2);
    // Zeus and Hera of five runs that have ended, and Zeus of one that has not.
    assert_eq!(status.counters.counters_count, 11);
    assert_eq!(status.counters.counted_count, 1);
    assert_eq!(hill.metric("wherd_articles"), 2.0);
}

#[test]
fn an_acknowledged_like_is_there_after_a_kill() {
    let mut herd = Setup::lonely().start();
    let mut client = herd.server("Hill").connect();
    for number in 1..=50 {
        assert_eq!(said(&mut client, "LIKE Zeus"), number);
    }
    assert_eq!(said(&mut client, "UNLIKE Zeus"), 49);
    herd.stop("Hill", Stop::Killed);
    herd.restart("Hill");
    assert_eq!(likes(&herd.server("Hill"), "Zeus"), 49);
}

#[test]
fn a_line_about_likes_is_answered_in_its_turn() {
    let herd = Setup::lonely().start();
    let hill = herd.server("Hill");
    let article = "a".repeat(255);
    let replies = hill.talk(
        format!(
            "LIKE Zeus\nIAMAT kiwi +1-2 5\n  LIKES\tZeus \nLIKE Zeus\r\nUNLIKE {article}\n\
             LIKE\nLIKES two words\nlike Zeus\nLIKE {article}a\nLIKES Zeus"
        )
        .as_bytes(),
    );
    let replies = text(&replies);
    let lines: Vec<_> = replies.lines().collect();
    assert_eq!(lines.len(), 10, "{replies}");
    assert_eq!(lines[0], "LIKES Zeus 1");
    assert!(lines[1].starts_with("AT Hill "), "{replies}");
    assert_eq!(lines[2..4], ["LIKES Zeus 1", "LIKES Zeus 2"]);
    assert_eq!(lines[4], format!("LIKES {article} -1"));
    assert_eq!(lines[5..8], ["? LIKE", "? LIKES two words", "? like Zeus"]);
    assert_eq!(lines[8], format!("? LIKE {article}a"));
    assert_eq!(lines[9], "LIKES Zeus 2");
    assert_eq!(
        hill.metric("wherd_likes_lines_total{command=\"like\"}"),
        2.0
    );
}

#[test]
fn the_prototype_knew_nothing_of_likes() {
    let herd = Setup::lonely().classic().start();
    let lines = b"LIKE Zeus\nUNLIKE Zeus\nLIKES Zeus\n";
    let replies = herd.server("Hill").talk(lines);
    assert_eq!(text(&replies), "? LIKE Zeus\n? UNLIKE Zeus\n? LIKES Zeus\n");
}

#[test]
fn a_first_like_beyond_the_limit_is_refused() {
    let toml = "[limits]\narticles = 2\nclient_id_bytes = 10\n";
    let herd = Setup::lonely().with(toml).start();
    let hill = herd.server("Hill");
    let lines = "LIKE a\nUNLIKE b\nLIKE c\nLIKE a\nLIKES c\nLIKE elevenbytes\n";
    let replies = text(&hill.talk(lines.as_bytes()));
    let expected = "LIKES a 1\nLIKES b -1\n? LIKE c\nLIKES a 2\nLIKES c 0\n? LIKE elevenbytes\n";
    assert_eq!(replies, expected);
    assert_eq!(hill.metric("wherd_likes_refused_total"), 1.0);
    hill.wait_for_log(&["client.out", "? LIKE c", "why=\"too many articles\""]);
}

#[test]
fn what_is_about_likes_changes_while_a_server_runs() {
    let toml = "[limits]\narticles = 1\n[replication]\ncounters_ms = 60000\n";
    let herd = Setup::of(&[("Hill", &["Smith"]), ("Smith", &[])])
        .with(toml)
        .start();
    herd.wait_until_these_are_linked(&["Hill", "Smith"]);
    let (hill, smith) = (herd.server("Hill"), herd.server("Smith"));
    assert_eq!(hill.talk(b"LIKE a\nLIKE b\n"), b"LIKES a 1\n? LIKE b\n");
    herd.rewrite(|toml| {
        let toml = toml.replace("articles = 1", "articles = 2");
        toml.replace("counters_ms = 60000", "counters_ms = 0")
    });
    herd.reload("Hill");
    hill.wait_for_log(&[" reload.done ", "changes=2"]);
    assert_eq!(hill.talk(b"LIKE b\n"), b"LIKES b 1\n");
    wait_until("what did not wait", || likes(&smith, "b") == 1);
    // What was to wait a minute waits, and what is said of it now goes at once, with that.
    assert_eq!(likes(&smith, "a"), 0);
    assert_eq!(hill.talk(b"LIKE a\n"), b"LIKES a 2\n");
    wait_until("what waited", || likes(&smith, "a") == 2);
}

/// A neighbour that has counted as far as numbers go, and one like more.
#[test]
fn a_counter_at_its_end_stays_there_and_says_so() {
    let herd = Setup::of(&[("Hill", &["Smith"]), ("Smith", &[])])
        .only(&["Hill"])
        .start();
    let hill = herd.server("Hill");
    let mut smith = Peer::linked(&hill, "Smith");
    let mut bytes = Vec::new();
    let mut counts = CountsWriter::begin(&mut bytes, 1);
    let count = Count {
        sequence: 1,
        likes: u64::MAX,
        unlikes: 0,
        article: b"Zeus",
    };
    let origin = wherd_proto::Origin {
        server: wherd_proto::ServerName::new("Smith").expect("a name"),
        incarnation: 1,
    };
    counts.push(0, &origin, &count);
    counts.end();
    smith.client.send(&bytes);
    wait_until("the most that can be", || likes(&hill, "Zeus") == i64::MAX);
    assert_eq!(said(&mut hill.connect(), "LIKE Zeus"), i64::MAX);
    hill.wait_for_log(&["counter.saturated", "article=Zeus", "9223372036854775807"]);
    assert_eq!(hill.metric("wherd_counters_saturated_total"), 1.0);
    assert_eq!(hill.status().counters.saturated_count, 1);
}

/// How many counters all servers have sent to neighbours.
fn sent(herd: &Herd) -> u64 {
    let servers = herd.servers().into_iter();
    servers.map(|s| s.status().counters.sent_count).sum()
}

/// Whatever their rate, the likes of a while are one entry for a link; and the hybrid sends that
/// round the ring, while positions go everywhere at once.
#[test]
fn a_thousand_likes_are_a_few_entries_and_go_round_the_ring() {
    let toml = "[replication]\npolicy = \"hybrid\"\ncounters_ms = 1000\n";
    let herd = Setup::five().with(toml).start();
    herd.wait_until_linked();
    wait_until("a cycle for counters", || {
        let spreads = FIVE.map(|name| herd.server(name).status().spread);
        spreads
            .iter()
            .all(|spread| spread == "all links; counters: a cycle of 5")
    });
    let hill = herd.server("Hill");
    let lines = "LIKE Zeus\n".repeat(1000);
    let mut least = u64::MAX;
    for round in 1..=5 {
        let before = sent(&herd);
        hill.talk(lines.as_bytes());
        wait_until_all_count(&herd, "Zeus", 1000 * round);
        // What would be sent late is sent by then.
        thread::sleep(Duration::from_millis(300));
        least = least.min(sent(&herd) - before);
        if least == 4 {
            break;
        }
    }
    // A machine that stops for a moment has links do what others should have done.
    assert!((4..=8).contains(&least), "{least} sends for 1000 likes");
}

/// Lets the others end when this is dropped, in whichever way.
struct Stopping<'a>(&'a AtomicBool);

impl Drop for Stopping<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Likes, each after the answer to the one before it, until told to stop or the server is gone:
/// how many were answered, and how many were said.
fn like_until(server: &Server, stop: &AtomicBool) -> (i64, i64) {
    let (mut answered, mut sent) = (0, 0);
    let Ok(stream) = std::net::TcpStream::connect(server.clients) else {
        return (0, 0);
    };
    let mut client = Client::of(stream);
    while !stop.load(Ordering::Relaxed) && client.try_send(b"LIKE Zeus\n").is_ok() {
        sent += 1;
        let reply = client.try_read_line();
        if !reply.starts_with(b"LIKES Zeus ") {
            break;
        }
        answered += 1;
    }
    (answered, sent)
}

#[test]
fn counts_are_exact_though_servers_die_and_policies_change_under_load() {
    let mut herd = Setup::five().start();
    herd.wait_until_linked();
    let (mut answered, mut sent) = (0, 0);
    let policies = ["ring", "hybrid", "flood", "reached", "tree"];
    for (number, policy) in policies.into_iter().enumerate() {
        let stop = AtomicBool::new(false);
        let victim = FIVE[number];
        let servers = FIVE.map(|name| herd.server(name));
        let counts = thread::scope(|scope| {
            let (stop, stopping) = (&stop, Stopping(&stop));
            let fans = servers
                .each_ref()
                .map(|server| scope.spawn(|| like_until(server, stop)));
            wait_until("some likes", || {
                likes(&servers[(number + 1) % 5], "Zeus") > sent + 50
            });
            herd.server(victim).signal(rustix::process::Signal::KILL);
            let mut command = program(herd.folder());
            command.arg("--config").arg(herd.config_file());
            // The one that is dead cannot be told: the command says so.
            command
                .args(["policy", policy])
                .stdout(Stdio::null())
                .stderr(Stdio::null());
            command.status().expect("it runs");
            let now = likes(&servers[(number + 1) % 5], "Zeus");
            wait_until("more likes", || {
                likes(&servers[(number + 1) % 5], "Zeus") > now + 50
            });
            drop(stopping);
            fans.map(|fan| fan.join().expect("it likes"))
        });
        answered += counts.iter().map(|(answered, _)| answered).sum::<i64>();
        sent += counts.iter().map(|(_, sent)| sent).sum::<i64>();
        herd.stop(victim, Stop::Killed);
        herd.restart(victim);
        herd.wait_until_linked();
    }
    herd.wait_until_equal(&FIVE, 0);
    let total = likes(&herd.server("Hill"), "Zeus");
    wait_until_all_count(&herd, "Zeus", total);
    // A like that was said and not answered, one for each connection at most, may have been counted.
    assert!(
        (answered..=sent).contains(&total),
        "{total}, not {answered} to {sent}"
    );
    assert!(
        sent - answered <= 25 && answered > 500,
        "{answered} of {sent}"
    );
}
