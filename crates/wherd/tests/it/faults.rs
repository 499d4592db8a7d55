//! What goes wrong, told with its reason and kept from those whom it does not concern.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::Output;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use wherd_proto::frame::{self, Frame, Lane, UpdatesWriter};
use wherd_proto::{Origin, Position, ServerName};

use crate::herd::{
    Client, Herd, PATIENCE, Peer, SLACK, Server, Setup, check_matches, hello, hello_with, program,
    shown, wait_for, wait_until,
};

/// Hill, whose neighbour Smith is not started: a test may take its part.
fn hill_without_smith(toml: &str) -> (Herd, Server) {
    let servers: [(&str, &[&str]); 3] = [("Hill", &["Smith"]), ("Smith", &[]), ("Jaquez", &[])];
    let herd = Setup::of(&servers).only(&["Hill"]).with(toml).bind();
    let hill = herd.server("Hill");
    (herd, hill)
}

fn framed(kind: u8, payload: &[u8]) -> Vec<u8> {
    let length = payload.len() as u32 + 1;
    [&length.to_le_bytes()[..], &[kind], payload].concat()
}

/// Somebody says these bytes first: the connection is closed, with this reason in the log.
fn check_first_words(hill: &Server, bytes: &[u8], why: &str) {
    let mut client = hill.connect();
    let mut peer = Peer::connect(hill);
    let address = peer.client.address();
    // It may be closed before all is sent.
    let _ = peer.client.try_send(bytes);
    peer.wait_for_close();
    hill.wait_for_log(&["link.refused", &address, why]);
    client.round_trip("somebody");
}

#[test]
fn garbage_on_the_link_port_closes_that_connection_only() {
    let herd = Setup::five().start();
    let hill = herd.server("Hill");
    let links = || hill.status().neighbours.iter().filter(|n| n.is_up).count();
    let bad_frames = hill.metric("wherd_bad_frames_total");
    for (bytes, why) in [
        (&b"GET / HTTP/1.1\r\n\r\n"[..], "a frame of "),
        (b"IAMAT kiwi +34-118 5\n", "a frame of "),
        (&[0; 4], "a frame of 0 bytes"),
        (&[0xff; 64], "a frame of 4294967295 bytes"),
        (&[1, 0, 16, 0, 1], "a frame of 1048577 bytes"),
        (&framed(1, b"no hello"), "a malformed HELLO frame"),
        (&framed(1, b""), "a malformed HELLO frame"),
        (&framed(0, b""), "a frame of unknown kind 0"),
        (&framed(99, b"x"), "a frame of unknown kind 99"),
        (&framed(127, b""), "a frame of unknown kind 127"),
        (&framed(6, b"12345678"), "a frame before HELLO"),
        (&framed(3, b"\x01"), "a frame before HELLO"),
        (&framed(200, b"from the future"), "a frame before HELLO"),
    ] {
        check_first_words(&hill, bytes, why);
        assert_eq!(links(), 2, "after {}", shown(bytes));
    }
    assert!(hill.metric("wherd_bad_frames_total") >= bad_frames + 13.0);
}

#[test]
fn a_truncated_hello_is_told_when_its_sender_leaves() {
    let (_herd, hill) = hill_without_smith("");
    let whole = hello("Smith", "Hill");
    for length in [0, 1, 4, 5, whole.len() - 1] {
        let mut peer = Peer::connect(&hill);
        let address = peer.client.address();
        peer.client.send(&whole[..length]);
        peer.client.half_close();
        peer.wait_for_close();
        hill.wait_for_log(&["link.refused", &address, "why="]);
    }
}

/// A neighbour says these bytes on its link: the link is closed, with this reason in the log.
fn check_later_words(bytes: &[u8], why: &str) {
    let (_herd, hill) = hill_without_smith("");
    let mut peer = Peer::linked(&hill, "Smith");
    wait_until("the link", || hill.status().neighbours[0].is_up);
    let _ = peer.client.try_send(bytes);
    peer.wait_for_close();
    hill.wait_for_log(&["link.down", "neighbour=Smith", why]);
    wait_until("the end of the link", || !hill.status().neighbours[0].is_up);
    hill.connect().round_trip("somebody");
    // The next link is like any other.
    Peer::linked(&hill, "Smith");
}

