//! Notices what is stuck, tells it, and ends a process that stays so.
//!
//! A server that is blocked still accepts connections and holds its links open, so that nobody
//! sends its clients elsewhere. One thread, which takes no lock that others may hold, looks at
//! three things: the core, whose lock has to change hands; each thread that polls tasks, where a
//! poll has to end; and a task that does nothing but tick, so that tasks are polled at all. The
//! journal's disk is not among them: a slow one is told by the readiness, and a restart would not
//! make it faster.
//!
//! Time is counted by this thread itself, and only while it runs. A process that was stopped, or
//! whose machine was asleep, did nothing wrong in that time.

use crate::config::Limits;
use crate::telemetry::{Level, Log, Value};
use std::cell::RefCell;
use std::fmt;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How often the thread looks.
const LOOK_INTERVAL_MS: u64 = 100;
/// How late a look may be. By what it is later, this process did not run.
const MAX_LATE_MS: u64 = 100;
/// How often the task ticks that does nothing else.
const TICK_INTERVAL_MS: u64 = 250;
/// How long the last line has to be written before the process is ended.
const LAST_LINE: Duration = Duration::from_millis(500);
/// Bits of a slot that say which task it is.
const TASK_BITS: u32 = 8;

/// What kinds of tasks there are that run for as long as the server, a link or a connection does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Task {
    ClientsAccept,
    Client,
    LinksAccept,
    Link,
    Dial,
    Time,
    HttpAccept,
    Http,
    Reload,
    Tick,
}

impl Task {
    const ALL: [Self; 10] = [
        Self::ClientsAccept,
        Self::Client,
        Self::LinksAccept,
        Self::Link,
        Self::Dial,
        Self::Time,
        Self::HttpAccept,
        Self::Http,
        Self::Reload,
        Self::Tick,
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::ClientsAccept => "the listener for clients",
            Self::Client => "a client's connection",
            Self::LinksAccept => "the listener for links",
            Self::Link => "an accepted link",
            Self::Dial => "a dialled link",
            Self::Time => "the core's clock",
            Self::HttpAccept => "the listener for HTTP",
            Self::Http => "an HTTP connection",
            Self::Reload => "the reading of the configuration",
            Self::Tick => "the tick",
        }
    }
}

/// What is stuck.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stuck {
    /// Whoever holds the core's lock does not give it back.
    Core,
    /// A task of this kind does not come back from where it was called.
    Task(Task),
    /// No task is called at all.
    Runtime,
}

impl fmt::Display for Stuck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Core => f.write_str("the core"),
            Self::Task(task) => f.write_str(task.name()),
            Self::Runtime => f.write_str("the runtime"),
        }
    }
}

/// Something that has been stuck for longer than it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stall {
    what: Stuck,
    /// How long.
    ms: u64,
}

impl fmt::Display for Stall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} has not answered for {} s", self.what, self.ms / 1000)
    }
}

/// What the thread, those that it watches and those who ask for health share.
pub(crate) struct Watchdog {
    /// Milliseconds for which this process has run since the thread began, and one.
    clock_ms: AtomicU64,
    /// When the ticking task ticked last; 0 before the first time.
    ticked_at_ms: AtomicU64,
    /// A slot for each thread that polls; those of threads that have ended are gone.
    slots: Mutex<Vec<Weak<Slot>>>,
    unhealthy_ms: AtomicU64,
    abort_ms: AtomicU64,
    stall: Mutex<Option<Stall>>,
    /// How long what is stuck for the longest time is, whether it may or not.
    longest_ms: AtomicU64,
    stalls_count: AtomicU64,
}

/// What a thread polls at the moment: when the poll began and which task it is; 0: nothing.
#[derive(Default)]
struct Slot(AtomicU64);

thread_local! {
    /// The slot of this thread, and whose it is: tests run several servers in one process.
    static SLOT: RefCell<Option<(Weak<Watchdog>, Arc<Slot>)>> = const { RefCell::new(None) };
}

/// The core, as far as the watchdog looks at it.
pub(crate) trait Core: Send + Sync + 'static {
    /// Whether its lock can be had just now.
    fn is_free(&self) -> bool;
    /// How many times its lock was taken so far.
    fn turns_count(&self) -> u64;
}

impl Watchdog {
    pub(crate) fn new(limits: &Limits) -> Arc<Self> {
        let watchdog = Self {
            clock_ms: AtomicU64::new(1),
            ticked_at_ms: AtomicU64::new(0),
            slots: Mutex::default(),
            unhealthy_ms: AtomicU64::new(0),
            abort_ms: AtomicU64::new(0),
            stall: Mutex::new(None),
            longest_ms: AtomicU64::new(0),
            stalls_count: AtomicU64::new(0),
        };
        watchdog.set_limits(limits);
        Arc::new(watchdog)
    }

    /// From the next look on these hold.
    pub(crate) fn set_limits(&self, limits: &Limits) {
        let (unhealthy_ms, abort_ms) = (limits.watchdog_unhealthy_ms, limits.watchdog_abort_ms);
        self.unhealthy_ms.store(unhealthy_ms, Ordering::Relaxed);
        self.abort_ms.store(abort_ms, Ordering::Relaxed);
    }

