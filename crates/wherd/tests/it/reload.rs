//! A configuration that is read again while its servers run.

use std::fs;
use std::process::{Child, Stdio};
use std::time::Duration;

use rustix::process::Signal;
use wherd_server::status::PortsFile;

use crate::herd::{
    Client, Herd, Server, Setup, now_text, program, shown, terminal, wait_for, wait_until,
};

const LINE: [(&str, &[&str]); 3] = [
    ("Hill", &["Smith"]),
    ("Smith", &["Campbell"]),
    ("Campbell", &[]),
];

fn neighbours(server: &Server) -> Vec<(String, bool)> {
    let neighbours = server.status().neighbours.into_iter();
    neighbours.map(|n| (n.name, n.is_up)).collect()
}

fn wait_for_neighbours(server: &Server, expected: &[(&str, bool)]) {
    wait_until(&format!("{expected:?} at {}", server.name), || {
        let neighbours = neighbours(server);
        let neighbours: Vec<_> = neighbours.iter().map(|(name, up)| (&**name, *up)).collect();
        neighbours == expected
    });
}

/// A line that is longer than a limit of 512, and no command.
fn long_line(client: &mut Client) -> bool {
    let line = [&[b'x'; 600][..], b"\n"].concat();
    client.send(&line);
    let reply = client.read_line();
    let is_whole = reply.len() == 603;
    assert!(is_whole || reply.len() == 515, "{}", shown(&reply));
    is_whole
}

#[test]
fn an_open_session_has_new_limits_from_the_next_line_on() {
    let herd = Setup::lonely().with("[limits]\n").start();
    let hill = herd.server("Hill");
    let (mut client, mut idle) = (hill.connect(), hill.connect());
    assert!(long_line(&mut client));
    idle.round_trip("emu");
    herd.rewrite(|toml| {
        toml + "line_bytes = 512\nclient_id_bytes = 4\nidle_timeout_s = 1\nclients = 2\n"
    });
    herd.reload("Hill");
    assert!(!long_line(&mut client));
    client.send(b"IAMAT emu +1-1 6\nIAMAT cassowary +1-1 5\nIAMAT kiwi +1-1 5\nIAMAT moa +1-1 5\n");
    for expected in ["AT Hill", "? IAMAT cassowary", "AT Hill", "? IAMAT moa"] {
        let reply = client.read_line();
        assert!(reply.starts_with(expected.as_bytes()), "{}", shown(&reply));
    }
    assert!(
        client.wait_for_close() < Duration::from_secs(30),
        "an hour was the limit"
    );
    // Who says nothing has the limit that it had.
    idle.round_trip("emu");
    for changed in [
        "setting=limits.line_bytes from=8192 to=512",
        "setting=limits.client_id_bytes from=255 to=4",
        "setting=limits.idle_timeout_s from=3600 to=1",
        "setting=limits.clients from=1000000 to=2",
    ] {
        hill.wait_for_log(&[" reload.changed ", changed]);
    }
    hill.wait_for_log(&[" reload.done ", "herd.toml", "changes=4"]);
    assert_eq!(hill.metric("wherd_reloads_total{result=\"ok\"}"), 1.0);
}

#[test]
fn fewer_and_more_connections_are_let_in() {
    let herd = Setup::lonely().with("[limits]\nconnections = 3\n").start();
    let hill = herd.server("Hill");
    let mut open = [(); 3].map(|()| hill.connect());
    open[2].round_trip("kiwi");
    hill.connect().wait_for_close();
    herd.rewrite(|toml| toml.replace("connections = 3", "connections = 4"));
    herd.reload("Hill");
    let mut fourth = hill.connect();
    fourth.round_trip("kiwi");
    herd.rewrite(|toml| toml.replace("connections = 4", "connections = 2"));
    herd.reload("Hill");
    hill.connect().wait_for_close();
    open[0].round_trip("kiwi");
    fourth.round_trip("kiwi");
}