#[test]
fn a_neighbour_that_talks_nonsense_loses_its_link() {
    let mut ahead = Vec::new();
    frame::write_commit(&mut ahead, Lane::Positions, 7, &Default::default());
    for (bytes, why) in [
        (
            &framed(3, b"\x01\x09garbage")[..],
            "a malformed UPDATES frame",
        ),
        (&framed(4, b""), "a malformed COMMIT frame"),
        (&framed(5, &[0xff; 9]), "a malformed HAVE frame"),
        (&framed(6, b"short"), "a malformed PING frame"),
        (&framed(2, &[0xff]), "a malformed REFUSAL frame"),
        (&[0xff; 40], "a frame of 4294967295 bytes"),
        (&framed(42, b""), "a frame of unknown kind 42"),
        (
            &hello("Smith", "Hill"),
            "a frame that has no place on a link that is up",
        ),
        (&ahead, "did not arrive"),
    ] {
        check_later_words(bytes, why);
    }
}

#[test]
fn a_frame_whose_sender_leaves_in_its_middle_has_no_effect() {
    let (_herd, hill) = hill_without_smith("");
    let whole = update(1, 1, "kiwi");
    for length in [1, 4, 5, whole.len() - 1] {
        let mut peer = Peer::linked(&hill, "Smith");
        peer.client.send(&whole[..length]);
        peer.client.half_close();
        peer.wait_for_close();
    }
    hill.wait_for_log(&["link.down", "neighbour=Smith", "why="]);
    assert_eq!(hill.status().clients_count, 0);
}

/// One UPDATES frame, as Smith would send it.
fn update(number: u64, sequence: u64, id: &str) -> Vec<u8> {
    let operands = format!("+0.500000000 {id} +34-118 5");
    let at = wherd_proto::AtText::parse(operands.as_bytes()).expect("operands");
    assert_eq!(Ok(at.position()), Position::parse(b"+34-118"));
    let origin = Origin {
        server: ServerName::new("Smith").expect("a name"),
        incarnation: 1,
    };
    let update = wherd_proto::Update {
        sequence,
        ordered_at_ns: 5_000_000_000,
        at,
    };
    let mut bytes = Vec::new();
    let mut writer = UpdatesWriter::begin(&mut bytes, number);
    writer.push(0, &origin, &update);
    writer.end();
    bytes
}

#[test]
fn frames_from_the_future_that_may_be_skipped_are_skipped() {
    let (_herd, hill) = hill_without_smith("");
    let mut peer = Peer::linked(&hill, "Smith");
    peer.client.send(&framed(200, b"new"));
    peer.client.send(&framed(255, &[7; 1000]));
    peer.client.send(&update(1, 1, "kiwi"));
    hill.wait_until_it_tells("kiwi", b"AT Smith +0.500000000 kiwi +34-118 5\n");
    assert!(hill.status().neighbours[0].is_up);
}

#[test]
fn frames_may_come_byte_by_byte() {
    let (_herd, hill) = hill_without_smith("");
    let mut peer = Peer::linked_by(&hill, "Smith", |client, hello| {
        client.send_pieces(hello.chunks(1));
    });
    peer.client.send_pieces(update(1, 1, "kiwi").chunks(1));
    hill.wait_until_it_tells("kiwi", b"AT Smith +0.500000000 kiwi +34-118 5\n");
}

fn origin_of(server: &Server) -> Origin {
    Origin {
        server: ServerName::new(&server.name).expect("a name"),
        incarnation: server.status().incarnation,
    }
}

/// Runs of servers that never were.
fn runs(count: u64) -> frame::WireVector {
    let server = ServerName::new(&"x".repeat(64)).expect("a name");
    let origin = |incarnation| Origin {
        server: server.clone(),
        incarnation: u64::MAX - incarnation,
    };
    (0..count).map(|n| (origin(n), u64::MAX)).collect()
}