    /// Starts the thread. `abort` is called where something is stuck for too long, on this thread.
    pub(crate) fn start(
        self: &Arc<Self>,
        core: Arc<impl Core>,
        log: Log,
        abort: impl Fn() + Send + 'static,
    ) -> Running {
        let (end, ended) = channel::<()>();
        let mut looking = Looking {
            watchdog: Arc::clone(self),
            log,
            core_busy: None,
        };
        let interval = Duration::from_millis(LOOK_INTERVAL_MS);
        let thread = std::thread::Builder::new()
            .name("watchdog".into())
            .spawn(move || {
                let mut looked_at = Instant::now();
                // Nothing is ever sent: it is the other end that goes.
                while ended.recv_timeout(interval) == Err(RecvTimeoutError::Timeout) {
                    let now = Instant::now();
                    if looking.look(now - std::mem::replace(&mut looked_at, now), &*core) {
                        abort();
                    }
                }
            })
            .expect("a thread for the watchdog");
        Running {
            end: Some(end),
            thread: Some(thread),
        }
    }

    /// Watches a task: a poll of it that does not end is a stall.
    pub(crate) fn watch<F: Future>(self: &Arc<Self>, task: Task, future: F) -> Watched<F> {
        Watched {
            future,
            watchdog: Arc::clone(self),
            task,
        }
    }

    /// Ticks, for ever.
    pub(crate) async fn tick(&self) {
        loop {
            let now_ms = self.clock_ms.load(Ordering::Relaxed);
            self.ticked_at_ms.store(now_ms, Ordering::Relaxed);
            tokio::time::sleep(Duration::from_millis(TICK_INTERVAL_MS)).await;
        }
    }

    /// What has been stuck for too long; takes no lock that anybody holds for longer than a moment.
    pub(crate) fn stall(&self) -> Option<Stall> {
        *lock(&self.stall)
    }

    /// Whether the core is what has been stuck for too long.
    pub(crate) fn is_core_stuck(&self) -> bool {
        self.stall().is_some_and(|stall| stall.what == Stuck::Core)
    }

    /// Seconds that what is stuck for the longest time is; 0 where nothing is.
    pub(crate) fn longest_s(&self) -> f64 {
        self.longest_ms.load(Ordering::Relaxed) as f64 / 1000.0
    }

    /// How many times something was stuck for too long.
    pub(crate) fn stalls_count(&self) -> u64 {
        self.stalls_count.load(Ordering::Relaxed)
    }

    /// What is stuck for the longest time of all tasks and the runtime.
    fn longest_poll(&self, now_ms: u64) -> Option<Stall> {
        let ticked_at_ms = self.ticked_at_ms.load(Ordering::Relaxed);
        let runtime = (ticked_at_ms > 0).then(|| Stall {
            what: Stuck::Runtime,
            // It is not late before it should have ticked again, and a look more.
            ms: now_ms.saturating_sub(ticked_at_ms + TICK_INTERVAL_MS + LOOK_INTERVAL_MS),
        });
        let mut slots = lock(&self.slots);
        slots.retain(|slot| slot.strong_count() > 0);
        let polls = slots
            .iter()
            .filter_map(|slot| slot.upgrade()?.stall(now_ms));
        // Of equal ones the last: a poll that does not end says more than that others do not begin.
        let longest = runtime
            .into_iter()
            .chain(polls)
            .max_by_key(|stall| stall.ms);
        longest.filter(|stall| stall.ms > 0)
    }
}

/// Ends the watchdog's thread when it is dropped.
pub(crate) struct Running {
    end: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.end.take());
        // It has told what there was to tell.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// What the thread knows from one look to the next.
struct Looking {
    watchdog: Arc<Watchdog>,
    log: Log,
    /// Since when the core's lock was found taken, and how many times it had been taken then.
    core_busy: Option<(u64, u64)>,
}

impl Looking {
    /// One look, so long after the last one; whether it is time to give up.
    fn look(&mut self, elapsed: Duration, core: &impl Core) -> bool {
        let passed_ms = (elapsed.as_millis() as u64).min(LOOK_INTERVAL_MS + MAX_LATE_MS);
        let clock_ms = &self.watchdog.clock_ms;
        let now_ms = clock_ms.fetch_add(passed_ms, Ordering::Relaxed) + passed_ms;
        let core = self.look_at_core(now_ms, core);
        let poll = self.watchdog.longest_poll(now_ms);
        // Who waits for the core is stuck because of it, and was seen to be a look earlier.
        let is_core =
            |core: &Stall| poll.is_none_or(|poll| poll.ms <= core.ms + 2 * LOOK_INTERVAL_MS);
        self.tell(core.filter(is_core).or(poll))
    }

