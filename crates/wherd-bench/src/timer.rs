//! Waiting for sockets or a moment, whichever comes first.

use std::io;
use std::time::Duration;

use mio::{Events, Poll};

/// What sockets are waited for with, for less than a millisecond too.
pub(crate) struct Waiter {
    pub(crate) poll: Poll,
    pub(crate) events: Events,
    #[cfg(target_os = "linux")]
    timer: rustix::fd::OwnedFd,
}

/// The longest that anybody waits at once: whether all is over has to be looked at.
pub(crate) const MOST: Duration = Duration::from_millis(20);

/// The token of the timer, which no connection has.
pub(crate) const TIMER: mio::Token = mio::Token(usize::MAX);

impl Waiter {
    pub(crate) fn new() -> io::Result<Self> {
        let poll = Poll::new()?;
        #[cfg(target_os = "linux")]
        let timer = linux::timer(&poll)?;
        Ok(Self {
            poll,
            events: Events::with_capacity(1024),
            #[cfg(target_os = "linux")]
            timer,
        })
    }

    /// Waits for sockets, `patience` at the most.
    pub(crate) fn wait(&mut self, patience: Duration) -> io::Result<()> {
        // The system's own patience is in milliseconds, rounded up: too long for short ones.
        #[cfg(target_os = "linux")]
        if !patience.is_zero() && patience < linux::COARSE {
            linux::set(&self.timer, patience)?;
        }
        match self.poll.poll(&mut self.events, Some(patience)) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {
                self.events.clear();
                Ok(())
            }
            other => other,
        }
    }
}

#[cfg(target_os = "linux")]
mod linux {
    use std::io;
    use std::os::fd::AsRawFd as _;
    use std::time::Duration;

    use mio::unix::SourceFd;
    use mio::{Interest, Poll};
    use rustix::fd::OwnedFd;
    use rustix::time::{
        Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
        timerfd_settime,
    };

    /// From here on the system's own patience will do: nobody waits for longer than this at once, so
    /// whoever waits for a moment that is further off comes again.
    pub(super) const COARSE: Duration = super::MOST;

    /// A timer that ends a wait. It is never read: setting it again is what it is rearmed by.
    pub(super) fn timer(poll: &Poll) -> io::Result<OwnedFd> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let timer = timerfd_create(TimerfdClockId::Monotonic, flags)?;
        let source = timer.as_raw_fd();
        let interest = Interest::READABLE;
        poll.registry()
            .register(&mut SourceFd(&source), super::TIMER, interest)?;
        Ok(timer)
    }

    pub(super) fn set(timer: &OwnedFd, patience: Duration) -> io::Result<()> {
        let zero = Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        let value = Itimerspec {
            it_interval: zero,
            it_value: Timespec {
                tv_sec: 0,
                tv_nsec: i64::from(patience.subsec_nanos()),
            },
        };
        timerfd_settime(timer, TimerfdTimerFlags::empty(), &value)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    #[test]
    fn short_patience_ends_in_time() {
        let mut waiter = Waiter::new().expect("a waiter");
        let quickest = (0..50).map(|_| {
            let begin = Instant::now();
            waiter.wait(Duration::from_micros(100)).expect("it waits");
            begin.elapsed()
        });
        let quickest = quickest.min().expect("some");
        assert!(quickest >= Duration::from_micros(100), "{quickest:?}");
        assert!(quickest < Duration::from_micros(900), "{quickest:?}");
    }
}