#[test]
fn a_neighbour_that_tells_of_endless_servers_harms_no_other_link() {
    let servers: [(&str, &[&str]); 3] = [
        ("Hill", &["Smith", "Jaquez"]),
        ("Smith", &[]),
        ("Jaquez", &[]),
    ];
    let smallest = "[limits]\nframe_bytes = 262144";
    let herd = Setup::of(&servers)
        .only(&["Hill", "Jaquez"])
        .with(smallest)
        .bind();
    let (hill, jaquez) = (herd.server("Hill"), herd.server("Jaquez"));
    herd.wait_until_these_are_linked(&["Hill", "Jaquez"]);
    // The most that is believed fits into what is sent on; one more is not believed.
    let most = 262_144 / 200 - 3;
    for (count, is_believed) in [(most, true), (most + 10, false)] {
        let mut peer = Peer::linked(&hill, "Smith");
        let mut bytes = Vec::new();
        for lane in Lane::ALL {
            frame::write_have(&mut bytes, lane, &runs(count));
            frame::write_commit(&mut bytes, lane, 0, &runs(count));
        }
        peer.client.send(&bytes);
        if !is_believed {
            peer.wait_for_close();
            hill.wait_for_log(&[
                "link.down",
                "neighbour=Smith",
                "more than 1310 runs of servers",
            ]);
        }
    }
    let at = hill.iamat("kiwi", "+1-1", "5");
    jaquez.wait_until_it_tells("kiwi", &at);
    let lost = |server: &Server| server.log().contains("link.down neighbour=Jaquez");
    assert!(!lost(&hill), "{}", hill.log());
}

#[test]
fn a_neighbour_whose_link_breaks_at_once_is_dialled_less_and_less() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("its address").port();
    let servers: [(&str, &[&str]); 2] = [("Hill", &["Smith"]), ("Smith", &[])];
    let setup = Setup::of(&servers).only(&["Hill"]);
    let herd = setup.with_link_port("Smith", port).bind();
    let begun = Instant::now();
    let dials_count = 6;
    for _ in 0..dials_count {
        let (stream, _) = listener.accept().expect("Hill dials");
        let mut peer = Peer::of(stream);
        peer.client.send(&hello("Smith", "Hill"));
        peer.client.send(&[0xff; 40]);
        peer.wait_for_close();
    }
    herd.server("Hill")
        .wait_for_log(&["link.down", "neighbour=Smith", "a frame of"]);
    // Five pauses of up to 50, 100, 200, 400 and 800 ms, drawn evenly.
    assert!(
        begun.elapsed() > Duration::from_millis(20),
        "{:?}",
        begun.elapsed()
    );
}

#[test]
fn strangers_who_say_nothing_keep_no_neighbour_out() {
    let (_herd, hill) = hill_without_smith("");
    let _strangers: Vec<_> = (0..40).map(|_| Peer::connect(&hill)).collect();
    Peer::linked(&hill, "Smith");
}

#[test]
fn a_neighbour_cannot_tell_of_updates_that_this_server_never_numbered() {
    let (_herd, hill) = hill_without_smith("");
    let me = origin_of(&hill);
    let mut peer = Peer::linked(&hill, "Smith");
    let mut bytes = Vec::new();
    frame::write_have(&mut bytes, Lane::Positions, &[(me, 1000)].into());
    peer.client.send(&bytes);
    peer.wait_for_close();
    hill.wait_for_log(&[
        "link.down",
        "neighbour=Smith",
        "number 1000 of this very server",
    ]);
}