#[test]
fn mistakes_change_nothing_and_are_all_told() {
    let herd = Setup::lonely().with("[limits]\n").start();
    let hill = herd.server("Hill");
    let mut client = hill.connect();
    let before = fs::read_to_string(herd.config_file()).expect("a configuration");
    let line = before.lines().count();
    herd.rewrite(|toml| toml + "line_bytes = 512\nconections = 7\nclients = 0\n");
    hill.signal(Signal::HUP);
    hill.wait_for_log(&[" reload.failed ", "2 mistakes in "]);
    let numbered = |plus: usize| format!("line={} ", line + plus);
    let did_you_mean = hill.wait_for_log(&[" reload.mistake ", &numbered(2), "no `conections`"]);
    assert!(
        did_you_mean.contains("did you mean `connections`?"),
        "{did_you_mean}"
    );
    hill.wait_for_log(&[
        " reload.mistake ",
        &numbered(3),
        "`clients` is out of bounds: from 1 to",
    ]);
    assert!(long_line(&mut client), "nothing has changed");
    assert_eq!(hill.get("/readyz").0, 200);
    assert_eq!(hill.metric("wherd_reloads_total{result=\"failed\"}"), 1.0);
    assert_eq!(hill.metric("wherd_reloads_total{result=\"ok\"}"), 0.0);
    fs::remove_file(herd.config_file()).expect("it was there");
    hill.signal(Signal::HUP);
    hill.wait_for_log(&[" reload.failed ", "failed to read the configuration"]);
    fs::write(
        herd.config_file(),
        before.replace("servers.Hill", "servers.Smith"),
    )
    .expect("written");
    hill.signal(Signal::HUP);
    hill.wait_for_log(&[" reload.failed ", "no server Hill"]);
    fs::write(herd.config_file(), before).expect("written");
    herd.reload("Hill");
    assert!(long_line(&mut client));
}

#[test]
fn what_takes_a_restart_is_named_and_stays() {
    let herd = Setup::lonely().start();
    let hill = herd.server("Hill");
    herd.rewrite(|toml| {
        let http = format!("http = {:?}", hill.http.to_string());
        assert!(toml.contains(&http), "{toml}");
        toml.replace(&http, "http = \"127.0.0.1:0\"")
            .replace("\"tested\"", "\"other\"")
            + "[log]\nkeep = 1\n"
    });
    for _ in 0..2 {
        herd.reload("Hill");
    }
    let log = hill.log();
    // It is told each time, as it is not in force each time.
    let refused = format!(
        "setting=servers.Hill.http from={} to=127.0.0.1:0 ",
        hill.http
    );
    assert_eq!(log.matches(&refused).count(), 2, "{log}");
    assert_eq!(
        log.matches(" reload.refused setting=herd.name from=tested to=other ")
            .count(),
        2
    );
    assert_eq!(
        log.matches(" reload.changed setting=log.keep from=3 to=1")
            .count(),
        1
    );
    assert_eq!(hill.status().herd, "tested");
}

/// Makes `talks_to` of a server say something else.
fn talk(herd: &Herd, name: &str, talks_to: &[&str]) {
    herd.rewrite(|toml| {
        let section = format!("[servers.{name}]\ntalks_to = ");
        let start = toml.find(&section).expect("a section") + section.len();
        let end = start + toml[start..].find('\n').expect("a line");
        format!("{}{talks_to:?}{}", &toml[..start], &toml[end..])
    });
}

