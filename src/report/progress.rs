//! How far a run is, for whoever watches: a bar on a terminal, a line at
//! regular times without one.

use std::io::{self, IsTerminal, Write};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use clap::ValueEnum;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::units::{Count, Period};

/// `--progress`
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum ProgressSetting {
    /// A bar if stderr is a terminal, else a line now and then.
    #[default]
    Auto,
    /// A bar.
    Always,
    /// Nothing.
    Never,
}

/// The progress of one run.
#[derive(Debug)]
pub(crate) struct ProgressDisplay {
    bar: ProgressBar,
    beat: Option<Heartbeat>,
}

/// Writes a line at regular times, also while no row is done: people look when
/// the run waits for the server.
#[derive(Debug)]
struct Heartbeat {
    /// Dropped, it ends the thread.
    stop: Sender<()>,
    thread: JoinHandle<()>,
}

impl ProgressDisplay {
    /// `rows` to visit, of which `done` are settled. Without a terminal it
    /// writes a line after each `heartbeat`.
    pub(crate) fn start(
        setting: ProgressSetting,
        quiet: bool,
        heartbeat: Duration,
        rows: u64,
        done: u64,
    ) -> Self {
        let terminal = io::stderr().is_terminal();
        let shown =
            !quiet && (setting == ProgressSetting::Always || setting == ProgressSetting::Auto && terminal);
        if !shown {
            let bar = ProgressBar::with_draw_target(Some(rows), ProgressDrawTarget::hidden());
            bar.set_position(done);
            let beats = !quiet && setting != ProgressSetting::Never;
            let beat = beats.then(|| Heartbeat::start(bar.clone(), heartbeat));
            return Self { bar, beat };
        }
        let bar = ProgressBar::with_draw_target(Some(rows), ProgressDrawTarget::stderr_with_hz(5));
        let style = ProgressStyle::with_template("{bar:30} {pos}/{len} rows  {per_sec}  {eta} left");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        bar.set_position(done);
        bar.reset_eta();
        bar.enable_steady_tick(Duration::from_millis(500));
        Self { bar, beat: None }
    }

    pub(crate) fn add_rows(&self, settled: u64) {
        self.bar.inc(settled);
    }

    /// Clears the bar; no line comes after this.
    pub(crate) fn finish(self) {
        self.bar.finish_and_clear();
        if let Some(Heartbeat { stop, thread }) = self.beat {
            drop(stop);
            let _ = thread.join();
        }
    }
}

impl Heartbeat {
    fn start(bar: ProgressBar, every: Duration) -> Self {
        let (stop, stopped) = channel();
        let (started, done_at_start) = (Instant::now(), bar.position());
        let thread = std::thread::spawn(move || {
            while stopped.recv_timeout(every) == Err(RecvTimeoutError::Timeout) {
                let (done, rows) = (bar.position(), bar.length().unwrap_or_default());
                let line = line(done, rows, done.saturating_sub(done_at_start), started.elapsed());
                let _ = writeln!(io::stderr(), "{line}");
            }
        });
        Self { stop, thread }
    }
}

/// Of `rows`, `done` are done, the last `lately` of them in `took`.
#[expect(clippy::cast_precision_loss, reason = "an estimate for people")]
fn line(done: u64, rows: u64, lately: u64, took: Duration) -> String {
    let speed = lately as f64 / took.as_secs_f64();
    let left = Duration::try_from_secs_f64(rows.saturating_sub(done) as f64 / speed);
    match left {
        Ok(left) => {
            format!("{} of {} rows done, {speed:.1} rows/s, {} left", Count(done), Count(rows), Period(left))
        }
        // Nothing was done yet, which says nothing about the rest.
        Err(_) => format!("{} of {} rows done, none in the last {}", Count(done), Count(rows), Period(took)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_how_far_and_how_long_still() {
        let minute = Duration::from_secs(60);
        assert_eq!(line(150, 450, 120, minute), "150 of 450 rows done, 2.0 rows/s, 2 min 30 s left");
        assert_eq!(line(30, 450, 0, minute), "30 of 450 rows done, none in the last 1 min 00 s");
    }
}

/// stderr for log lines: the bar is hidden while one is written.
#[derive(Debug, Clone, Default)]
pub(crate) struct LogWriter(std::sync::Arc<std::sync::Mutex<Option<ProgressBar>>>);

impl LogWriter {
    /// Log lines must not tear this bar.
    pub(crate) fn watch(&self, progress: &ProgressDisplay) {
        if let Ok(mut bar) = self.0.lock() {
            *bar = Some(progress.bar.clone());
        }
    }
}

impl Write for LogWriter {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let bar = self.0.lock().ok().and_then(|bar| bar.clone());
        match bar {
            Some(bar) => bar.suspend(|| io::stderr().write_all(line))?,
            None => io::stderr().write_all(line)?,
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}
