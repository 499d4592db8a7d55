//! The table that is printed.

use wherd_sim::measure::{Delays, MS, Measured, SECOND, Setup};

use crate::output::{table, table_lines};

/// What is played, and a line for each policy; a second table tells what faults cost.
pub(super) fn render(setup: &Setup, measured: &[Measured]) -> String {
    let mut text = heading(setup) + "\n" + &costs(measured);
    if setup.load.votes.per_mille > 0 {
        text += "\n";
        text += &likes(measured);
    }
    if !setup.faults.is_empty() {
        text += "\n";
        text += &faults(measured);
    }
    for one in measured {
        text += &remarks(one);
    }
    text
}

/// "5 servers, 6 edges; …": everything that makes the table what it is.
fn heading(setup: &Setup) -> String {
    let (load, links) = (&setup.load, &setup.links);
    let names = setup.topology.names();
    let slow = setup.delays_ns.iter().map(|(edge, delay_ns)| {
        let (a, b) = setup.topology.edges()[*edge];
        format!(", {}-{} {} ms", names[a], names[b], trim(ms(*delay_ns)))
    });
    let gather = match links.gather_ns {
        0 => String::new(),
        gather_ns => format!(", a write each {} ms", trim(ms(gather_ns))),
    };
    let batch = match load.batch_count {
        1 => String::new(),
        count => format!(", {count} at a time"),
    };
    let likes = match load.votes.per_mille {
        0 => String::new(),
        per_mille => format!(
            ", and {} likes of {} articles with each thousand",
            grouped(u64::from(per_mille)),
            grouped(load.votes.article_count as u64)
        ),
    };
    format!(
        "{} servers, {} edges: at least {} sends for an update\n\
         {} updates of {} clients, {}/s{batch}{likes}\n\
         links: {} ms and up to {} more, {} bytes/s{gather}{}\n\
         seed {}\n",
        names.len(),
        setup.topology.edges().len(),
        floor(names.len()),
        grouped(load.update_count as u64),
        grouped(load.client_count as u64),
        grouped(load.rate_per_s),
        trim(ms(links.delay_ns)),
        trim(ms(links.jitter_ns)),
        grouped(links.bytes_per_s),
        slow.collect::<String>(),
        setup.seed,
    )
}

/// Every server but one has to hear of an update.
pub(super) const fn floor(server_count: usize) -> usize {
    server_count - 1
}

fn costs(measured: &[Measured]) -> String {
    let mut table = table([
        "policy",
        "sends",
        "duplicates",
        "withheld",
        "conflated",
        "bytes",
        "hops p50",
        "max",
        "delay p50",
        "p99",
        "max ms",
        "queue",
        "lost",
    ]);
    for one in measured {
        table.add_row(vec![
            one.policy.name().to_owned(),
            each(one.sent_count, one),
            each(one.duplicate_count, one),
            each(one.withheld_count, one),
            each(one.conflated_count, one),
            format!("{:.0}", for_each(one.byte_count, one)),
            one.hops_p50.to_string(),
            one.hops_max.to_string(),
            ms(one.delay.p50_ns),
            ms(one.delay.p99_ns),
            ms(one.delay.max_ns),
            one.queue_high_water.to_string(),
            one.lost_count.to_string(),
        ]);
    }
    table_lines(&table)
}

/// Of the entries of counters on all links, for each LIKE that was said.
fn likes(measured: &[Measured]) -> String {
    let mut table = table([
        "likes cost",
        "said",
        "sends",
        "duplicates",
        "withheld",
        "counted by all",
    ]);
    for one in measured {
        let votes = &one.votes;
        let each = |count: u64| format!("{:.3}", count as f64 / votes.vote_count.max(1) as f64);
        table.add_row(vec![
            one.policy.name().to_owned(),
            votes.vote_count.to_string(),
            each(votes.sent_count),
            each(votes.duplicate_count),
            each(votes.withheld_count),
            votes.least_known_count.to_string(),
        ]);
    }
    table_lines(&table)
}

fn faults(measured: &[Measured]) -> String {
    let mut table = table([
        "faults cost",
        "affected",
        "delay p50",
        "p99",
        "max ms",
        "others",
        "delay p50",
        "p99",
        "max ms",
        "healed after ms",
    ]);
    for one in measured {
        let mut row = vec![one.policy.name().to_owned()];
        for delays in [one.affected, one.unaffected] {
            let delays = delays.unwrap_or_default();
            row.push(delays.count.to_string());
            row.extend(times(delays));
        }
        row.push(healed(one));
        table.add_row(row);
    }
    table_lines(&table)
}

/// "-" where there is nothing to tell.
fn times(delays: Delays) -> [String; 3] {
    let times_ns = [delays.p50_ns, delays.p99_ns, delays.max_ns];
    times_ns.map(|ns| {
        if delays.count == 0 {
            "-".to_owned()
        } else {
            ms(ns)
        }
    })
}

/// How long healing took: in milliseconds, "never", or nothing without faults.
pub(super) fn healed(one: &Measured) -> String {
    match one.healed_after_ns {
        None => String::new(),
        Some(None) => "never".to_owned(),
        Some(Some(ns)) => ms(ns),
    }
}

fn remarks(one: &Measured) -> String {
    let name = one.policy.name();
    let mut text = String::new();
    if one.unreached_count > 0 {
        text += &format!(
            "{name}: {} updates did not come to every server, since no way was left\n",
            one.unreached_count
        );
    }
    if one.stranded_count > 0 {
        text += &format!(
            "{name}: {} updates are on a server alone that did not return\n",
            one.stranded_count
        );
    }
    text
}

/// So many for each update.
pub(super) fn for_each(count: u64, one: &Measured) -> f64 {
    count as f64 / one.update_count.max(1) as f64
}

fn each(count: u64, one: &Measured) -> String {
    format!("{:.3}", for_each(count, one))
}

/// Milliseconds, to the microsecond.
pub(super) fn ms(ns: u64) -> String {
    format!("{}.{:03}", ns / MS, ns % MS / 1000)
}

/// Seconds, to the microsecond.
pub(super) fn seconds(ns: u64) -> String {
    format!("{}.{:06}", ns / SECOND, ns % SECOND / 1000)
}

/// A decimal number without zeros that say nothing.
fn trim(number: String) -> String {
    let text = number.trim_end_matches('0').trim_end_matches('.');
    text.to_owned()
}

/// "12,500,000".
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        assert_eq!(grouped(0), "0");
        assert_eq!(grouped(999), "999");
        assert_eq!(grouped(12_500_000), "12,500,000");
        assert_eq!(ms(1_234_567), "1.234");
        assert_eq!(trim(ms(80 * MS)), "80");
        assert_eq!(trim(ms(MS / 5)), "0.2");
        assert_eq!(seconds(1_500_000_000), "1.500000");
    }
}
