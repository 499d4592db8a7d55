//! The tables as CSV (RFC 4180, but for line feeds). No field needs quotes: names have none of it.

use std::path::{Path, PathBuf};

use wherd_sim::measure::{Delays, Measured, Setup};

use super::table::{floor, for_each, healed, ms, seconds};

const TITLES: &str = "policy,servers,edges,updates,floor_sends_per_update,sends_per_update,\
duplicates_per_update,withheld_per_update,conflated_per_update,bytes_per_update,hops_p50,hops_max,\
delay_p50_ms,delay_p99_ms,delay_max_ms,queue_high_water_clients,affected_updates,\
affected_delay_p50_ms,affected_delay_p99_ms,affected_delay_max_ms,unaffected_updates,\
unaffected_delay_p50_ms,unaffected_delay_p99_ms,unaffected_delay_max_ms,healed_after_ms,lost_clients,\
unreached_updates,stranded_updates,virtual_s,likes,counters_sent,counters_duplicate,\
counters_withheld,likes_counted_by_all";

/// A line for each policy. Fields about faults are empty without any.
pub(super) fn table(measured: &[Measured]) -> String {
    let mut text = format!("{TITLES}\n");
    for one in measured {
        text += &row(one).join(",");
        text.push('\n');
    }
    text
}

fn row(one: &Measured) -> Vec<String> {
    let each = |count: u64| format!("{:.6}", for_each(count, one));
    let mut row = vec![
        one.policy.name().to_owned(),
        one.server_count.to_string(),
        one.edge_count.to_string(),
        one.update_count.to_string(),
        floor(one.server_count).to_string(),
        each(one.sent_count),
        each(one.duplicate_count),
        each(one.withheld_count),
        each(one.conflated_count),
        each(one.byte_count),
        one.hops_p50.to_string(),
        one.hops_max.to_string(),
    ];
    row.extend(times(Some(one.delay)));
    row.push(one.queue_high_water.to_string());
    for delays in [one.affected, one.unaffected] {
        row.push(delays.map_or(String::new(), |delays| delays.count.to_string()));
        row.extend(times(delays));
    }
    row.push(healed(one));
    row.extend([one.lost_count, one.unreached_count, one.stranded_count].map(|n| n.to_string()));
    row.push(seconds(one.virtual_ns));
    let votes = &one.votes;
    let likes = [
        votes.vote_count,
        votes.sent_count,
        votes.duplicate_count,
        votes.withheld_count,
        votes.least_known_count,
    ];
    row.extend(likes.map(|count| count.to_string()));
    row
}

fn times(delays: Option<Delays>) -> [String; 3] {
    let times_ns = |delays: Delays| [delays.p50_ns, delays.p99_ns, delays.max_ns];
    let counted = delays.filter(|delays| delays.count > 0);
    counted.map_or_else(Default::default, |delays| times_ns(delays).map(ms))
}

/// A line for each update that was looked at.
pub(super) fn delays(setup: &Setup, measured: &[Measured]) -> String {
    let mut text = "policy,update,server,accepted_s,delay_ms,is_affected\n".to_owned();
    for one in measured {
        for sample in &one.samples {
            text += &format!(
                "{},{},{},{},{},{}\n",
                one.policy.name(),
                sample.update,
                setup.topology.names()[sample.server],
                seconds(sample.accepted_at_ns),
                ms(sample.delay_ns),
                u8::from(sample.is_affected),
            );
        }
    }
    text
}

/// Where the delays go that belong to the table in `path`: `herd.csv`, `herd-delays.csv`.
pub(super) fn beside(path: &Path) -> PathBuf {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let extension = path.extension().unwrap_or("csv".as_ref());
    path.with_file_name(format!("{stem}-delays.{}", extension.to_string_lossy()))
}
