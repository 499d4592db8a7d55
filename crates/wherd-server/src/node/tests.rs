//! A node without sockets.

use super::*;
use crate::config::LogConfig;
use wherd_proto::{AtTexts, Request};

const PATIENCE: Duration = Duration::from_secs(60);

/// Hill, whose neighbour Smith has said HELLO, and takes nothing of what it is sent.
fn linked_node(folder: &tempfile::TempDir) -> Node {
    let mut config = Config {
        ephemeral: true,
        ..Config::default()
    };
    // Digests are due in some seconds.
    config.replication.digest_interval_s = 60;
    config.servers[0].neighbours = vec!["Smith".to_owned()];
    let log_config = LogConfig {
        dir: folder.path().to_owned(),
        ..LogConfig::default()
    };
    let log = Log::open("Hill", &log_config, false).expect("a log");
    let name = |name| ServerName::new(name).expect("a name");
    let replica = empty_replica(&config, &config.servers[0], &name("Hill"));
    let stop = CancellationToken::new();
    let node = Node::new(&config, &config.servers[0], replica, 0, log, stop);
    let mut hello = node.hello(&name("Smith"));
    hello.origin = Origin {
        server: name("Smith"),
        incarnation: 1,
    };
    hello.reflected.clear();
    let adopted = node.adopt(LinkIndex(0), &hello, true);
    assert!(adopted.is_ok());
    node
}

/// How long it is to the next tick; 0 where it is due.
fn wait_for_tick(node: &Node) -> Duration {
    let next_tick_at_ns = node.lock().replica.next_tick_at_ns();
    let next_tick_at_ns = next_tick_at_ns.expect("digests are compared");
    Duration::from_nanos(next_tick_at_ns.saturating_sub(node.now_ns()))
}

#[tokio::test]
async fn a_tick_that_is_wanted_sooner_is_not_slept_through() {
    let folder = tempfile::tempdir().expect("a folder");
    let node = linked_node(&folder);
    let keeping_time = node.keep_time();
    let reporting = async {
        // Time is being kept.
        tokio::task::yield_now().await;
        let digest_in = wait_for_tick(&node);
        assert!(digest_in > Duration::from_secs(1), "{digest_in:?}");
        let Ok(Request::IAmAt(report)) = Request::parse(b"IAMAT kiwi +1-1 5") else {
            panic!("no report");
        };
        let mut texts = AtTexts::default();
        texts.write(&[report], clock::wall_ns());
        let reports = std::iter::once(&report).zip(texts.iter());
        node.report(reports, clock::wall_ns(), &mut Vec::new());
        let have_in = wait_for_tick(&node);
        assert!(have_in < Duration::from_secs(1), "{have_in:?}");
        // Once it has ticked there is nothing to wait for but the digest.
        while wait_for_tick(&node) < Duration::from_millis(500) {
            assert!(node.uptime() < PATIENCE, "it never ticked");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        node.uptime()
    };
    let ticked_at = tokio::select! {
        ticked_at = reporting => ticked_at,
        () = keeping_time => unreachable!("it never ends"),
    };
    assert!(
        ticked_at < Duration::from_secs(4),
        "with the digest: {ticked_at:?}"
    );
}
