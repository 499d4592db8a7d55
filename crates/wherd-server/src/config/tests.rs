use std::path::Path;

use proptest::prelude::*;

use super::find::{Surroundings, find};
use super::*;

const HILL: &str = "
[servers.Hill]
clients = \"127.0.0.1:4373\"
links = \"127.0.0.1:5373\"
http = \"127.0.0.1:8373\"
";
const SMITH: &str = "
[servers.Smith]
clients = \"127.0.0.1:4375\"
links = \"127.0.0.1:5375\"
http = \"127.0.0.1:8375\"
";

/// Every mistake on a line of its own: number of the line, the text itself, what is wrong, help.
fn mistakes(toml: &str) -> String {
    let Err(ConfigError::Mistakes(mistakes)) = Config::parse(toml, Path::new("herd.toml")) else {
        return String::new();
    };
    let show = |mistake: &Mistake| {
        let labels = miette::Diagnostic::labels(mistake).into_iter().flatten();
        let mut shown = String::new();
        for label in labels {
            let (start, text) = (label.offset(), &toml[label.offset()..][..label.len()]);
            let line = toml[..start].matches('\n').count() + 1;
            shown += &format!("{line}: {text}: {}; ", label.label().unwrap_or_default());
        }
        let help = miette::Diagnostic::help(mistake).map(|help| help.to_string());
        format!("{shown}{mistake}; {}\n", help.unwrap_or_default())
    };
    mistakes.list().iter().map(show).collect()
}

/// `toml` has as many mistakes as there are `expected` ones, and they say these fragments.
fn check(toml: &str, expected: &[&[&str]]) {
    let shown = mistakes(toml);
    assert_eq!(shown.lines().count(), expected.len(), "{toml}\n{shown}");
    for (line, fragments) in shown.lines().zip(expected) {
        for fragment in *fragments {
            assert!(line.contains(fragment), "no {fragment:?} in\n{shown}");
        }
    }
}

fn parse(toml: &str) -> Config {
    match Config::parse(toml, Path::new("herd.toml")) {
        Ok(config) => config,
        Err(_) => panic!("{toml}\n{}", mistakes(toml)),
    }
}

#[test]
fn the_built_in_herd_has_five_servers_and_six_edges() {
    let config = Config::default();
    let ports = |name| {
        let server: &ServerConfig = config.server(name).expect("a known name");
        server.listeners().map(|(_, address)| address.to_string())
    };
    assert_eq!(
        ports("Hill"),
        ["127.0.0.1:4373", "127.0.0.1:5373", "127.0.0.1:8373"]
    );
    assert_eq!(
        ports("Singleton"),
        ["127.0.0.1:4377", "127.0.0.1:5377", "127.0.0.1:8377"]
    );
    assert_eq!((config.servers.len(), config.edges_count()), (5, 6));
    assert_eq!(config.unreached_servers(), Vec::<&str>::new());
    for server in &config.servers {
        for neighbour in &server.neighbours {
            let other = config.server(neighbour).expect("a known name");
            assert!(other.neighbours.contains(&server.name), "{neighbour}");
        }
    }
}

#[test]
fn a_file_without_servers_keeps_the_built_in_ones() {
    let config = parse("[limits]\nline_bytes = 1_000\n");
    assert_eq!(config.servers, Config::default().servers);
    assert_eq!(config.limits.line_bytes, 1_000);
    assert_eq!(config.limits.connections, 16_000);
    assert_eq!(config.source.to_string(), "herd.toml");
    assert_eq!(parse("").servers, Config::default().servers);
}

#[test]
fn an_edge_goes_both_ways_whichever_side_says_it() {
    for (hill, smith) in [
        ("[\"Smith\"]", "[]"),
        ("[]", "[\"Hill\"]"),
        ("[\"Smith\"]", "[\"Hill\"]"),
    ] {
        let config = parse(&format!("{HILL}talks_to = {hill}{SMITH}talks_to = {smith}"));
        assert_eq!(config.servers[0].neighbours, ["Smith"]);
        assert_eq!(config.servers[1].neighbours, ["Hill"]);
        assert_eq!(config.edges_count(), 1);
    }
}

