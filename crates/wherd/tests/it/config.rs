//! Configurations, sound and not, from the command line.

use std::fs;
use std::path::Path;

use crate::{check, check_in, code, stderr, stdout, wherd};

/// A folder with this `wherd.toml`.
fn folder_with(toml: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("wherd.toml"), toml).expect("written");
    folder
}

const HILL_AND_SMITH: &str = r#"[servers.Hill]
clients  = "127.0.0.1:4373"
links    = "127.0.0.1:5373"
http     = "127.0.0.1:8373"
talks_to = ["Smith"]
[servers.Smith]
clients  = "127.0.0.1:4375"
links    = "127.0.0.1:5375"
http     = "127.0.0.1:8375"
"#;

#[test]
fn check_says_what_was_read_and_where() {
    check(
        &["config", "check"],
        0,
        &["ok: 5 servers, 6 edges, from the built-in herd\n"],
        &[],
    );
    let folder = folder_with(HILL_AND_SMITH);
    let expected = "ok: 2 servers, 1 edge, from wherd.toml\n";
    check_in(folder.path(), &["config", "check"], 0, &[expected], &[]);
    let json = &[
        "\"is_ok\":true",
        "\"servers_count\":2",
        "\"edges_count\":1",
        "wherd.toml",
    ];
    check_in(folder.path(), &["config", "check", "--json"], 0, json, &[]);
}

#[test]
fn a_herd_in_two_halves_is_warned_of() {
    let folder = folder_with(&HILL_AND_SMITH.replace("[\"Smith\"]", "[]"));
    let warning = "warning: no chain of edges leads from Hill to Smith";
    check_in(
        folder.path(),
        &["config", "check"],
        0,
        &["0 edges"],
        &[warning],
    );
}

#[test]
fn a_mistake_is_shown_with_its_line_and_a_suggestion() {
    let folder = folder_with(&HILL_AND_SMITH.replace("[\"Smith\"]", "[\"Smiht\"]"));
    let output = wherd(folder.path(), &["config", "check"])
        .output()
        .expect("it runs");
    assert_eq!(code(&output), 78);
    assert_eq!(stdout(&output), "");
    let expected = r#"
  × 1 mistake in wherd.toml

Error: 
  × no server Smiht
   ╭─[wherd.toml:5:13]
 4 │ http     = "127.0.0.1:8373"
 5 │ talks_to = ["Smiht"]
   ·             ───┬───
   ·                ╰── here
 6 │ [servers.Smith]
   ╰────
  help: did you mean Smith?
"#;
    assert_eq!(stderr(&output).trim(), expected.trim());
}

#[test]
fn every_command_that_needs_a_herd_tells_all_mistakes() {
    let folder = folder_with("[limits]\nclients = 0\n[log]\nformat = \"xml\"\n");
    for command in [
        &["config", "check"][..],
        &["config", "show"],
        &["up"],
        &["serve", "Hill"],
        &["status"],
        &["send", "Hill", "x"],
        &["iamat", "kiwi", "1", "1"],
        &["whatsat", "kiwi", "1", "1"],
    ] {
        let mistakes = &[
            "2 mistakes",
            "wherd.toml:2:11",
            "wherd.toml:4:10",
            "`text`, `json`",
        ];
        check_in(folder.path(), command, 78, &[], mistakes);
    }
}

#[test]
fn a_file_that_is_named_has_to_be_there() {
    check(
        &["--config", "absent.toml", "status"],
        78,
        &[],
        &["absent.toml", "config init"],
    );
    let folder = tempfile::tempdir().expect("a folder");
    let output = wherd(folder.path(), &["config", "check"])
        .env("WHERD_CONFIG", "elsewhere.toml")
        .output()
        .expect("it runs");
    assert_eq!(code(&output), 78);
    assert!(stderr(&output).contains("elsewhere.toml"));
}

#[test]
fn what_show_prints_is_a_configuration() {
    let folder = folder_with(&format!("{HILL_AND_SMITH}[log]\ndir = \"l\"\n"));
    let output = wherd(folder.path(), &["config", "show"])
        .output()
        .expect("it runs");
    let shown = stdout(&output);
    let dir = folder.path().join("l");
    assert!(shown.contains(&format!("dir = {dir:?}")), "{shown}");
    fs::write(folder.path().join("shown.toml"), &shown).expect("written");
    check_in(
        folder.path(),
        &["--config", "shown.toml", "config", "show"],
        0,
        &[&shown],
        &[],
    );
    let json = &[
        "\"talks_to\":[\"Smith\"]",
        "\"clients\":\"127.0.0.1:4373\"",
        "\"keep\":3",
    ];
    check_in(folder.path(), &["config", "show", "--json"], 0, json, &[]);
}

#[test]
fn init_writes_a_file_that_is_sound_and_never_writes_over_one() {
    let folder = tempfile::tempdir().expect("a folder");
    let run = |arguments: &[&str], code, out: &[&str], err: &[&str]| {
        check_in(folder.path(), arguments, code, out, err);
    };
    run(&["config", "init"], 0, &["wrote wherd.toml"], &[]);
    run(
        &["config", "check"],
        0,
        &["5 servers, 6 edges, from wherd.toml"],
        &[],
    );
    let path = folder.path().join("wherd.toml");
    fs::write(&path, "# mine\n").expect("written");
    run(
        &["config", "init"],
        1,
        &[],
        &["wherd.toml is there already", "--force"],
    );
    assert_eq!(fs::read_to_string(&path).expect("read"), "# mine\n");
    run(&["config", "init", "--force"], 0, &[], &[]);
    assert!(
        fs::read_to_string(&path)
            .expect("read")
            .contains("[servers.Hill]")
    );
    run(
        &["config", "init", "no/folder.toml"],
        1,
        &[],
        &["failed to write no/folder.toml"],
    );
    assert_eq!(entries(folder.path()), ["wherd.toml"]);
}

fn entries(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("a folder");
    entries
        .map(|entry| {
            entry
                .expect("an entry")
                .file_name()
                .to_string_lossy()
                .into_owned()
        })
        .collect()
}
