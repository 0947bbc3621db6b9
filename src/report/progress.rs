//! The progress of a run for people: a bar on a terminal, a line at regular times
//! without one.

use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use clap::ValueEnum;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};
use jiff::Timestamp;
use terminal_size::{Width, terminal_size_of};

use super::output::{report_line, write_report};
use super::progress_line::{Progress, ProgressStep, Workload};
use super::running_status::RunningStatus;
use crate::units::{RateTimeline, counted};

/// `--progress`
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum ProgressSetting {
    /// A bar if stderr is a terminal, else lines at regular times.
    #[default]
    #[value(alias = "always")]
    Auto,
    Never,
}

impl ProgressSetting {
    /// A bar if stderr is a terminal, else nothing.
    pub(crate) fn on_terminal() -> Self {
        Self::Auto.of_terminal()
    }

    /// Without a terminal, nothing is shown.
    pub(crate) fn of_terminal(self) -> Self {
        if self.shows_bar() { self } else { Self::Never }
    }

    /// A terminal that moves no cursor, such as `TERM=dumb`, shows lines as a file does.
    fn shows_bar(self) -> bool {
        self != Self::Never && !ProgressDrawTarget::stderr().is_hidden()
    }
}

/// The progress of one run.
#[derive(Debug)]
pub(crate) struct ProgressDisplay {
    progress: SharedProgress,
    heartbeat: Option<Heartbeat>,
}

/// Written by the run, read by those who show it.
#[derive(Debug, Clone)]
struct SharedProgress {
    progress: Arc<Mutex<Progress>>,
    started: Instant,
    bar: ProgressBar,
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
    /// Without a terminal it writes a line after each `period`.
    pub(crate) fn start(
        setting: ProgressSetting,
        period: Duration,
        rates: RateTimeline,
        workload: Workload,
    ) -> Self {
        let has_bar = setting.shows_bar();
        let bar = ProgressBar::with_draw_target(None, draw_target(has_bar));
        let progress = Arc::new(Mutex::new(Progress::new(workload, rates)));
        let progress = SharedProgress { progress, started: Instant::now(), bar };
        if has_bar {
            progress.show_bar();
        }
        let has_heartbeat = !has_bar && setting != ProgressSetting::Never;
        let heartbeat = has_heartbeat.then(|| Heartbeat::start(progress.clone(), period));
        Self { progress, heartbeat }
    }

    pub(crate) fn add(&self, step: ProgressStep) {
        self.progress.lock().add(step);
    }

    /// How much is done of how much that is known by now.
    pub(crate) fn show(&self, done: u64, all: u64) {
        self.progress.lock().set(done, all);
    }

    /// What the run waits for; shown until it goes on.
    pub(crate) fn show_wait(&self, wait: Option<(Timestamp, &str)>) {
        self.progress.lock().set_wait(wait, self.progress.started.elapsed());
    }

    /// Clears the bar; no line comes after this.
    pub(crate) fn finish(&mut self) {
        self.progress.bar.finish_and_clear();
        if let Some(Heartbeat { stop, thread }) = self.heartbeat.take() {
            drop(stop);
            let _ = thread.join();
        }
    }
}

impl Heartbeat {
    fn start(progress: SharedProgress, period: Duration) -> Self {
        let (stop, stopped) = channel();
        let thread = std::thread::spawn(move || {
            while stopped.recv_timeout(period) == Err(RecvTimeoutError::Timeout) {
                report_line(&progress.status().line);
            }
        });
        Self { stop, thread }
    }
}

fn draw_target(is_shown: bool) -> ProgressDrawTarget {
    if is_shown { ProgressDrawTarget::stderr_with_hz(5) } else { ProgressDrawTarget::hidden() }
}

impl SharedProgress {
    /// Counts are sound whenever a thread panics.
    fn lock(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn show_bar(&self) {
        let (progress, started) = (Arc::clone(&self.progress), self.started);
        let line = move |_: &ProgressState, out: &mut dyn std::fmt::Write| {
            let mut progress = progress.lock().unwrap_or_else(PoisonError::into_inner);
            progress.sample(started.elapsed());
            let width = terminal_size_of(io::stderr()).map_or(COLUMNS, |(Width(columns), _)| columns.into());
            let _ = out.write_str(&bar_line(&progress, started.elapsed(), width));
        };
        let style = ProgressStyle::with_template("{line}");
        self.bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()).with_key("line", line));
        self.bar.enable_steady_tick(Duration::from_millis(500));
    }

    fn status(&self) -> RunningStatus {
        let (mut progress, elapsed, now) = (self.lock(), self.started.elapsed(), Timestamp::now());
        progress.sample(elapsed);
        let ((rows, rows_done), steps) = (progress.rows(), progress.steps());
        RunningStatus {
            line: progress.line(elapsed, now, usize::MAX),
            rows: Some(rows),
            rows_done,
            calls: progress.all(),
            calls_done: progress.done(),
            refused: steps.refused,
            retried: steps.retried,
            seconds_left: progress.left(elapsed, now).map(|left| left.as_secs()),
            waiting: progress.wait_text(),
            rate: Some(progress.rate_text(elapsed)),
            ..RunningStatus::default()
        }
    }
}