#[test]
fn servers_and_neighbours_are_in_the_order_of_the_file() {
    let aa = HILL.replace("Hill", "Aa").replace("373\"", "379\"");
    let config = parse(&format!("{SMITH}talks_to = [\"Aa\", \"Hill\"]{HILL}{aa}"));
    assert_eq!(
        config.server_names().collect::<Vec<_>>(),
        ["Smith", "Hill", "Aa"]
    );
    assert_eq!(config.servers[0].neighbours, ["Hill", "Aa"]);
}

#[test]
fn two_halves_are_told() {
    let config = parse(&format!("{HILL}{SMITH}"));
    assert_eq!(config.unreached_servers(), ["Smith"]);
}

#[test]
fn relative_paths_start_at_the_file() {
    let text = "[log]\ndir = \"l\"\n[places]\nfile = \"h.places\"\n";
    let config = Config::parse(text, Path::new("/etc/wherd/wherd.toml")).expect("sound");
    assert_eq!(config.log.dir, Path::new("/etc/wherd/l"));
    assert_eq!(
        config.places.file.as_deref(),
        Some(Path::new("/etc/wherd/h.places"))
    );
    let config = Config::parse("", Path::new("/etc/wherd/wherd.toml")).expect("sound");
    assert_eq!(config.log.dir, Path::new("logs"));
}

#[test]
fn unknown_keys_and_sections_are_refused() {
    check(
        "[limit]\n",
        &[&[
            "1: limit",
            "no section is called [limit]",
            "did you mean `limits`?",
        ]],
    );
    check("[zoo]\n", &[&["known: `herd`, `journal`, `limits`, `log`"]]);
    check("name = \"x\"\n", &[&["1: name", "in no section"]]);
    check(
        "[log]\nformt = \"json\"\n",
        &[&["2: formt", "[log] has no `formt`", "`format`?"]],
    );
    check(
        "[herd]\nx = 1\n",
        &[&["known: `acknowledge`, `name`, `trust_network`"]],
    );
    check(
        &format!("{HILL}talk_to = []\n"),
        &[&[
            "6: talk_to",
            "[servers.Hill] has no `talk_to`",
            "`talks_to`?",
        ]],
    );
    check(
        "[servers.a.b]\nclients = \"x\"\n",
        &[
            &["has no `clients`"],
            &["has no `links`"],
            &["has no `http`"],
            &["1: b", "a name with a point is quoted: [servers.\"a.b\"]"],
        ],
    );
}

#[test]
fn values_of_a_wrong_type_are_refused() {
    check(
        "limits = 5\n",
        &[&["1: 5: an integer", "`limits` is a section, [limits]"]],
    );
    check(
        "[limits]\nline_bytes = \"8k\"\n",
        &[&["2: \"8k\"", "a whole number", "not a text"]],
    );
    check(
        "[log]\ndir = 5\n",
        &[&["`dir` is a text in quotes, not an integer"]],
    );
    check(
        "[herd]\ntrust_network = \"yes\"\n",
        &[&["`true` or `false`"]],
    );
    check(
        &format!("{HILL}talks_to = \"Smith\"\n"),
        &[&["6: \"Smith\"", "a list of texts"]],
    );
    check(
        &format!("{HILL}talks_to = [5]\n"),
        &[&["6: 5", "a list of texts"]],
    );
    check(
        "[servers]\nHill = 5\n",
        &[&["2: 5", "`Hill` is a section, [servers.Hill]"]],
    );
    check("[servers]\n", &[&["1: servers", "no server in it"]]);
}

#[test]
fn words_are_among_the_known_ones() {
    check(
        "[replication]\npolicy = \"flod\"\n",
        &[&["2: \"flod\"", "`policy`", "did you mean `flood`?"]],
    );
    check(
        "[replication]\npolicy = \"mesh\"\n",
        &[&["known: `tree`, `flood`, `reached`, `ring`, `hybrid`"]],
    );
    check("[log]\nformat = \"xml\"\n", &[&["known: `text`, `json`"]]);
    check(
        "[places]\nrank = \"Distance\"\n",
        &[&["did you mean `distance`?"]],
    );
}

