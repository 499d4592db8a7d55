//! A report as it is printed.

use wherd_bench::{Latency, Loop, Report, ServerReport, SpreadReport, Wrong};

use crate::output::{table, table_lines};

/// All of it.
pub(super) fn render(report: &Report) -> String {
    let mut text = String::new();
    if report.is_stopped {
        text += "stopped: what there was until then\n\n";
    }
    if let Some(kind) = &report.kind {
        text += &format!("{}\n\n", heading(kind, report));
        text += &servers(report);
        if report.whatsat.count > 0 && report.iamat.count > 0 {
            text += &format!("\n{}", commands(report));
        }
    }
    if let Some(spread) = &report.spread {
        let gap = if text.is_empty() { "" } else { "\n" };
        text += &format!("{gap}{}", spread_table(spread));
    }
    text += &format!("\n{}", remarks(report));
    text
}

fn heading(kind: &Loop, report: &Report) -> String {
    let (clients, seconds) = (grouped(report.client_count), report.measured_s);
    match kind {
        Loop::Closed {
            connection_count,
            in_flight,
        } => format!(
            "closed loop: {connection_count} connections with {in_flight} lines in flight each, {clients} clients, {seconds:.2} s"
        ),
        Loop::Open {
            connection_count,
            rate_per_s,
            due_every_us,
        } => {
            let bursts = if *due_every_us * (*rate_per_s as f64) > 1_000_001.0 {
                format!(" due every {due_every_us} us")
            } else {
                String::new()
            };
            format!(
                "open loop: {} lines/s{bursts} on {connection_count} connections, {clients} clients, {seconds:.2} s",
                grouped(*rate_per_s)
            )
        }
    }
}

fn servers(report: &Report) -> String {
    let titles = [
        "server",
        "lines/s",
        "p50 ms",
        "p90",
        "p99",
        "p99.9",
        "max",
        "cores",
        "ns a line",
        "wrong",
    ];
    let mut table = table(titles);
    for server in &report.servers {
        table.add_row(server_row(server));
    }
    if report.servers.len() > 1 {
        let all = ServerReport {
            name: "all".to_owned(),
            address: String::new(),
            pids: Vec::new(),
            cores: report.servers.iter().map(|server| server.cores).sum(),
            lines_per_s: report.lines_per_s,
            processor_ns_per_line: report
                .servers
                .iter()
                .map(|server| server.cores)
                .sum::<Option<f64>>()
                .filter(|_| report.answered_count > 0)
                .map(|cores| cores * 1e9 / report.lines_per_s),
            latency: report.latency,
            wrong: report.wrong,
        };
        table.add_row(server_row(&all));
    }
    table_lines(&table)
}

fn server_row(server: &ServerReport) -> Vec<String> {
    let shown = |value: Option<f64>, digits: usize| {
        value.map_or("-".to_owned(), |value| format!("{value:.digits$}"))
    };
    let mut row = vec![
        server.name.clone(),
        grouped(server.lines_per_s.round() as u64),
    ];
    row.extend(times(&server.latency));
    row.push(shown(server.cores, 2));
    row.push(shown(server.processor_ns_per_line, 0));
    row.push(grouped(wrong_count(&server.wrong)));
    row
}

fn commands(report: &Report) -> String {
    let mut table = table(["command", "lines", "p50 ms", "p90", "p99", "p99.9", "max"]);
    for (name, latency) in [("IAMAT", &report.iamat), ("WHATSAT", &report.whatsat)] {
        let mut row = vec![name.to_owned(), grouped(latency.count)];
        row.extend(times(latency));
        table.add_row(row);
    }
    table_lines(&table)
}

fn spread_table(spread: &SpreadReport) -> String {
    let mut table = table(["visible at", "p50 ms", "p90", "p99", "p99.9", "max", "lost"]);
    for server in &spread.servers {
        let mut row = vec![server.name.clone()];
        row.extend(times(&server.latency));
        row.push(if server.is_gone {
            format!("{}, and it closed", server.lost_count)
        } else {
            server.lost_count.to_string()
        });
        table.add_row(row);
    }
    format!(
        "{} reports at {}, answered there in {} ms (p50); a question takes {} ms\n\n{}",
        grouped(spread.marker_count),
        spread.from,
        ms(spread.answer.p50_us),
        ms(spread.question.p50_us),
        table_lines(&table)
    )
}

/// What the load took, and what is to be known before a figure is believed.
fn remarks(report: &Report) -> String {
    let mut text = String::new();
    let generator = &report.generator;
    if report.kind.is_some() {
        let busy = generator
            .busy
            .iter()
            .map(|busy| format!("{:.0} %", busy * 100.0));
        let busy: Vec<String> = busy.collect();
        text += &format!(
            "load: threads busy {}, {:.0} ns a line; {} answers compared with their lines\n",
            busy.join(" "),
            generator.processor_ns_per_line,
            grouped(report.checked_count)
        );
    }
    if report.unsent_count > 0 {
        let unsent = grouped(report.unsent_count);
        text += &format!("{unsent} lines were due and not sent: the servers did not take them\n");
    }
    if let Some(note) = &generator.note {
        text += &format!("note: {note}\n");
    }
    let wrong = &report.wrong;
    for (count, what) in [
        (wrong.refused_count, "answers were `? `"),
        (wrong.mismatched_count, "answers were not to what was said"),
        (wrong.lost_connection_count, "connections were lost"),
        (wrong.unanswered_count, "lines had no answer"),
        (
            wrong.lost_marker_count,
            "times a report was not visible after 5 s",
        ),
    ] {
        if count > 0 {
            text += &format!("WRONG: {} {what}\n", grouped(count));
        }
    }
    text
}

fn wrong_count(wrong: &Wrong) -> u64 {
    wrong.refused_count
        + wrong.mismatched_count
        + wrong.lost_connection_count
        + wrong.unanswered_count
        + wrong.lost_marker_count
}

fn times(latency: &Latency) -> [String; 5] {
    let all = [
        latency.p50_us,
        latency.p90_us,
        latency.p99_us,
        latency.p999_us,
        latency.max_us,
    ];
    all.map(|us| {
        if latency.count == 0 {
            "-".to_owned()
        } else {
            ms(us)
        }
    })
}

fn ms(us: f64) -> String {
    format!("{:.3}", us / 1e3)
}

/// "1,234,567".
fn grouped(count: u64) -> String {
    indicatif::HumanCount(count).to_string()
}
