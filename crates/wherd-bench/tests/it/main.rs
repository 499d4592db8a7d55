//! Whole runs against servers that behave, and some that do not.

mod server;

use std::net::TcpListener;
use std::thread;
use std::time::{Duration, Instant};

use server::{good, herd};
use wherd_bench::{
    Loop, Movement, Options, Pace, Progress, Report, Run, Stop, Target, Workload, hgrm, hlog,
    spread,
};

fn options(targets: Vec<Target>) -> Options {
    Options {
        targets,
        workload: Workload {
            client_count: 100,
            ..Workload::default()
        },
        connection_count: 4,
        thread_count: 2,
        pace: Pace::Closed { in_flight: 8 },
        duration: Duration::from_millis(200),
        line_count: None,
        warm_up: Duration::from_millis(20),
        has_preload: true,
        spread: None,
    }
}

fn run(options: Options) -> Report {
    let run = Run::connect(options).expect("servers that listen");
    run.run(&Stop::default(), &Progress::default())
        .expect("a report")
}

/// Nothing was wrong, and all that was sent while it counted was answered.
fn check_sound(report: &Report) {
    assert!(!report.wrong.is_any(), "{:?}", report.wrong);
    assert_eq!(report.latency.count, report.sent_count, "{report:?}");
    assert!(report.checked_count > 0, "{report:?}");
    assert!(report.latency.p50_us <= report.latency.p99_us, "{report:?}");
    assert!(report.latency.p99_us <= report.latency.max_us, "{report:?}");
}

#[test]
fn a_count_of_lines_is_sent_and_no_more() {
    for pace in [
        Pace::Closed { in_flight: 8 },
        Pace::Open { rate_per_s: 20_000 },
    ] {
        let report = run(Options {
            pace,
            line_count: Some(2_001),
            ..options(herd(&["a"], good))
        });
        check_sound(&report);
        assert_eq!(
            (report.sent_count, report.answered_count),
            (2_001, 2_001),
            "{pace:?}"
        );
    }
}

#[test]
fn a_closed_loop_has_so_many_lines_in_flight_and_loads_all_servers() {
    let mut options = options(herd(&["a", "b"], good));
    options.workload.whatsat_per_mille = 200;
    options.workload.movement = Movement::Jump;
    let report = run(options);
    check_sound(&report);
    assert!(report.iamat.count > report.whatsat.count, "{report:?}");
    assert!(report.whatsat.count > 0, "{report:?}");
    assert!(
        report.servers.iter().all(|server| server.latency.count > 0),
        "{report:?}"
    );
    // Little's law: what is in flight is the rate times the time that a line takes.
    let in_flight = report.lines_per_s * report.latency.mean_us / 1e6;
    assert!(
        (20.0..=36.0).contains(&in_flight),
        "{in_flight}: {report:?}"
    );
}

#[test]
fn an_open_loop_keeps_to_its_rate() {
    let report = run(Options {
        pace: Pace::Open { rate_per_s: 5_000 },
        duration: Duration::from_millis(500),
        ..options(herd(&["a"], good))
    });
    check_sound(&report);
    assert!(report.sent_count.abs_diff(2_500) <= 1, "{report:?}");
    assert_eq!(report.unsent_count, 0);
    let Some(Loop::Open { due_every_us, .. }) = report.kind else {
        panic!("not open: {report:?}");
    };
    assert_eq!(due_every_us, 200.0);
}

/// Each connection rests once for a tenth of a second.
fn rests(number: u64, answer: String) -> Option<String> {
    if number == 20 {
        thread::sleep(Duration::from_millis(100));
    }
    Some(answer)
}

#[test]
fn all_lines_that_are_due_during_a_rest_have_waited_for_its_end() {
    let report = run(Options {
        pace: Pace::Open { rate_per_s: 2_000 },
        connection_count: 1,
        duration: Duration::from_millis(200),
        has_preload: false,
        warm_up: Duration::ZERO,
        ..options(herd(&["a"], rests))
    });
    check_sound(&report);
    // Half of the time it rested: a sixth of the lines at least waited for a third of that.
    assert!(report.latency.p90_us > 33_000.0, "{report:?}");
    assert!(report.latency.max_us >= 99_000.0, "{report:?}");
}

fn refuses(number: u64, answer: String) -> Option<String> {
    Some(if number % 10 == 9 {
        "? no\n".to_owned()
    } else {
        answer
    })
}