/// Where the terminal does not say.
const COLUMNS: usize = 80;
/// Of a bar in front of the line.
const BAR_COLUMNS: std::ops::RangeInclusive<usize> = 10..=30;

/// The line, and a bar where there is room for one. A terminal may wrap what fills
/// its last column.
fn bar_line(progress: &Progress, elapsed: Duration, columns: usize) -> String {
    let columns = columns.saturating_sub(1);
    let line = progress.line(elapsed, Timestamp::now(), columns);
    let room = columns.saturating_sub(line.chars().count() + 2).min(*BAR_COLUMNS.end());
    if !BAR_COLUMNS.contains(&room) {
        return line;
    }
    let full = (room as u128 * u128::from(progress.done()) / u128::from(progress.all().max(1))) as usize;
    format!("{}{}  {line}", "█".repeat(full), "░".repeat(room - full))
}

/// Counts the rows of a first pass on a terminal, until it is dropped.
#[derive(Debug)]
pub(crate) struct ReadingDisplay {
    bar: ProgressBar,
    log: LogWriter,
}

impl Drop for ReadingDisplay {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
        self.log.set_shown(Shown::default());
    }
}

/// stderr for log lines: the bar is hidden while one is written.
#[derive(Debug, Clone, Default)]
pub(crate) struct LogWriter {
    shown: Arc<Mutex<Shown>>,
    /// Before there are calls.
    rows_read: Arc<AtomicU64>,
}

/// What is at the bottom of the terminal.
#[derive(Debug, Clone, Default)]
enum Shown {
    #[default]
    Nothing,
    Reading(ProgressBar),
    Calls(SharedProgress),
}

impl LogWriter {
    /// Log lines must not tear this bar.
    pub(crate) fn watch(&self, display: &ProgressDisplay) {
        self.set_shown(Shown::Calls(display.progress.clone()));
    }

    /// Shows how many rows a first pass has read.
    pub(crate) fn show_reading(&self, setting: ProgressSetting) -> ReadingDisplay {
        let bar = ProgressBar::with_draw_target(None, draw_target(setting.shows_bar()));
        let rows = Arc::clone(&self.rows_read);
        let read = move |_: &ProgressState, out: &mut dyn std::fmt::Write| {
            let _ = write!(out, "{} read", counted(rows.load(Ordering::Relaxed), "row"));
        };
        let style = ProgressStyle::with_template("{spinner} {read}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()).with_key("read", read));
        if setting.shows_bar() {
            bar.enable_steady_tick(Duration::from_millis(200));
        }
        self.set_shown(Shown::Reading(bar.clone()));
        ReadingDisplay { bar, log: self.clone() }
    }

    /// How many rows of the export a first pass has read.
    pub(crate) fn set_rows_read(&self, rows: u64) {
        self.rows_read.store(rows, Ordering::Relaxed);
    }

    fn set_shown(&self, shown: Shown) {
        *self.shown.lock().unwrap_or_else(PoisonError::into_inner) = shown;
    }

    fn shown(&self) -> Shown {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How far the run is.
    pub(crate) fn status(&self) -> RunningStatus {
        if let Shown::Calls(progress) = self.shown() {
            return progress.status();
        }
        let line = match self.rows_read.load(Ordering::Relaxed) {
            0 => "the export is being read; nothing is sent yet".to_owned(),
            rows => format!("{} of the export read; nothing is sent yet", counted(rows, "row")),
        };
        RunningStatus { line, ..RunningStatus::default() }
    }
}

impl Write for LogWriter {
    /// A terminal that was closed fails nothing.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let _ = match self.shown() {
            Shown::Calls(SharedProgress { bar, .. }) | Shown::Reading(bar) => {
                bar.suspend(|| write_report(line))
            }
            Shown::Nothing => write_report(line),
        };
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn started(workload: Workload) -> ProgressDisplay {
        let rates = RateTimeline::parse("\"5/s\"", "2026-11-23T19:55[UTC]");
        ProgressDisplay::start(ProgressSetting::Never, Duration::MAX, rates, workload)
    }

    #[test]
    fn the_status_of_a_first_pass_counts_the_rows_read() {
        let log = LogWriter::default();
        assert_eq!(log.status().line, "the export is being read; nothing is sent yet");
        log.set_rows_read(12_288);
        assert_eq!(log.status().line, "12,288 rows of the export read; nothing is sent yet");
        let display = started(Workload { noun: "customers", all: 99, done: 0, rows: (0, 0) });
        log.watch(&display);
        display.show(198, 400);
        let status = log.status();
        assert!(status.line.starts_with("198 of 400 customers, "), "{}", status.line);
        assert_eq!((status.calls, status.calls_done), (400, 198));
    }

    #[test]
    fn a_bar_stands_before_the_line_where_there_is_room() {
        let display = started(Workload { noun: "calls", all: 450, done: 150, rows: (0, 0) });
        let progress = display.progress.lock();
        let line = |columns| bar_line(&progress, Duration::from_secs(9), columns);
        let text = "150 of 450 calls, none in the last 9 s";
        assert_eq!(line(120), format!("{}{}  {text}", "█".repeat(10), "░".repeat(20)));
        assert_eq!(line(60).chars().count(), 59);
        assert_eq!((line(50).as_str(), line(20).as_str()), (text, "150 of 450 calls"));
    }
}
