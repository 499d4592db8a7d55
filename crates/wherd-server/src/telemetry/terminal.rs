//! Lines for who watches the terminal: standard error.
//!
//! Nobody may read it: a terminal was stopped with Ctrl-S, a pipe is full. Whoever writes then waits
//! for ever, so that a thread of its own does, and lines wait for it in a queue that has an end.

use std::io::Write;
use std::sync::mpsc::{Receiver, SyncSender, channel, sync_channel};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How many lines may wait. What does not fit is left out and counted: the log has it all.
const MAX_WAITING_LINES: usize = 256;
/// How long the last lines have to be written: enough for a terminal that is read, and little of
/// the time that a stop takes.
const LAST_LINES: Duration = Duration::from_millis(50);

/// Writes lines without making anybody wait.
pub(super) struct Terminal {
    /// `None` once it is closed.
    queue: Mutex<Option<Queue>>,
}

struct Queue {
    lines: SyncSender<Vec<u8>>,
    /// Lines that did not fit since the last one that did.
    left_out: u64,
    /// Disconnected when the writing thread ends.
    end: Receiver<()>,
}

impl Terminal {
    /// Starts a thread that writes to `out`.
    ///
    /// # Errors
    /// When the system has no thread for it.
    pub(super) fn open(mut out: impl Write + Send + 'static) -> std::io::Result<Self> {
        let (lines, waiting) = sync_channel::<Vec<u8>>(MAX_WAITING_LINES);
        let (ended, end) = channel();
        std::thread::Builder::new()
            .name("terminal".into())
            .spawn(move || {
                for line in waiting {
                    // Nobody may be there to read it.
                    let _ = out.write_all(&line);
                }
                drop(ended);
            })?;
        let queue = Queue {
            lines,
            left_out: 0,
            end,
        };
        Ok(Self {
            queue: Mutex::new(Some(queue)),
        })
    }

    /// Has a line written, or leaves it out where too many wait. It brings its line feed.
    pub(super) fn tell(&self, line: Vec<u8>) {
        if let Some(queue) = &mut *self.lock() {
            queue.push(line);
        }
    }

    /// Waits a moment for what was told to be written. What is told from then on is lost.
    pub(super) fn close(&self) {
        let Some(mut queue) = self.lock().take() else {
            return;
        };
        if queue.left_out > 0 {
            queue.push(Vec::new());
        }
        let Queue { lines, end, .. } = queue;
        drop(lines);
        // A thread that is stuck ends with the process.
        let _ = end.recv_timeout(LAST_LINES);
    }

    fn lock(&self) -> MutexGuard<'_, Option<Queue>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queue {
    fn push(&mut self, line: Vec<u8>) {
        let told = match self.left_out {
            0 => line,
            count => [format!("log.left_out terminal={count}\n").as_bytes(), &line].concat(),
        };
        if self.lines.try_send(told).is_ok() {
            self.left_out = 0;
        } else {
            self.left_out += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::Sender;
    use std::time::Instant;

    const PATIENCE: Duration = Duration::from_secs(60);

    /// A terminal that says when it is written to, and then waits to be read.
    struct Paused {
        reached: Sender<Vec<u8>>,
        go_on: Receiver<()>,
    }

    impl Write for Paused {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.reached
                .send(bytes.to_vec())
                .map_err(std::io::Error::other)?;
            // Without a sender it is never stopped again.
            let _ = self.go_on.recv();
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    /// A terminal; what is written to it; who lets it go on.
    fn paused() -> (Terminal, Receiver<Vec<u8>>, Sender<()>) {
        let (reached, written) = channel();
        let (resume, go_on) = channel();
        let terminal = Terminal::open(Paused { reached, go_on }).expect("a thread");
        (terminal, written, resume)
    }

    #[test]
    fn what_a_stopped_terminal_has_no_room_for_is_counted() {
        let (terminal, written, resume) = paused();
        terminal.tell(b"first\n".to_vec());
        let first = written.recv_timeout(PATIENCE).expect("a line");
        assert_eq!(first, b"first\n");
        for number in 0..MAX_WAITING_LINES + 3 {
            terminal.tell(format!("{number}\n").into_bytes());
        }
        drop(resume);
        for number in 0..MAX_WAITING_LINES {
            let line = written.recv_timeout(PATIENCE).expect("a line");
            assert_eq!(line, format!("{number}\n").as_bytes());
        }
        terminal.tell(b"next\n".to_vec());
        let line = written.recv_timeout(PATIENCE).expect("a line");
        assert_eq!(line, b"log.left_out terminal=3\nnext\n");
        terminal.tell(b"last\n".to_vec());
        let line = written.recv_timeout(PATIENCE).expect("a line");
        assert_eq!(line, b"last\n");
    }

    #[test]
    fn the_last_lines_are_written_before_the_end() {
        // A busy machine may leave the thread waiting for longer than the end waits for it.
        let has_all = |_| {
            let (terminal, written, resume) = paused();
            drop(resume);
            for number in 0..100 {
                terminal.tell(format!("{number}\n").into_bytes());
            }
            terminal.close();
            terminal.tell(b"too late\n".to_vec());
            written.try_iter().count() == 100
        };
        assert!((0..8).any(has_all));
    }

    #[test]
    fn a_terminal_that_is_stopped_does_not_hold_up_the_end() {
        let (terminal, written, _resume) = paused();
        terminal.tell(b"first\n".to_vec());
        written.recv_timeout(PATIENCE).expect("a line");
        for number in 0..1000 {
            terminal.tell(format!("{number}\n").into_bytes());
        }
        let closed_at = Instant::now();
        terminal.close();
        assert!(closed_at.elapsed() < PATIENCE);
        assert!(closed_at.elapsed() >= LAST_LINES, "it had its moment");
    }
}
