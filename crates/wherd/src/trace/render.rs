//! The story of an update as text.

use jiff::Timestamp;

use super::story::{self, Part, State, Story};
use crate::output::{table, table_lines};

/// What stands where nothing is known.
const UNKNOWN: &str = "-";

pub(super) fn render(story: &Story<'_>) -> String {
    let mut text = headline(story);
    text += "\n";
    text += &way(story);
    for part in &story.servers {
        if let Some(why) = &part.why {
            text += &format!("{}: {why}\n", part.name);
        }
    }
    text += &acknowledged(story);
    text += &not_sent(story);
    text += &clocks(story);
    text
}

/// Whose update it is, and what its times count from.
fn headline(story: &Story<'_>) -> String {
    let (id, update) = (&story.update.id, story.update);
    let what = if update.is_forgotten {
        ", by which it is forgotten"
    } else {
        ""
    };
    let mut text = format!(
        "{}: {} (run {}){what}\n",
        story.client,
        story::id(id),
        id.incarnation
    );
    text += &match story.zero {
        Some(zero) if zero.server == id.server => {
            format!("numbered {} by {}'s clock\n", time(zero.at_ns), zero.server)
        }
        Some(zero) => format!(
            "{} does not tell when it numbered it; times count from when {} had it, {}\n",
            id.server,
            zero.server,
            time(zero.at_ns)
        ),
        None => "no server tells how it came: only who has it\n".to_owned(),
    };
    text
}

/// The table of all servers, the tree of who had it from whom in its first column.
fn way(story: &Story<'_>) -> String {
    let mut table = table([
        "server",
        "after",
        "hops",
        "waited",
        "on the link",
        "journal",
    ]);
    for (place, part) in story.servers.iter().enumerate() {
        let name = format!("{}{}", branches(&story.servers, place), part.name);
        table.add_row(row(name, part));
    }
    table_lines(&table)
}

fn row(name: String, part: &Part<'_>) -> Vec<String> {
    let word = |word: &str| vec![name.clone(), word.to_owned()];
    let hops = part
        .hops
        .map_or(UNKNOWN.to_owned(), |hops| hops.to_string());
    match part.state {
        State::Down => word("down"),
        State::Missing => word("missing"),
        State::Newer => word("newer"),
        State::Earlier => vec![name, "earlier".to_owned(), hops],
        State::Origin => vec![
            name,
            part.after_ns.map_or(UNKNOWN.to_owned(), duration),
            hops,
            String::new(),
            String::new(),
            after(part.journal_after_ns),
        ],
        State::Received => vec![
            name,
            after(part.after_ns),
            hops,
            part.waited_ns.map_or(UNKNOWN.to_owned(), duration),
            part.link_ns.map_or(UNKNOWN.to_owned(), on_the_link),
            after(part.journal_after_ns),
        ],
    }
}