#[test]
fn a_hello_that_does_not_fit_is_refused_with_its_reason() {
    let (_herd, hill) = hill_without_smith("");
    let check = |bytes: &[u8], reasons: &[&str]| {
        let (address, said) = wait_for("a refusal for the bytes' sake", || {
            let mut peer = Peer::connect(&hill);
            peer.client.send(bytes);
            let address = peer.client.address();
            let said = peer.hear(|frame| match frame {
                Frame::Refusal(why) => why.to_owned(),
                other => panic!("no refusal for {reasons:?}: {other:?}"),
            });
            peer.wait_for_close();
            (!said.contains("is being dialled")).then_some((address, said))
        });
        let line = hill.wait_for_log(&["link.refused", &address]);
        for reason in reasons {
            assert!(said.contains(reason), "{said}");
            assert!(line.contains(reason), "{line}");
        }
    };
    let other_herd = hello_with("Smith", "Hill", |hello| hello.herd = "other".to_owned());
    check(&other_herd, &["Smith", "herd other", "tested"]);
    check(&hello("Stranger", "Hill"), &["Stranger is no neighbour"]);
    check(&hello("Jaquez", "Hill"), &["Jaquez is no neighbour"]);
    check(&hello("Hill", "Hill"), &["Hill is no neighbour"]);
    check(
        &hello("Smith", "Campbell"),
        &["Smith means Campbell", "Hill"],
    );
    let other_version = hello_with("Smith", "Hill", |hello| hello.version = 999);
    check(&other_version, &["version 999", "version 1"]);
    let me = origin_of(&hill);
    let of_me = hello_with("Smith", "Hill", |hello| hello.reflected = [(me, 9)].into());
    check(&of_me, &["number 9 of this very server"]);
    assert!(!hill.status().neighbours[0].is_up);
}

/// While `neighbour` does what it does, clients are answered without delay.
fn check_no_delay(hill: &Server, clients_count: usize) {
    let mut client = hill.connect();
    let mut times: Vec<_> = (0..clients_count)
        .map(|number| client.round_trip(&format!("quick{number}")))
        .collect();
    times.sort_unstable();
    let (median, longest) = (times[times.len() / 2], times[times.len() - 1]);
    // A delay by a neighbour would be one of its time-outs, or a full buffer's.
    assert!(median < Duration::from_millis(20), "{median:?}");
    assert!(longest < Duration::from_millis(900), "{longest:?}");
}

#[test]
fn a_neighbour_that_never_says_hello_delays_no_client() {
    let mute = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = mute.local_addr().expect("its address").port();
    let servers: [(&str, &[&str]); 2] = [("Hill", &["Smith"]), ("Smith", &[])];
    let setup = Setup::of(&servers).only(&["Hill"]);
    let herd = setup.with_link_port("Smith", port).bind();
    let hill = herd.server("Hill");
    // Hill dials it, and it dials Hill.
    let (_dialled, _) = mute.accept().expect("Hill dials");
    let mut peer = Peer::connect(&hill);
    check_no_delay(&hill, 300);
    let waited = Instant::now();
    assert!(
        peer.client.wait_for_close() < Duration::from_secs(6),
        "{waited:?}"
    );
    hill.wait_for_log(&["link.refused", &peer.client.address(), "why="]);
}

#[test]
fn a_neighbour_that_dribbles_delays_no_client() {
    let (_herd, hill) = hill_without_smith("");
    let mut client = hill.connect();
    let mut dribble = |peer: &mut Client, bytes: &[u8]| {
        for byte in bytes.chunks(1) {
            peer.send(byte);
            assert!(client.round_trip("a") < Duration::from_millis(900));
        }
    };
    let mut peer = Peer::linked_by(&hill, "Smith", &mut dribble);
    dribble(&mut peer.client, &update(1, 1, "kiwi"));
    hill.wait_until_it_tells("kiwi", b"AT Smith +0.500000000 kiwi +34-118 5\n");
}

#[test]
fn a_neighbour_that_never_reads_delays_no_client_and_loses_its_link() {
    let (_herd, hill) =
        hill_without_smith("[limits]\nstalled_timeout_s = 1\n[replication]\ndead_after_ms = 60000");
    let _peer = Peer::linked(&hill, "Smith");
    wait_until("the link", || hill.status().neighbours[0].is_up);
    // Reports with long texts, more than the sockets' buffers hold.
    let digits = "0".repeat(7_900);
    let mut client = hill.connect();
    let mut number = 0;
    wait_until("the neighbour to be given up", || {
        for _ in 0..100 {
            number += 1;
            client.send(format!("IAMAT long{number} +1.{digits}-1 5\n").as_bytes());
            let reply = client.read_line();
            assert!(reply.starts_with(b"AT Hill "), "{}", shown(&reply));
        }
        check_no_delay(&hill, 10);
        hill.log().contains("the neighbour does not read")
    });
    hill.wait_for_log(&[
        "link.down",
        "neighbour=Smith",
        "the neighbour does not read",
    ]);
}

