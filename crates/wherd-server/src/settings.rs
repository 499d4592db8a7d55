//! The settings that may change while a server runs, and how those who need them see it.
//!
//! All of them change at once. Whoever looks at them often keeps a [`Live`] of its own, which costs
//! an atomic load where nothing has changed.

use crate::access::http::HttpSettings;
use crate::access::line::LineSettings;
use crate::config::{Config, JournalConfig, ServerConfig};
use crate::limits::Descriptors;
use crate::neighbour::LinkSettings;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// What holds at a moment.
pub(crate) struct Settings {
    pub(crate) descriptors: Descriptors,
    pub(crate) line: LineSettings,
    pub(crate) links: LinkSettings,
    pub(crate) http: HttpSettings,
    pub(crate) journal: JournalConfig,
    pub(crate) acknowledge_timeout: Duration,
    pub(crate) clock_tolerance: Duration,
}

impl Settings {
    pub(crate) fn new(config: &Config, server: &ServerConfig) -> Self {
        let descriptors = Descriptors::raise(&config.limits, server.neighbours.len());
        let (journal, replication) = (config.journal.clone(), &config.replication);
        Self {
            line: LineSettings::new(config, server, &descriptors),
            links: LinkSettings::new(config),
            http: HttpSettings::new(config, &descriptors),
            descriptors,
            acknowledge_timeout: Duration::from_millis(journal.acknowledge_timeout_ms),
            journal,
            clock_tolerance: Duration::from_millis(replication.clock_tolerance_ms),
        }
    }
}

/// The settings as they were at the last [`Live::refresh`].
pub(crate) struct Live {
    news: watch::Receiver<Arc<Settings>>,
    current: Arc<Settings>,
}

impl Live {
    pub(crate) fn of(settings: &watch::Sender<Arc<Settings>>) -> Self {
        let mut news = settings.subscribe();
        let current = Arc::clone(&news.borrow_and_update());
        Self { news, current }
    }

    /// Takes the newest settings; whether there are newer ones than before.
    pub(crate) fn refresh(&mut self) -> bool {
        // After the end of the node there are none.
        let is_new = self.news.has_changed().unwrap_or_default();
        if is_new {
            self.current = Arc::clone(&self.news.borrow_and_update());
        }
        is_new
    }
}

impl Deref for Live {
    type Target = Settings;

    fn deref(&self) -> &Settings {
        &self.current
    }
}
