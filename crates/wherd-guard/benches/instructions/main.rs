//! How many instructions the hot paths take, beside the baseline.
//!
//! ```sh
//! cargo bench -p wherd-guard               # all, beside the baseline
//! cargo bench -p wherd-guard -- send       # one of them
//! cargo bench -p wherd-guard -- --write    # all, and from here on they are the baseline
//! ```
//!
//! The program runs itself under Valgrind, once for each path, so that no path has a say in what
//! the memory of another looks like.

mod paths;

use paths::{PATHS, Path};
use std::env::{self, consts};
use std::fs;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use wherd_guard::{Baseline, TOLERANCE_PERCENT, Verdict};

fn main() -> ExitCode {
    // `cargo bench` adds `--bench`.
    let arguments: Vec<_> = env::args().skip(1).filter(|a| a != "--bench").collect();
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    let done = match arguments.as_slice() {
        [] => compare(&PATHS),
        ["--write"] => write_baseline(),
        ["--run", name] => find(name).and_then(|path| say(&(path.work)().to_string())),
        [name] => find(name).and_then(|path| compare(&[path])),
        _ => Err("what is wanted: nothing, the name of a path, or --write".to_owned()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("{why}");
            ExitCode::FAILURE
        }
    }
}

fn find(name: &str) -> Result<Path, String> {
    let names = PATHS.map(|path| path.name).join(", ");
    let found = PATHS.into_iter().find(|path| path.name == name);
    found.ok_or_else(|| format!("there is no {name}, but {names}"))
}

fn write_baseline() -> Result<(), String> {
    let counts = PATHS
        .iter()
        .map(|path| Ok((path.name.to_owned(), count(path)?)));
    let baseline = Baseline {
        counts: counts.collect::<Result<_, String>>()?,
        tools: tools()?,
    };
    let file = baseline_file();
    let written = fs::write(&file, baseline.to_string());
    written.map_err(|error| format!("{}: {error}", file.display()))?;
    say(&format!("written to {}", file.display()))
}

/// Prints a table; an error where a path takes more than the baseline allows, or is not in it.
fn compare(paths: &[Path]) -> Result<(), String> {
    let (tools, found) = (tools()?, read_baseline()?);
    let baseline = found.clone().unwrap_or_default();
    say("path          an item of it                     instructions   baseline   change")?;
    let mut verdicts = Vec::new();
    for path in paths {
        let (name, item, count) = (path.name, path.item, count(path)?);
        let verdict = baseline.judge(name, count, &tools);
        let before = baseline.counts.get(name);
        let before = before.map_or_else(String::new, |before| format!("{before:.1}"));
        let change = shown(verdict);
        say(&format!(
            "{name:<14}{item:<34}{count:>12.1}{before:>11}{change}"
        ))?;
        verdicts.push((name, verdict));
    }
    if found.is_none() {
        let file = baseline_file();
        return say(&format!("There is no {} to compare with.", file.display()));
    }
    if baseline.tools != tools {
        let percent = baseline.tolerance_percent(&tools);
        let before = &baseline.tools;
        say(&format!("Counted with: {tools}\nThe baseline: {before}"))?;
        say(&format!(
            "So {percent} % more are let pass, not {TOLERANCE_PERCENT} %."
        ))?;
    }
    conclude(&verdicts)
}

fn shown(verdict: Verdict) -> String {
    let (percent, word) = match verdict {
        Verdict::New => return "      new".to_owned(),
        Verdict::Same(percent) => (percent, ""),
        Verdict::Fewer(percent) => (percent, "  fewer"),
        Verdict::More(percent) => (percent, "  MORE"),
    };
    // No "-0.0".
    let tenths = (percent * 10.0).round() as i64;
    format!("{:+8.1}%{word}", tenths as f64 / 10.0)
}

/// What to do about it.
fn conclude(verdicts: &[(&str, Verdict)]) -> Result<(), String> {
    let named = |is_so: fn(&Verdict) -> bool| {
        let named = verdicts.iter().filter(|(_, verdict)| is_so(verdict));
        named.map(|(name, _)| *name).collect::<Vec<_>>()
    };
    let fewer = named(|verdict| matches!(verdict, Verdict::Fewer(_)));
    if !fewer.is_empty() {
        let names = fewer.join(", ");
        say(&format!(
            "Fewer: {names}. `cargo bench -p wherd-guard -- --write` keeps it so."
        ))?;
    }
    let more = named(|verdict| matches!(verdict, Verdict::More(_) | Verdict::New));
    let Some(first) = more.first() else {
        return Ok(());
    };
    Err(format!(
        "More than the baseline allows: {}.\n\
         Where they are: `callgrind_annotate {}`.\n\
         Where they are worth it: `cargo bench -p wherd-guard -- --write`, and the reason in the \
         commit.",
        more.join(", "),
        callgrind_file(first).display()
    ))
}

/// `None` where there is none for this processor.
fn read_baseline() -> Result<Option<Baseline>, String> {
    let file = baseline_file();
    match fs::read_to_string(&file) {
        Ok(text) => {
            let baseline = Baseline::parse(&text);
            baseline
                .map(Some)
                .ok_or(format!("{} is no baseline", file.display()))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(format!("{}: {error}", file.display())),
    }
}

/// How many instructions an item of this path takes.
fn count(path: &Path) -> Result<f64, String> {
    let program = env::current_exe().map_err(|error| error.to_string())?;
    let file = callgrind_file(path.name);
    let mut valgrind = Command::new("valgrind");
    valgrind
        .args(["--tool=callgrind", "--toggle-collect=*guarded_work*"])
        .arg(format!("--callgrind-out-file={}", file.display()))
        .arg(program)
        .args(["--run", path.name])
        // Allocators and loaders have variables of their own; all of them move the stack.
        .env_clear()
        .env("PATH", env::var_os("PATH").unwrap_or_default());
    let output = output(&mut valgrind)?;
    let items: f64 = number(output.trim()).ok_or(format!("no items of {}", path.name))?;
    let text = fs::read_to_string(&file).map_err(|error| error.to_string())?;
    let total = text.lines().find_map(|line| line.strip_prefix("totals: "));
    match total.and_then(number) {
        Some(total) if total > 0.0 => Ok(total / items),
        _ => Err(format!("{} counts nothing", file.display())),
    }
}

fn number(text: &str) -> Option<f64> {
    text.parse().ok()
}

/// The versions of all that has a say in the counts, besides the sources. Not the processor: every
/// one with AVX2 is the same to a program under Valgrind.
fn tools() -> Result<String, String> {
    let rustc = output(Command::new("rustc").arg("--version"))?;
    let valgrind = output(Command::new("valgrind").arg("--version"))?;
    // Copies and allocates for everybody.
    let libc = output(Command::new("getconf").arg("GNU_LIBC_VERSION"))?;
    Ok([rustc.trim(), valgrind.trim(), libc.trim()].join(", "))
}

fn output(command: &mut Command) -> Result<String, String> {
    let program = command.get_program().display().to_string();
    let output = command
        .output()
        .map_err(|error| format!("{program}: {error}"))?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        let words = String::from_utf8_lossy(&output.stderr);
        Err(format!("{program}: {}\n{words}", output.status))
    }
}

fn baseline_file() -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    folder.join(format!("baseline-{}.txt", consts::ARCH))
}

/// The profile of a path, which stays for whoever wants to know more.
fn callgrind_file(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}.callgrind"))
}

fn say(line: &str) -> Result<(), String> {
    writeln!(io::stdout(), "{line}").map_err(|error| error.to_string())
}