#[test]
fn providers_are_checked() {
    for (text, expected) in [
        ("providers = [\"gogle\"]", "did you mean `google`?"),
        (
            "providers = [\"google\", \"google\"]",
            "is in the list twice",
        ),
        (
            "providers = [\"local\", \"google\"]",
            "nobody behind it is asked",
        ),
        ("providers = \"google\"", "a list of texts"),
        (
            "language = \"English please\"",
            "a language is a code such as `en`",
        ),
        ("fallback = \"no\"", "`fallback` is `true` or `false`"),
        (
            "google.base_url = \"places.googleapis.com\"",
            "a base URL is `https://host`",
        ),
        (
            "google.base_url = \"https://a?key=1\"",
            "a base URL is `https://host`",
        ),
        (
            "google.base_url = \"https://user:password@a\"",
            "no password",
        ),
        ("google.key = \"AIza\"", "has no `key`"),
        ("google.key_file = \"\"", "a path is not empty"),
        ("google.mask = \"basic\"", "known: `pro`, `full`"),
        ("overpass.in_flight = 0", "`in_flight` is out of bounds"),
        ("overpass.mask = \"pro\"", "[places.overpass] has no `mask`"),
    ] {
        check(&format!("[places]\n{text}\n"), &[&[expected]]);
    }
    let text = "[places]\nproviders = [\"auto\", \"overpass\", \"local\"]\n[places.google]\nkey_file = \"k\"\n";
    let file = Config::parse(text, Path::new("/etc/wherd/herd.toml")).expect("a sound file");
    assert_eq!(file.places.providers.len(), 3);
    assert_eq!(
        file.places.google.key_file.as_deref(),
        Some(Path::new("/etc/wherd/k"))
    );
    assert_eq!(parse("[places]\nproviders = []\n").places.providers, []);
}

#[test]
fn numbers_have_bounds() {
    check(
        "[limits]\nclient_id_bytes = 256\n",
        &[&["2: 256: from 1 to 255", "default is 255"]],
    );
    for bad in ["-1", "0", "99999999999999999999999"] {
        check(
            &format!("[limits]\nclients = {bad}\n"),
            &[&["`clients` is out of bounds"]],
        );
    }
    assert_eq!(parse("[log]\nkeep = 0x0A\n").log.keep, 10);
    check(
        "[replication]\nping_interval_ms = 1600\n",
        &[&[
            "2: 1600",
            "`dead_after_ms` (3000) is less than twice `ping_interval_ms` (1600)",
        ]],
    );
    check(
        "[replication]\nredial_max_ms = 10\n",
        &[&["2: 10", "less than `redial_min_ms` (50)"]],
    );
    check(
        "[limits]\nwatchdog_abort_ms = 499\nwatchdog_unhealthy_ms = 400\n",
        &[
            &["2: 499", "`watchdog_abort_ms` is 0 or at least 500"],
            &["3: 400", "`watchdog_unhealthy_ms` is 0 or at least 500"],
        ],
    );
    check(
        "[limits]\nwatchdog_abort_ms = 1999\n",
        &[&["2: 1999", "is less than `watchdog_unhealthy_ms` (2000)"]],
    );
    check("[limits]\nwatchdog_abort_ms = 0\n", &[]);
}

#[test]
fn names_fit_the_at_line_and_a_file_name() {
    let named = |name: &str| HILL.replace("Hill", &format!("{name:?}"));
    for good in ["a", "_x", "9", "A.b-c_d", "a".repeat(64).as_str()] {
        check(&named(good), &[]);
        check(&format!("[herd]\nname = {good:?}\n"), &[]);
    }
    for (bad, why) in [
        ("", "is empty"),
        ("a b", "has ' ' in it"),
        ("a/b", "has '/' in it"),
        ("Zürich", "has 'ü' in it"),
        ("-a", "begins with a sign"),
        ("..", "begins with a sign"),
        ("a".repeat(65).as_str(), "has 65 bytes"),
    ] {
        check(&named(bad), &[&["the name of a server", why]]);
        check(
            &format!("[herd]\nname = {bad:?}\n"),
            &[&["the name of a herd", why]],
        );
    }
}