#[test]
fn a_silent_neighbour_counts_as_dead() {
    let (_herd, hill) =
        hill_without_smith("[replication]\nping_interval_ms = 50\ndead_after_ms = 300");
    let mut peer = Peer::linked(&hill, "Smith");
    while !peer.hear(|frame| match frame {
        Frame::Ping(_) => true,
        Frame::Clock(_) => false,
        other => panic!("{other:?}"),
    }) {}
    peer.wait_for_close();
    hill.wait_for_log(&["link.down", "neighbour=Smith", "no sign of life"]);
}

#[test]
fn a_newer_run_of_a_neighbour_takes_the_place_of_the_older_one() {
    let (_herd, hill) = hill_without_smith("");
    let older = Peer::linked(&hill, "Smith");
    let _newer = Peer::linked(&hill, "Smith");
    older.wait_for_close();
    hill.wait_for_log(&[
        "link.down",
        "neighbour=Smith",
        "a newer connection took its place",
    ]);
    assert!(hill.status().neighbours[0].is_up);
}

/// `wherd` in this folder ends by itself.
fn output(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = program(folder);
    let command = command.args(arguments).stderr(std::process::Stdio::piped());
    let mut child = command.spawn().expect("it runs");
    wait_for("the end of a program that cannot run", || {
        let status = child.try_wait().expect("a child of ours")?;
        let mut stderr = Vec::new();
        let mut pipe = child.stderr.take()?;
        pipe.read_to_end(&mut stderr).expect("its words");
        Some(Output {
            status,
            stdout: Vec::new(),
            stderr,
        })
    })
}

/// It ends with this code, and says this.
fn check_failure(folder: &Path, arguments: &[&str], code: i32, fragments: &[&str]) {
    let output = output(folder, arguments);
    let words = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {words}");
    // Long lines are wrapped where a terminal would end.
    let flat = words.split_whitespace().collect::<Vec<_>>().join(" ");
    for fragment in fragments {
        assert!(flat.contains(fragment), "no {fragment:?} in {flat}");
    }
}

#[test]
fn a_port_in_use_is_told_by_server_and_listener() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("its address").to_string();
    for listener in ["clients", "links", "http"] {
        let folder = tempfile::tempdir().expect("a folder");
        let mut toml = "[servers.Hill]\n".to_owned();
        for key in ["clients", "links", "http"] {
            let address = if key == listener {
                &address
            } else {
                "127.0.0.1:0"
            };
            toml += &format!("{key} = \"{address}\"\n");
        }
        fs::write(folder.path().join("wherd.toml"), toml).expect("written");
        for command in [&["serve", "Hill"][..], &["up"]] {
            check_failure(
                folder.path(),
                command,
                75,
                &["Hill", listener, &address, "in use"],
            );
        }
    }
}

#[test]
fn a_second_run_of_a_server_is_told_that_the_first_one_has_its_ports() {
    let mut herd = Setup::lonely().start();
    let config = herd.config_file();
    let config = config.to_str().expect("a path");
    check_failure(
        herd.folder(),
        &["--config", config, "serve", "Hill"],
        75,
        &["Hill", "in use"],
    );
    check_failure(
        herd.folder(),
        &["--config", config, "up"],
        75,
        &["Hill", "in use"],
    );
    herd.server("Hill").iamat("a", "+1-1", "1");
    herd.signal_up(Signal::INT);
    assert!(herd.up_ended().success());
}