/// What leads to a server in the tree.
fn branches(servers: &[Part<'_>], place: usize) -> String {
    let mut text = String::new();
    let mut place = place;
    while let Some(parent) = parent(servers, place) {
        let is_last =
            !(place + 1..servers.len()).any(|later| self::parent(servers, later) == Some(parent));
        text = match (text.is_empty(), is_last) {
            (true, true) => "└─ ".to_owned(),
            (true, false) => "├─ ".to_owned(),
            (false, true) => format!("   {text}"),
            (false, false) => format!("│  {text}"),
        };
        place = parent;
    }
    text
}

/// Who stands above a server: who sent it, where that stands before it.
fn parent(servers: &[Part<'_>], place: usize) -> Option<usize> {
    let from = servers[place].from?;
    servers[..place].iter().position(|part| part.name == from)
}

/// When the client was answered, and what for.
fn acknowledged(story: &Story<'_>) -> String {
    let is_origin = |part: &&Part<'_>| part.state == State::Origin;
    let Some(part) = story.servers.iter().find(is_origin) else {
        return String::new();
    };
    let level = part.acknowledge.unwrap_or_default();
    let mut text = match part.acknowledged_after_ns {
        Some(ns) => format!(
            "\n{} answered its client {} (`{level}`)\n",
            part.name,
            after(Some(ns))
        ),
        None if level == "memory" => {
            format!("\n{} answered its client at once (`{level}`)\n", part.name)
        }
        None => format!("\n{} has not answered its client (`{level}`)\n", part.name),
    };
    for (neighbour, ns) in &part.kept_by {
        text += &format!("  {} {neighbour} said that it keeps it\n", after(Some(*ns)));
    }
    text
}

/// Where it was not sent, and where for nothing.
fn not_sent(story: &Story<'_>) -> String {
    let mut text = String::new();
    if !story.withheld.is_empty() {
        text += "\nnot sent\n";
    }
    for withheld in &story.withheld {
        let (from, to, why) = (withheld.from, withheld.to, &withheld.why);
        text += &format!("  {from} to {to}: {why}\n");
    }
    if !story.again.is_empty() {
        text += "\nsent for nothing\n";
    }
    for again in &story.again {
        let (from, to) = (again.from, again.to);
        let later = again
            .later_ns
            .map_or(String::new(), |ns| format!(" since {}", duration(ns)));
        text += &format!("  {from} to {to}: {to} had it{later}\n");
    }
    text
}

/// What the times across servers are worth.
fn clocks(story: &Story<'_>) -> String {
    let compared = story
        .servers
        .iter()
        .filter_map(|part| Some((part, part.clock?, part.from?)));
    let (mut text, mut error_ns) = (String::new(), Some(0));
    for (part, clock, from) in compared {
        error_ns = error_ns.zip(clock.error_ns).map(|(a, b)| a.max(b));
        let name = part.name;
        if clock.ahead_ns != 0 {
            let (ns, side) = (
                clock.ahead_ns,
                if clock.ahead_ns > 0 {
                    "ahead of"
                } else {
                    "behind"
                },
            );
            let ns = duration(ns.saturating_abs());
            text += &format!("  {name}'s clock is {ns} {side} {from}'s, which is taken off\n");
        }
        if part.link_ns.is_some_and(|ns| ns < 0) {
            text += &format!(
                "  {name} seems to have it before {from} sent it: their clocks differ by more \
                 than could be seen\n"
            );
        }
    }
    let received = story
        .servers
        .iter()
        .filter(|part| part.clock.is_some())
        .count();
    if received == 0 {
        return String::new();
    }
    let known = match error_ns {
        Some(ns) => format!("to {} for each link", duration(ns)),
        None => "on one side only: some neighbour has not told what its clock shows".to_owned(),
    };
    format!("\nclocks differ; by how much is known {known}. What waited is by one clock\n{text}")
}

/// A moment, in UTC.
pub(super) fn time(ns: i64) -> String {
    let time = Timestamp::from_nanosecond(i128::from(ns));
    // 1970 and 292 years around it are within what it can show.
    time.map_or_else(|_| format!("{ns} ns"), |time| format!("{time:.6}"))
}

/// "+0.123 ms", counted from zero.
fn after(ns: Option<i64>) -> String {
    match ns {
        Some(ns) if ns < 0 => format!("-{}", duration(-ns)),
        Some(ns) => format!("+{}", duration(ns)),
        None => UNKNOWN.to_owned(),
    }
}

/// The time on a link: less than nothing is what clocks do.
fn on_the_link(ns: i64) -> String {
    if ns < 0 {
        "about 0".to_owned()
    } else {
        duration(ns)
    }
}

/// "0.123 ms", "1.234 s".
fn duration(ns: i64) -> String {
    match ns {
        0 => "0".to_owned(),
        ..1_000_000_000 => format!("{:.3} ms", ns as f64 / 1e6),
        _ => format!("{:.3} s", ns as f64 / 1e9),
    }
}
