//! The progress of a run for people: a bar on a terminal, a line at regular times
//! without one.

use std::io::{self, IsTerminal, Write};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use clap::ValueEnum;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use jiff::Timestamp;

use super::output::{report_line, write_report};
use crate::units::{Count, Period, local_time};

/// `--progress`
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum ProgressSetting {
    /// A bar if stderr is a terminal, else lines at regular times.
    #[default]
    Auto,
    Always,
    Never,
}

/// The progress of one run.
#[derive(Debug)]
pub(crate) struct ProgressDisplay {
    bar: ProgressBar,
    heartbeat: Option<Heartbeat>,
}

/// Writes a line at regular times, also while no row is done: people check a run
/// that waits for the server.
#[derive(Debug)]
struct Heartbeat {
    /// Dropped, it ends the thread.
    stop: Sender<()>,
    thread: JoinHandle<()>,
}

impl ProgressDisplay {
    /// `rows` to visit, of which `done` are settled. Without a terminal it
    /// writes a line after each `period`.
    pub(crate) fn start(setting: ProgressSetting, period: Duration, rows: u64, done: u64) -> Self {
        let has_bar = match setting {
            ProgressSetting::Auto => io::stderr().is_terminal(),
            ProgressSetting::Always => true,
            ProgressSetting::Never => false,
        };
        if !has_bar {
            let bar = ProgressBar::with_draw_target(Some(rows), ProgressDrawTarget::hidden());
            bar.set_position(done);
            let has_heartbeat = setting != ProgressSetting::Never;
            let heartbeat = has_heartbeat.then(|| Heartbeat::start(bar.clone(), period));
            return Self { bar, heartbeat };
        }
        let bar = ProgressBar::with_draw_target(Some(rows), ProgressDrawTarget::stderr_with_hz(5));
        let style = ProgressStyle::with_template("{bar:30} {pos}/{len} rows  {per_sec}  {eta} left  {msg}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        bar.set_position(done);
        bar.reset_eta();
        bar.enable_steady_tick(Duration::from_millis(500));
        Self { bar, heartbeat: None }
    }

    pub(crate) fn add_rows(&self, settled: u64) {
        self.bar.inc(settled);
    }

    /// What the run waits for; shown until it goes on.
    pub(crate) fn show_wait(&self, wait: Option<(Timestamp, &str)>) {
        self.bar.set_message(wait.map(|(until, reason)| wait_text(until, reason)).unwrap_or_default());
    }

    /// Clears the bar; no line comes after this.
    pub(crate) fn finish(&mut self) {
        self.bar.finish_and_clear();
        if let Some(Heartbeat { stop, thread }) = self.heartbeat.take() {
            drop(stop);
            let _ = thread.join();
        }
    }
}

impl Heartbeat {
    fn start(bar: ProgressBar, period: Duration) -> Self {
        let (stop, stopped) = channel();
        let (started, done_at_start) = (Instant::now(), bar.position());
        let thread = std::thread::spawn(move || {
            while stopped.recv_timeout(period) == Err(RecvTimeoutError::Timeout) {
                let (done, rows) = (bar.position(), bar.length().unwrap_or_default());
                let recent = done.saturating_sub(done_at_start);
                report_line(&line(done, rows, recent, started.elapsed(), &bar.message()));
            }
        });
        Self { stop, thread }
    }
}

/// stderr for log lines: the bar is hidden while one is written.
#[derive(Debug, Clone, Default)]
pub(crate) struct LogWriter(Arc<Mutex<Option<ProgressBar>>>);

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
            Some(bar) => bar.suspend(|| write_report(line))?,
            None => write_report(line)?,
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

/// `waiting until 21:04:10: the server fails`
pub(crate) fn wait_text(until: Timestamp, reason: &str) -> String {
    let (until, now) = (local_time(until), local_time(Timestamp::now()));
    // The date, if it is another day.
    let until = match until.split_once(' ') {
        Some((date, time)) if now.starts_with(date) => time,
        _ => &until,
    };
    format!("waiting until {until}: {reason}")
}

/// Of `rows`, `done` are done, the last `recent` of them in `took`.
#[expect(clippy::cast_precision_loss, reason = "an estimate for people")]
fn line(done: u64, rows: u64, recent: u64, took: Duration, wait: &str) -> String {
    if !wait.is_empty() {
        return format!("{} of {} rows done, {wait}", Count(done), Count(rows));
    }
    let speed = recent as f64 / took.as_secs_f64();
    let left = Duration::try_from_secs_f64(rows.saturating_sub(done) as f64 / speed);
    match left {
        Ok(left) => {
            format!("{} of {} rows done, {speed:.1} rows/s, {} left", Count(done), Count(rows), Period(left))
        }
        // Without progress there is no estimate.
        Err(_) => format!("{} of {} rows done, none in the last {}", Count(done), Count(rows), Period(took)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_holds_the_progress_and_the_time_left() {
        let minute = Duration::from_secs(60);
        assert_eq!(line(150, 450, 120, minute, ""), "150 of 450 rows done, 2.0 rows/s, 2 min 30 s left");
        assert_eq!(line(30, 450, 0, minute, ""), "30 of 450 rows done, none in the last 1 min 00 s");
        let wait = wait_text(Timestamp::MAX, "the server fails");
        assert!(wait.starts_with("waiting until 9999-12-") && wait.ends_with(": the server fails"), "{wait}");
        assert_eq!(line(30, 450, 0, minute, &wait), format!("30 of 450 rows done, {wait}"));
    }
}