/// Files that are no places, each with a word of the reason; made in `folder`.
fn unusable_places(folder: &Path) -> Vec<(&'static str, &'static str)> {
    let map = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../wherd-places/tests/data/central-park.osm.pbf"
    );
    let imported = program(folder)
        .args(["places", "import", map, "-o", "whole.places"])
        .stderr(std::process::Stdio::null())
        .status();
    assert!(imported.expect("it runs").success());
    let whole = fs::read(folder.join("whole.places")).expect("read");
    let mut flipped = whole.clone();
    flipped[whole.len() / 2] ^= 1;
    let write = |name: &str, bytes: &[u8]| fs::write(folder.join(name), bytes).expect("written");
    write("flipped.places", &flipped);
    write("cut.places", &whole[..whole.len() / 2]);
    write("empty.places", b"");
    write(
        "foreign.places",
        b"PK\x03\x04 this is an archive of something else altogether",
    );
    vec![
        ("missing.places", "cannot read"),
        ("flipped.places", "damaged"),
        ("cut.places", "places file"),
        ("empty.places", "places file"),
        ("foreign.places", "no places file"),
    ]
}

const LONELY: &str = "[servers.Hill]\nclients = \"127.0.0.1:0\"\nlinks = \"127.0.0.1:0\"\n\
                      http = \"127.0.0.1:0\"\n";

#[test]
fn an_unusable_places_file_stops_the_start_with_its_reason() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    fs::write(folder.join("wherd.toml"), LONELY).expect("written");
    for (file, why) in unusable_places(folder) {
        let config = format!("{LONELY}[places]\nfile = \"{file}\"\n");
        fs::write(folder.join("places.toml"), config).expect("written");
        for command in [
            &["serve", "Hill", "--places", file][..],
            &["up", "--places", file],
            &["--config", "places.toml", "serve", "Hill"],
        ] {
            check_failure(folder, command, 78, &[file, why]);
        }
    }
}

#[test]
fn an_optional_places_file_that_is_unusable_is_a_warning() {
    let folder = tempfile::tempdir().expect("a folder");
    for (file, why) in unusable_places(folder.path()) {
        let path = folder.path().join(file);
        let toml = format!("[places]\nfile = {path:?}\noptional = true");
        let herd = Setup::lonely().with(&toml).start();
        let hill = herd.server("Hill");
        hill.wait_for_log(&["places.unusable", file, why, "built-in"]);
        assert!(herd.words().contains("places.unusable"), "{}", herd.words());
        let reply = hill.talk(b"IAMAT a +34.068930-118.445127 5\nWHATSAT a 10 5\n");
        let at = b"AT Hill <skew> a +34.068930-118.445127 5\n";
        check_matches(&[&at[..], at, b"<places>"].concat(), &reply, file);
        assert!(
            shown(&reply).contains("GeoNames"),
            "the built-in places answer"
        );
    }
}

#[test]
fn a_client_that_does_not_read_is_closed() {
    let herd = Setup::lonely()
        .with("[limits]\nstalled_timeout_s = 1")
        .start();
    let hill = herd.server("Hill");
    hill.iamat("a", "+34.068930-118.445127", "5");
    let mut slow = hill.connect();
    let address = slow.address();
    let questions = b"WHATSAT a 50 20\n".repeat(100);
    wait_until("the end of the connection", || {
        slow.try_send(&questions).is_err()
    });
    hill.wait_for_log(&["client.close", &address, "the client does not read"]);
    hill.connect().round_trip("b");
}

/// What a client that waits hears of its end, and when.
fn check_closed(hill: &Server, words: &[u8], limit_s: u64, why: &str) {
    let mut client = hill.connect();
    let start = Instant::now();
    client.send(words);
    client.wait_for_close();
    let waited = start.elapsed();
    let bounds = Duration::from_secs(limit_s)..Duration::from_secs(limit_s + 3);
    assert!(bounds.contains(&waited), "{waited:?} {why}");
    hill.wait_for_log(&["client.close", &client.address(), why]);
}