#[test]
fn edges_lead_to_other_servers_once() {
    let two = |talks_to: &str| format!("{HILL}talks_to = {talks_to}\n{SMITH}");
    check(
        &two("[\"Smiht\"]"),
        &[&["6: \"Smiht\"", "no server Smiht", "did you mean Smith?"]],
    );
    check(&two("[\"smith\"]"), &[&["did you mean Smith?"]]);
    check(
        &two("[\"Zappa\"]"),
        &[&["no server Zappa", "the other servers are Smith"]],
    );
    check(
        &two("[\"Hill\"]"),
        &[&["6: \"Hill\"", "Hill talks to itself"]],
    );
    check(
        &two("[\"Smith\", \"Smith\"]"),
        &[&["6: \"Smith\": again", "twice"]],
    );
    check(
        &format!("{HILL}talks_to = [\"X\"]"),
        &[&["no other server"]],
    );
}

#[test]
fn addresses_are_sound_and_differ() {
    let with = |from: &str, to: &str| HILL.replace(from, to);
    check(
        &with("127.0.0.1:4373", "127.0.0.1"),
        &[&["3: ", "the port is missing", "host:port"]],
    );
    check(&with("4373", "65536"), &[&["0 to 65535"]]);
    check(&with("127.0.0.1:4373", "::1:4373"), &[&["in brackets"]]);
    check(
        &with("clients = \"127.0.0.1:4373\"\n", ""),
        &[&["Hill", "has no `clients`", "`clients = \"127.0.0.1:0\"`"]],
    );
    check(
        &with("5373", "4373"),
        &[&["4: ", "127.0.0.1:4373 is taken", "3: ", "`clients` of Hill"]],
    );
    check(&with("127.0.0.1:5373", "localhost:4373"), &[&["is taken"]]);
    check(
        &format!("{HILL}{}", HILL.replace("Hill", "Smith")),
        &[&["taken"], &["taken"], &["taken"]],
    );
    let any_port = HILL
        .replace("4373", "0")
        .replace("5373", "0")
        .replace("8373", "0");
    check(
        &format!("{any_port}{}", any_port.replace("Hill", "Smith")),
        &[],
    );
}

#[test]
fn leaving_loopback_takes_an_explicit_word() {
    let open = HILL.replace("127.0.0.1", "0.0.0.0");
    check(
        &open,
        &[&[
            "3: ",
            "not loopback",
            "4: ",
            "5: ",
            "trust_network = true",
            "authenticated",
        ]],
    );
    check(
        &HILL.replace("127.0.0.1", "hill.example"),
        &[&["trust_network"]],
    );
    check(&HILL.replace("127.0.0.1", "localhost"), &[]);
    let trusted = format!("[herd]\ntrust_network = true\n{open}");
    check(&trusted, &[]);
    // Of one server, but not of two, which may be two machines.
    check(&trusted.replace("5373", "4373"), &[&["is taken"]]);
    check(&format!("{trusted}{}", open.replace("Hill", "Smith")), &[]);
    check(
        &format!("{trusted}talks_to = [\"Smith\"]{SMITH}"),
        &[&["cannot dial 0.0.0.0:5373"]],
    );
}

#[test]
fn all_mistakes_are_told_in_the_order_of_the_lines() {
    let text = format!(
        "[limits]\nclients = 0\n{}talks_to = [\"Smiht\"]\n{SMITH}[log]\nkep = 2\n",
        HILL.replace("4373", "x")
    );
    check(
        &text,
        &[&["2: 0"], &["5: "], &["8: \"Smiht\""], &["15: kep"]],
    );
}

#[test]
fn text_that_is_not_toml_is_shown_where_it_breaks() {
    check("[herd]\nname = wherd\n", &[&["2: ", "not TOML"]]);
    check("[herd\n", &[&["1: ", "not TOML", "a section is written"]]);
    check(
        "[herd]\nname = \"a\"\nname = \"b\"\n",
        &[&["3: name", "not TOML: duplicate key"]],
    );
}