    /// A lock that was taken before, and not by anybody else since, has not been given back.
    fn look_at_core(&mut self, now_ms: u64, core: &impl Core) -> Option<Stall> {
        if core.is_free() {
            self.core_busy = None;
            return None;
        }
        let turns_count = core.turns_count();
        let same = self.core_busy.filter(|before| before.1 == turns_count);
        let (since_ms, _) = *self.core_busy.insert(same.unwrap_or((now_ms, turns_count)));
        let (what, ms) = (Stuck::Core, now_ms - since_ms);
        (ms > 0).then_some(Stall { what, ms })
    }

    /// Lets those who ask for health know; whether it is time to give up.
    fn tell(&self, longest: Option<Stall>) -> bool {
        let watchdog = &self.watchdog;
        let ms = longest.map_or(0, |stall| stall.ms);
        watchdog.longest_ms.store(ms, Ordering::Relaxed);
        let exceeds = |limit: &AtomicU64| {
            let limit_ms = limit.load(Ordering::Relaxed);
            longest.filter(|stall| limit_ms > 0 && stall.ms >= limit_ms)
        };
        let stall = exceeds(&watchdog.unhealthy_ms);
        let before = std::mem::replace(&mut *lock(&watchdog.stall), stall);
        match (before, stall) {
            (None, Some(stall)) => {
                watchdog.stalls_count.fetch_add(1, Ordering::Relaxed);
                self.log(Level::Warning, "watchdog.stuck", stall, false);
            }
            (Some(before), None) => {
                self.log(Level::Notice, "watchdog.recovered", before, false);
            }
            _ => {}
        }
        let Some(stall) = exceeds(&watchdog.abort_ms) else {
            return false;
        };
        let written = self.log(Level::Warning, "watchdog.abort", stall, true);
        // A log that does not take it has had its time.
        let _ = written.recv_timeout(LAST_LINE);
        true
    }

    /// Writes a line on a thread of its own: the log itself may be what is stuck. What is returned
    /// hears when that is done.
    fn log(&self, level: Level, event: &'static str, stall: Stall, is_last: bool) -> Receiver<()> {
        let (done, written) = channel();
        let log = self.log.clone();
        let tell = move || {
            let what = stall.what;
            let fields = [("what", Value::Shown(&what)), ("ms", stall.ms.into())];
            log.event(level, event, &fields);
            if is_last {
                log.close();
            }
            // Nobody waits for most lines.
            let _ = done.send(());
        };
        // A line that there is no thread for is lost, and `written` hears that at once.
        let _ = std::thread::Builder::new()
            .name("watchdog-log".into())
            .spawn(tell);
        written
    }
}

impl Slot {
    fn stall(&self, now_ms: u64) -> Option<Stall> {
        let (began_ms, task) = unpack(self.0.load(Ordering::Relaxed))?;
        Some(Stall {
            what: Stuck::Task(task),
            ms: now_ms.saturating_sub(began_ms),
        })
    }
}

const fn pack(began_ms: u64, task: Task) -> u64 {
    began_ms << TASK_BITS | task as u64
}

/// `None` for an empty slot: the clock is never 0.
fn unpack(slot: u64) -> Option<(u64, Task)> {
    let began_ms = slot >> TASK_BITS;
    let task = Task::ALL.get((slot & ((1 << TASK_BITS) - 1)) as usize)?;
    (began_ms > 0).then_some((began_ms, *task))
}

pin_project_lite::pin_project! {
    /// A task that is watched.
    pub(crate) struct Watched<F> {
        #[pin]
        future: F,
        watchdog: Arc<Watchdog>,
        task: Task,
    }
}

impl<F: Future> Future for Watched<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let _polling = Polling::begin(this.watchdog, *this.task);
        this.future.poll(context)
    }
}

/// A poll, until it ends or panics.
struct Polling<'a> {
    watchdog: &'a Arc<Watchdog>,
    /// One task may poll another one, and then goes on with itself.
    outer: u64,
}

impl<'a> Polling<'a> {
    fn begin(watchdog: &'a Arc<Watchdog>, task: Task) -> Self {
        let now_ms = watchdog.clock_ms.load(Ordering::Relaxed);
        let outer = swap_slot(watchdog, pack(now_ms, task));
        Self { watchdog, outer }
    }
}

impl Drop for Polling<'_> {
    fn drop(&mut self) {
        swap_slot(self.watchdog, self.outer);
    }
}

/// Puts something else into this thread's slot; what was in it.
fn swap_slot(watchdog: &Arc<Watchdog>, new: u64) -> u64 {
    SLOT.with_borrow_mut(|slot| {
        let slot = match slot {
            Some((whose, slot)) if std::ptr::eq(whose.as_ptr(), Arc::as_ptr(watchdog)) => slot,
            _ => {
                let new = Arc::new(Slot::default());
                lock(&watchdog.slots).push(Arc::downgrade(&new));
                &mut slot.insert((Arc::downgrade(watchdog), new)).1
            }
        };
        // This thread alone writes it.
        let old = slot.0.load(Ordering::Relaxed);
        slot.0.store(new, Ordering::Relaxed);
        old
    })
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