#[test]
fn a_begun_line_that_never_ends_is_closed() {
    let herd = Setup::lonely().with("[limits]\nline_timeout_s = 1").start();
    let hill = herd.server("Hill");
    check_closed(&hill, b"IAMAT kiwi", 1, "a line took too long");
    let mut patient = hill.connect();
    let mut dribbling = hill.connect();
    let address = dribbling.address();
    wait_until("the end of one that dribbles", || {
        dribbling.try_send(b"x").is_err()
    });
    hill.wait_for_log(&["client.close", &address, "a line took too long"]);
    patient.round_trip("a");
}

#[test]
fn lines_that_end_in_time_keep_a_connection_whose_pieces_end_in_their_middle() {
    let herd = Setup::lonely().with("[limits]\nline_timeout_s = 1").start();
    let mut client = herd.server("Hill").connect();
    let start = Instant::now();
    client.send(b"IAMAT a +1-1");
    // Every line takes milliseconds, and there is always one that has begun.
    while start.elapsed() < Duration::from_millis(2500) {
        client.send(b" 5\nIAMAT a +1-1");
        check_matches(b"AT Hill <skew> a +1-1 5\n", &client.read_line(), "a piece");
    }
}

#[test]
fn an_idle_client_is_closed() {
    let herd = Setup::lonely().with("[limits]\nidle_timeout_s = 1").start();
    let hill = herd.server("Hill");
    check_closed(&hill, b"", 1, "why=idle");
    let mut talking = hill.connect();
    let start = Instant::now();
    while start.elapsed() < Duration::from_millis(2500) {
        talking.round_trip("a");
    }
}

#[test]
fn connections_beyond_the_limit_are_closed_and_the_others_served() {
    let herd = Setup::lonely().with("[limits]\nconnections = 3").start();
    let hill = herd.server("Hill");
    let mut seated: Vec<_> = (0..3).map(|_| hill.connect()).collect();
    for client in &mut seated {
        client.round_trip("a");
    }
    let mut refused = hill.connect();
    refused.wait_for_close();
    hill.wait_for_log(&["client.refused", &refused.address(), "too many are open"]);
    for client in &mut seated {
        client.round_trip("a");
    }
    seated.pop();
    wait_until("a free seat", || {
        let mut client = TcpStream::connect(hill.clients).expect("it listens");
        client.set_read_timeout(Some(PATIENCE)).expect("a socket");
        // A connection that is refused may be gone before this is sent.
        let _ = client.write_all(b"x\n");
        let mut reply = [0; 4];
        client.read_exact(&mut reply).is_ok() && reply == *b"? x\n"
    });
}

#[test]
fn clients_beyond_the_limit_are_refused_and_known_ones_served() {
    let herd = Setup::lonely().with("[limits]\nclients = 3").start();
    let hill = herd.server("Hill");
    for id in ["a", "b", "c"] {
        hill.iamat(id, "+1-1", "1");
    }
    let line = b"IAMAT d +1-1 1\n";
    assert_eq!(hill.talk(line), [b"? ", &line[..]].concat());
    hill.wait_for_log(&["client.out", "? IAMAT d", "too many clients"]);
    let at = hill.iamat("b", "+2-2", "2");
    assert_eq!(hill.whatsat("b"), Some(at));
    assert_eq!(hill.whatsat("d"), None);
    assert_eq!(hill.status().clients_count, 3);
}

#[test]
fn sigterm_answers_what_was_sent_before_it() {
    for round in 0..5 {
        let herd = Setup::lonely().start();
        let hill = herd.server("Hill");
        let mut client = hill.connect();
        client.round_trip("a");
        let lines_count = 40 * (round + 1);
        let lines: Vec<_> = (0..lines_count)
            .map(|n| format!("IAMAT a{n} +1-1 {n}\n"))
            .collect();
        client.send(lines.concat().as_bytes());
        hill.signal(Signal::TERM);
        let replies = client.read_to_end();
        let expected: String = lines
            .iter()
            .map(|l| l.replace("IAMAT", "AT Hill <skew>"))
            .collect();
        check_matches(expected.as_bytes(), &replies, "the replies to all of them");
        assert!(TcpStream::connect(hill.clients).is_err() || !hill.is_running());
    }
}