#[test]
fn neighbours_come_and_go_and_nothing_is_lost() {
    let herd = Setup::of(&LINE).start();
    let [hill, smith, campbell] = ["Hill", "Smith", "Campbell"].map(|name| herd.server(name));
    let first = hill.iamat("kiwi", "+1-1", &now_text());
    campbell.wait_until_it_tells("kiwi", &first);

    // An edge that was not there.
    talk(&herd, "Hill", &["Smith", "Campbell"]);
    herd.reload("Hill");
    herd.reload("Campbell");
    wait_for_neighbours(&hill, &[("Smith", true), ("Campbell", true)]);
    wait_for_neighbours(&campbell, &[("Smith", true), ("Hill", true)]);

    // One that was is gone, at first for one side only.
    talk(&herd, "Hill", &["Campbell"]);
    herd.reload("Hill");
    wait_for_neighbours(&hill, &[("Campbell", true)]);
    wait_for_neighbours(&smith, &[("Hill", false), ("Campbell", true)]);
    hill.wait_for_log(&[
        " link.down ",
        "neighbour=Smith",
        "it is no neighbour any more",
    ]);
    hill.wait_for_log(&[" link.refused ", "Smith is no neighbour"]);
    smith.wait_for_log(&[" link.failed ", "refused: Smith is no neighbour"]);
    let second = hill.iamat("kiwi", "+2-2", &now_text());
    smith.wait_until_it_tells("kiwi", &second);
    herd.reload("Smith");
    wait_for_neighbours(&smith, &[("Campbell", true)]);

    // And it comes back, with what was said meanwhile, while the other way is gone.
    talk(&herd, "Hill", &[]);
    for server in [&hill, &campbell] {
        herd.reload(&server.name);
    }
    wait_for_neighbours(&hill, &[]);
    assert_eq!(
        hill.get("/readyz").0,
        200,
        "who has no neighbours is not cut off"
    );
    let third = hill.iamat("kiwi", "+3-3", &now_text());
    talk(&herd, "Hill", &["Smith"]);
    herd.reload("Smith");
    wait_for_neighbours(&smith, &[("Hill", false), ("Campbell", true)]);
    herd.reload("Hill");
    wait_for_neighbours(&hill, &[("Smith", true)]);
    campbell.wait_until_it_tells("kiwi", &third);
    herd.wait_until_equal(&["Hill", "Smith", "Campbell"], 1);
}

#[test]
fn neighbours_come_and_go_under_load() {
    let herd = Setup::of(&LINE).start();
    let [hill, smith, campbell] = ["Hill", "Smith", "Campbell"].map(|name| herd.server(name));
    let mut client = hill.connect();
    let mut said = 0;
    for round in 0..6 {
        let talks_to: &[&str] = [&["Campbell"][..], &["Smith"], &["Smith", "Campbell"]][round % 3];
        talk(&herd, "Hill", talks_to);
        for server in [&hill, &smith, &campbell] {
            server.signal(Signal::HUP);
            for _ in 0..20 {
                client.round_trip(&format!("client-{said}"));
                said += 1;
            }
        }
        let expected: Vec<_> = talks_to.iter().map(|name| (*name, true)).collect();
        wait_for_neighbours(&hill, &expected);
    }
    herd.wait_until_equal(&["Hill", "Smith", "Campbell"], said);
}

#[test]
fn acknowledgements_can_wait_for_neighbours_from_now_on() {
    let servers: [(&str, &[&str]); 2] = [("Hill", &["Smith"]), ("Smith", &[])];
    let mut herd = Setup::of(&servers).start();
    let hill = herd.server("Hill");
    let mut client = hill.connect();
    client.round_trip("kiwi");
    herd.rewrite(|toml| {
        toml.replace("acknowledge = \"disk\"", "acknowledge = \"neighbour:1\"")
            + "[journal]\nacknowledge_timeout_ms = 100\n"
    });
    herd.reload("Hill");
    hill.wait_for_log(&[
        " reload.changed ",
        "servers.Hill.acknowledge from=disk to=neighbour:1",
    ]);
    wait_until("an acknowledgement of two", || {
        client.send(b"IAMAT kiwi +1-1 6\n");
        client.read_line().starts_with(b"AT ")
    });
    herd.stop("Smith", crate::herd::Stop::Killed);
    client.send(b"IAMAT kiwi +1-1 7\n");
    assert_eq!(client.read_line(), b"? IAMAT kiwi +1-1 7\n");
}

