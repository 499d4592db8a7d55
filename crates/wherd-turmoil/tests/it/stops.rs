//! A server that is told to stop while everybody is in the middle of something.

use std::io;
use std::time::Duration;

use wherd_turmoil::config::ServerConfig;

use crate::client::Connection;
use crate::faults::HEALED_WITHIN;
use crate::for_seeds;
use crate::herd::{Setup, host};

const SECOND: Duration = Duration::from_secs(1);
/// Clients have 0.2 s, and links `last_words_ms` after that, which is 2 s.
const STOPPED_WITHIN: Duration = Duration::from_millis(2_300);

#[test]
fn a_stop_loses_nothing_acknowledged() {
    for_seeds("a_stop_loses_nothing_acknowledged", 0..5, |seed| {
        let mut herd = Setup::five(seed).tcp_capacity(5).start();
        herd.wait_linked(SECOND * 2);
        herd.start_writers(5);
        let server = herd.config.servers[seed as usize % 5].clone();
        let name = server.name.clone();
        let half = herd.begin("half", async move { say_half_a_line(&server).await });
        // Links that are full: much of what was acknowledged has not been sent.
        for (a, b) in herd.edges() {
            herd.sim.set_link_latency(a, b, SECOND / 5);
        }
        let busy_ms = herd.random.rand_range(200..1500);
        herd.run_for(Duration::from_millis(busy_ms.into()));
        let neighbour = herd.config.server(&name).expect("a server").neighbours[0].clone();
        if seed % 2 == 1 {
            // A neighbour that hears no last words, nor says that it has read them.
            herd.sim.hold(host(&name), host(&neighbour));
        }
        herd.stop_server(&name);
        let took = herd.run_until("the server stops", STOPPED_WITHIN, |herd| {
            !herd.sim.is_host_running(host(&name))
        });
        herd.unplug(&name);
        herd.gone.insert(name.clone());
        herd.run_for(SECOND);
        eprintln!("seed {seed}: {name} stopped within {took:?}");
        herd.wait_linked(HEALED_WITHIN);
        let half = half.take().expect("it is closed").expect("a connection");
        assert_eq!(half, "", "half a line is answered");
        // The others know what it acknowledged, before it is back and after.
        herd.stop_writers();
        herd.check_agreement(SECOND);
        herd.gone.clear();
        herd.restart(&name);
        herd.wait_linked(HEALED_WITHIN);
        herd.check_agreement(SECOND);
    });
}

/// What is answered to a line without end, when the server closes.
async fn say_half_a_line(server: &ServerConfig) -> io::Result<String> {
    let mut connection = Connection::connect(server.clients.pair()).await?;
    connection.send("IAMAT half +34-118 17").await?;
    connection.rest().await
}