/// What was acknowledged and is still on its way to a neighbour gets there.
#[test]
fn sigterm_sends_the_neighbours_what_they_lack() {
    let servers: [(&str, &[&str]); 2] = [("Hill", &["Smith"]), ("Smith", &[])];
    let patient = "[replication]\ndead_after_ms = 60000\nlast_words_ms = 60000";
    let herd = Setup::of(&servers).with(patient).start();
    let (hill, smith) = (herd.server("Hill"), herd.server("Smith"));
    smith.signal(Signal::STOP);
    // More than the sockets' buffers hold.
    let digits = "0".repeat(7_900);
    let count = 2_000;
    let mut client = hill.connect();
    for number in 0..count {
        client.send(format!("IAMAT long{number} +1.{digits}-1 5\n").as_bytes());
        client.read_line();
    }
    hill.signal(Signal::TERM);
    wait_until("the ports", || hill.has_freed_its_ports());
    assert!(hill.is_running(), "it has something to say yet");
    smith.signal(Signal::CONT);
    wait_until("the end", || !hill.is_running());
    assert_eq!(smith.status().clients_count, count);
}

#[test]
fn sigterm_does_not_take_the_beginning_of_a_line_for_a_line() {
    let servers: [(&str, &[&str]); 2] = [("Hill", &["Smith"]), ("Smith", &[])];
    let herd = Setup::of(&servers).start();
    let (hill, smith) = (herd.server("Hill"), herd.server("Smith"));
    let mut client = hill.connect();
    client.round_trip("a");
    // The rest of its time is still on its way.
    client.send(b"IAMAT kiwi +34-118 16214");
    // Whoever is answered after this was sent shows that it was read.
    hill.iamat("b", "+1-1", "1");
    hill.signal(Signal::TERM);
    let rest = client.read_to_end();
    assert!(!rest.starts_with(b"AT "), "{}", shown(&rest));
    smith.wait_for_log(&["link.down", "neighbour=Hill"]);
    assert_eq!(smith.whatsat("kiwi"), None);
}

#[test]
fn clients_that_never_pause_do_not_hold_up_the_stop() {
    let herd = Setup::lonely().start();
    let hill = herd.server("Hill");
    let clients: Vec<_> = (0..4).map(|_| hill.connect()).collect();
    let talkers: Vec<_> = clients
        .iter()
        .map(|client| never_pause(client.stream()))
        .collect();
    wait_until("their lines", || hill.metric("wherd_iamat_total") > 1000.0);
    let start = Instant::now();
    hill.signal(Signal::TERM);
    wait_until("the ports", || hill.has_freed_its_ports());
    let taken = start.elapsed();
    assert!(taken < Duration::from_millis(300) * SLACK, "{taken:?}");
    for [writer, reader] in talkers {
        writer.join().expect("it ends with the server");
        reader.join().expect("it ends with the server");
    }
}

/// Says lines and reads replies as fast as they go, until the connection ends.
fn never_pause(stream: TcpStream) -> [thread::JoinHandle<()>; 2] {
    let mut reading = stream.try_clone().expect("a socket");
    let mut writing = stream;
    let lines = b"IAMAT a +34-118 5\n".repeat(1000);
    let writer = thread::spawn(move || while writing.write_all(&lines).is_ok() {});
    let mut buffer = [0; 1 << 16];
    let reader = thread::spawn(move || while reading.read(&mut buffer).is_ok_and(|n| n > 0) {});
    [writer, reader]
}

#[test]
fn many_clients_at_once_are_all_answered() {
    let herd = Setup::lonely().start();
    let hill = herd.server("Hill");
    let workers: Vec<_> = (0..8)
        .map(|worker| {
            let hill = hill.clone();
            thread::spawn(move || {
                for number in 0..50 {
                    hill.iamat(&format!("w{worker}-{number}"), "+1-1", "1");
                }
            })
        })
        .collect();
    for worker in workers {
        worker.join().expect("all are answered");
    }
    assert_eq!(hill.status().clients_count, 400);
}