fn swaps(_: u64, answer: String) -> Option<String> {
    Some(answer.replace("bench-", "hcneb-"))
}

fn hangs_up(number: u64, answer: String) -> Option<String> {
    (number < 100).then_some(answer)
}

#[test]
fn what_is_wrong_is_counted() {
    let wrong = |manner| {
        let report = run(Options {
            line_count: Some(1_000),
            warm_up: Duration::ZERO,
            has_preload: false,
            connection_count: 2,
            ..options(herd(&["a"], manner))
        });
        report.wrong
    };
    assert_eq!(wrong(refuses).refused_count, 100);
    let mismatched_count = wrong(swaps).mismatched_count;
    assert!(mismatched_count >= 10, "{mismatched_count}");
    let lost = wrong(hangs_up);
    assert_eq!(lost.lost_connection_count, 2, "{lost:?}");
    assert!(lost.unanswered_count > 0, "{lost:?}");
}

#[test]
fn nobody_there_is_told_before_anything_is_sent() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("its address");
    drop(listener);
    let target = Target {
        name: "gone".to_owned(),
        address,
    };
    let error = Run::connect(options(vec![target]))
        .map(|_| ())
        .expect_err("nobody listens");
    assert!(
        error.to_string().starts_with("gone at 127.0.0.1:"),
        "{error}"
    );
}

#[test]
fn a_run_that_is_stopped_reports_what_there_is() {
    let endless = Options {
        duration: Duration::from_secs(3_600),
        ..options(herd(&["a"], good))
    };
    let run = Run::connect(endless).expect("it listens");
    let (stop, progress) = (Stop::default(), Progress::default());
    let report = thread::scope(|scope| {
        let running = scope.spawn(|| run.run(&stop, &progress));
        let begin = Instant::now();
        while !(progress.is_measuring() && progress.answered_count() > 1_000) {
            assert!(
                begin.elapsed() < Duration::from_secs(30),
                "it does not begin"
            );
            thread::yield_now();
        }
        stop.stop();
        running.join().expect("no panic").expect("a report")
    });
    assert!(report.is_stopped);
    assert!(!report.wrong.is_any(), "{:?}", report.wrong);
    assert!(report.answered_count > 0);
}

#[test]
fn markers_are_seen_at_all_servers_with_load_and_without() {
    for connection_count in [0, 2] {
        let report = run(Options {
            connection_count,
            spread: Some(spread::Options {
                from: 1,
                interval: Duration::from_millis(2),
            }),
            ..options(herd(&["a", "b", "c"], good))
        });
        let spread = report.spread.expect("markers");
        assert_eq!(spread.from, "b");
        assert!(spread.marker_count > 10, "{spread:?}");
        let names: Vec<_> = spread.servers.iter().map(|server| &server.name).collect();
        assert_eq!(names, ["a", "c"]);
        for server in &spread.servers {
            assert_eq!(server.lost_count, 0, "{spread:?}");
            assert!(
                server.latency.count + 1 >= spread.marker_count,
                "{spread:?}"
            );
        }
        assert_eq!(report.kind.is_some(), connection_count > 0);
    }
}

#[test]
fn histograms_are_written_as_others_read_them() {
    let report = run(Options {
        line_count: Some(100),
        ..options(herd(&["a"], good))
    });
    let text = hgrm(&report.histograms[0]);
    assert!(text.contains("1/(1-Percentile)"), "{text}");
    assert!(text.contains("Total count    =          100]"), "{text}");
    let log = String::from_utf8(hlog(&report).expect("a log")).expect("text");
    let tags = log
        .lines()
        .filter(|line| line.contains("Tag=IAMAT,"))
        .count();
    assert_eq!(tags, 1, "{log}");
    assert!(!log.contains("Tag=WHATSAT"), "{log}");
}

#[cfg(target_os = "linux")]
#[test]
fn processor_time_of_servers_on_this_machine_is_seen() {
    let report = run(options(herd(&["a"], good)));
    assert_eq!(report.servers[0].pids, [std::process::id()]);
    assert!(
        report.servers[0].cores.is_some_and(|cores| cores > 0.0),
        "{report:?}"
    );
    assert!(
        report.generator.busy.iter().all(|busy| *busy > 0.0),
        "{report:?}"
    );
}