#[test]
fn an_unknown_server_lists_the_known_ones() {
    let config = Config::default();
    let error = config.server("Smiht").expect_err("unknown");
    assert_eq!(
        error.to_string(),
        "no server Smiht; did you mean Smith? \
         The servers are Hill, Jaquez, Smith, Campbell, Singleton"
    );
    assert_eq!(
        config
            .server("hill")
            .expect_err("unknown")
            .suggestion
            .as_deref(),
        Some("Hill")
    );
    assert_eq!(
        config.server("x").expect_err("unknown").to_string(),
        "no server x; the servers are Hill, Jaquez, Smith, Campbell, Singleton"
    );
}

#[test]
fn the_first_file_that_is_there_applies() {
    let root = tempfile::tempdir().expect("a folder");
    let at = |path: &str| root.path().join(path);
    let write = |path: &str, name: &str| {
        let path = at(path);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("created");
        std::fs::write(&path, format!("[herd]\nname = {name:?}\n")).expect("written");
    };
    let mut around = Surroundings {
        wherd_config: None,
        current_dir: at("here"),
        config_home: Some(at("xdg")),
        etc: at("etc"),
    };
    let name = |around: &Surroundings, explicit: Option<&Path>| {
        find(explicit, around).map(|config| config.herd.name)
    };
    assert_eq!(
        find(None, &around).expect("built in").source,
        ConfigSource::BuiltIn
    );
    for (path, herd) in [
        ("etc/wherd/wherd.toml", "etc"),
        ("xdg/wherd/wherd.toml", "xdg"),
        ("here/wherd.toml", "here"),
    ] {
        write(path, herd);
        assert_eq!(name(&around, None).expect("sound"), herd);
    }
    around.wherd_config = Some(at("env.toml"));
    let error = name(&around, None).expect_err("a named file has to be there");
    assert!(error.to_string().contains("env.toml"), "{error}");
    write("env.toml", "env");
    write("explicit.toml", "explicit");
    assert_eq!(name(&around, None).expect("sound"), "env");
    assert_eq!(
        name(&around, Some(&at("explicit.toml"))).expect("sound"),
        "explicit"
    );
}

/// The same meaning, wherever it was read.
fn assert_round_trip(config: &Config, toml: &str) {
    let mut read = parse(toml);
    read.source = config.source.clone();
    assert_eq!(&read, config, "{toml}");
}

#[test]
fn what_is_written_for_a_reader_reads_back() {
    let config = Config::default();
    assert_round_trip(&config, &config.to_toml());
    assert_round_trip(&config, &config.to_commented_toml());
    assert!(
        config
            .to_commented_toml()
            .contains("\n# line_bytes = 8192\n")
    );
    // Every line that is offered can be taken.
    let taken: String = config
        .to_commented_toml()
        .lines()
        .map(|line| match line.strip_prefix("# ") {
            Some(setting)
                if setting
                    .split_once(" = ")
                    .is_some_and(|(key, _)| is_key(key)) =>
            {
                setting
            }
            _ => line,
        })
        .flat_map(|line| [line, "\n"])
        .collect();
    assert_eq!(parse(&taken).limits, config.limits, "{taken}");
    assert!(parse(&taken).places.file.is_some());
}

fn is_key(text: &str) -> bool {
    text.bytes()
        .all(|byte| byte.is_ascii_lowercase() || byte == b'_')
}

#[test]
fn acknowledgements_are_the_herds_or_the_servers_own() {
    let (level, of) = ("acknowledge = \"neighbour:1\"\n", Config::acknowledge);
    let edge = "talks_to = [\"Smith\"]\n";
    let mut config = parse(&format!(
        "[herd]\n{level}{HILL}{edge}{SMITH}acknowledge = \"memory\""
    ));
    let levels: Vec<_> = config
        .servers
        .iter()
        .map(|s| of(&config, s).to_string())
        .collect();
    assert_eq!(levels, ["neighbour:1", "memory"]);
    assert_eq!(
        of(&Config::default(), &Config::default().servers[0]),
        Acknowledge::Disk
    );
    config.herd.acknowledge = Acknowledge::Disk;
    config.ephemeral = true;
    assert_eq!(of(&config, &config.servers[0]), Acknowledge::Memory);
}