#[test]
fn the_journal_and_the_log_take_new_numbers() {
    let herd = Setup::lonely().start();
    let hill = herd.server("Hill");
    let mut client = hill.connect();
    for _ in 0..200 {
        client.round_trip("kiwi");
    }
    let compactions = || hill.metric("wherd_journal_compactions_total");
    let before = compactions();
    herd.rewrite(|toml| toml + "[journal]\ncompact_min_bytes = 4096\ncompact_factor = 2\n[log]\nlevel = \"notice\"\n");
    herd.reload("Hill");
    let log = hill.log();
    wait_until("a compaction", || {
        client.round_trip("kiwi");
        compactions() > before
    });
    let news = hill.log();
    assert!(!news[log.len()..].contains(" client."), "{news}");
}

/// A process that ends with the test, and its servers with it.
pub(crate) struct Ended(pub(crate) Child);

impl Drop for Ended {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn up_passes_it_on_and_keeps_the_ports_that_it_chose() {
    let folder = tempfile::tempdir().expect("a folder");
    let section = |name: &str, talks_to: &[&str]| {
        format!(
            "[servers.{name}]\ntalks_to = {talks_to:?}\nclients = \"127.0.0.1:0\"\nlinks = \"127.0.0.1:0\"\nhttp = \"127.0.0.1:0\"\n"
        )
    };
    let config = section("Hill", &["Smith"]) + &section("Smith", &[]);
    let file = folder.path().join("herd.toml");
    fs::write(&file, &config).expect("written");
    let words = fs::File::create(folder.path().join("up.err")).expect("created");
    let up = program(folder.path())
        .args([
            "--config",
            "herd.toml",
            "up",
            "--json",
            "--ports-file",
            "ports.json",
        ])
        .stderr(words)
        .spawn()
        .expect("it runs");
    let mut up = Ended(up);
    let ports = wait_for("the ports file", || {
        let text = fs::read(folder.path().join("ports.json")).ok()?;
        serde_json::from_slice::<PortsFile>(&text).ok()
    });
    let hang_up = || {
        let pid = rustix::process::Pid::from_raw(up.0.id() as i32).expect("a process");
        rustix::process::kill_process(pid, Signal::HUP).expect("it runs");
    };
    let log = |name: &str| {
        fs::read_to_string(folder.path().join(&ports.servers[name].log)).expect("a log")
    };
    fs::write(&file, format!("{config}[limits]\nline_bytes = 512\n")).expect("written");
    hang_up();
    for name in ["Hill", "Smith"] {
        wait_until(&format!("the reload of {name}"), || {
            let log = log(name);
            let is_done = log.contains(" reload.done ");
            assert!(!log.contains(" reload.refused "), "{log}");
            is_done && log.contains("limits.line_bytes from=8192 to=512")
        });
    }
    // Mistakes are told here, and nobody reads a file that was not written.
    fs::write(&file, format!("{config}[limits]\nline_bytes = 5\n")).expect("written");
    hang_up();
    wait_until("the mistake", || {
        let words = fs::read_to_string(folder.path().join("up.err")).expect("words");
        words.contains("`line_bytes` is out of bounds")
            && words.contains("go on with what they have")
    });
    assert_eq!(log("Hill").matches(" reload.").count(), 2);
    let pid = rustix::process::Pid::from_raw(up.0.id() as i32).expect("a process");
    rustix::process::kill_process(pid, Signal::TERM).expect("it runs");
    assert!(up.0.wait().expect("a child of ours").success());
}

#[test]
fn a_server_whose_terminal_is_gone_stops() {
    let mut herd = Setup::lonely().start();
    herd.stop("Hill", crate::herd::Stop::Asked);
    let (terminal, open) = terminal();
    herd.restart_with_stderr("Hill", Stdio::from(open()));
    let hill = herd.server("Hill");
    herd.reload("Hill");
    hill.connect().round_trip("kiwi");
    drop(terminal);
    hill.signal(Signal::HUP);
    wait_until("the end of Hill", || !hill.is_running());
    let log = hill.log();
    assert_eq!(log.matches(" reload.").count(), 1, "{log}");
    assert_eq!(log.matches(" server.stop").count(), 2, "{log}");
}