#[test]
fn an_acknowledgement_that_cannot_come_is_a_mistake() {
    let edge = "talks_to = [\"Smith\"]\n";
    let with = |level| format!("{HILL}{edge}acknowledge = \"{level}\"{SMITH}");
    for level in [
        "",
        "disc",
        "neighbour",
        "neighbour:",
        "neighbour:0",
        "neighbour:65",
        "neighbour:-1",
    ] {
        check(&with(level), &[&["`acknowledge` cannot be", "neighbour:1"]]);
    }
    check(
        &with("neighbour:2"),
        &[&["Hill has no 2 neighbours", "it has 1"]],
    );
    check(
        "[herd]\nacknowledge = \"neighbour:3\"\n",
        &[&["Hill has no 3 neighbours"]],
    );
}

prop_compose! {
    fn any_servers()(count in 1..6_usize)(
        names in proptest::collection::btree_set("[A-Za-z0-9_][A-Za-z0-9_.-]{0,9}", count..=count),
        edges in proptest::collection::vec(any::<bool>(), count * count),
    ) -> Vec<ServerConfig> {
        let names: Vec<String> = names.into_iter().collect();
        let is_edge = |a: usize, b: usize| a != b && edges[a.min(b) * names.len() + a.max(b)];
        let port = |base: u16, index: usize| Address::loopback(base + index as u16);
        let server = |(index, name): (usize, &String)| ServerConfig {
            name: name.clone(),
            clients: port(4000, index),
            links: port(5000, index),
            http: port(0, 0),
            neighbours: (0..names.len())
                .filter(|other| is_edge(index, *other))
                .map(|other| names[other].clone())
                .collect(),
            acknowledge: (index == 1).then_some(Acknowledge::Memory),
        };
        names.iter().enumerate().map(server).collect()
    }
}

proptest! {
    #[test]
    fn what_is_written_reads_back(
        servers in any_servers(),
        herd in "[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}",
        trust_network: bool,
        line_bytes in 512..=65_536_usize,
        dir in "[^\\x00/]{1,20}",
        file in proptest::option::of("[^\\x00]{1,20}"),
        is_json: bool,
        is_distance: bool,
        dead_after_ms in 1_000..=600_000_u64,
    ) {
        let mut config = Config { servers, ..Config::default() };
        let acknowledge = if is_json { Acknowledge::Disk } else { Acknowledge::Memory };
        config.herd = HerdConfig { name: herd, trust_network, acknowledge };
        config.journal.dir = format!("{}x", config.herd.name).into();
        config.journal.compact_factor = 2 + dead_after_ms % 10;
        config.limits.line_bytes = line_bytes;
        config.log.dir = dir.into();
        config.log.format = if is_json { LogFormat::Json } else { LogFormat::Text };
        config.places.file = file.map(Into::into);
        config.places.rank = if is_distance { Rank::Distance } else { Rank::Prominence };
        config.places.providers = match dead_after_ms % 3 {
            0 => PlacesProvider::ALL.iter().rev().copied().collect(),
            1 => vec![PlacesProvider::Auto],
            _ => vec![PlacesProvider::Local],
        };
        config.places.language = is_json.then(|| "pt-BR".to_owned());
        config.places.fallback = is_distance;
        config.places.limits.timeout_ms = 10 + dead_after_ms % 10;
        config.places.google.base_url = format!("http://localhost:{}/x", dead_after_ms % 9_999);
        config.places.google.mask = if is_json { Mask::Full } else { Mask::Pro };
        config.places.google.key_file = is_json.then(|| "a key".into());
        config.places.google.fresh_s = dead_after_ms % 100;
        config.places.overpass.in_flight = 1 + dead_after_ms as usize % 100;
        config.replication.dead_after_ms = dead_after_ms;
        config.replication.policy = Policy::ALL[dead_after_ms as usize % Policy::ALL.len()];
        assert_round_trip(&config, &config.to_toml());
        assert_round_trip(&config, &config.to_commented_toml());
    }

    #[test]
    fn no_text_panics(text in "\\PC*") {
        let _ = Config::parse(&text, Path::new("herd.toml"));
    }

    #[test]
    fn no_almost_sound_file_panics(at in 0..400_usize, with in "[\\[\\]\"=.\n#a5]{0,3}") {
        let mut text = Config::default().to_toml();
        text.replace_range(at..at + 1, &with);
        let _ = Config::parse(&text, Path::new("herd.toml"));
    }
}
