//! The progress of a run for people: a bar on a terminal, a line at regular times
//! without one.

use std::io::{self, IsTerminal, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use clap::ValueEnum;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};
use jiff::Timestamp;

use super::output::{report_line, write_report};
use super::running_status::RunningStatus;
use crate::units::{Count, Period, RateTimeline, counted, local_time};

/// `--progress`
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum ProgressSetting {
    /// A bar if stderr is a terminal, else lines at regular times.
    #[default]
    Auto,
    Always,
    Never,
}

impl ProgressSetting {
    /// A bar if stderr is a terminal, else nothing.
    pub(crate) fn on_terminal() -> Self {
        if io::stderr().is_terminal() { Self::Always } else { Self::Never }
    }
}

/// The progress of one run.
#[derive(Debug)]
pub(crate) struct ProgressDisplay {
    progress: CallProgress,
    heartbeat: Option<Heartbeat>,
}

/// What is counted, and how much of it is done.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Workload {
    /// In the plural.
    pub(crate) noun: &'static str,
    pub(crate) all: u64,
    pub(crate) done: u64,
}

/// How far the calls are.
#[derive(Debug, Clone)]
struct CallProgress {
    noun: &'static str,
    /// Counts rows also where it is not shown.
    bar: ProgressBar,
    pace: RowPace,
}

/// How many rows were done since when, and at which rate.
#[derive(Debug, Clone)]
struct RowPace {
    rates: RateTimeline,
    started: Instant,
    done_at_start: u64,
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
        let Workload { noun, all, done } = workload;
        let has_bar = match setting {
            ProgressSetting::Auto => io::stderr().is_terminal(),
            ProgressSetting::Always => true,
            ProgressSetting::Never => false,
        };
        let target =
            if has_bar { ProgressDrawTarget::stderr_with_hz(5) } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::with_draw_target(Some(all), target);
        bar.set_position(done);
        let pace = RowPace { rates, started: Instant::now(), done_at_start: done };
        let progress = CallProgress { noun, bar, pace };
        if has_bar {
            progress.show_bar();
        }
        let has_heartbeat = !has_bar && setting != ProgressSetting::Never;
        let heartbeat = has_heartbeat.then(|| Heartbeat::start(progress.clone(), period));
        Self { progress, heartbeat }
    }

    pub(crate) fn add_done(&self, done: u64) {
        self.progress.bar.inc(done);
    }

    /// How much is done of how much that is known by now.
    pub(crate) fn show(&self, done: u64, all: u64) {
        self.progress.bar.set_length(all);
        self.progress.bar.set_position(done);
    }

    /// What the run waits for; shown until it goes on.
    pub(crate) fn show_wait(&self, wait: Option<(Timestamp, &str)>) {
        self.progress
            .bar
            .set_message(wait.map(|(until, reason)| wait_text(until, reason)).unwrap_or_default());
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
    fn start(progress: CallProgress, period: Duration) -> Self {
        let (stop, stopped) = channel();
        let thread = std::thread::spawn(move || {
            while stopped.recv_timeout(period) == Err(RecvTimeoutError::Timeout) {
                report_line(&progress.status().line);
            }
        });
        Self { stop, thread }
    }
}

impl CallProgress {
    fn show_bar(&self) {
        let template =
            format!("{{bar:30}} {{pos}}/{{len}} {}  {{per_sec}}  {{left}} left  {{msg}}", self.noun);
        let style = ProgressStyle::with_template(&template);
        let pace = self.pace.clone();
        // The bar itself is locked while it is drawn.
        let left = move |state: &ProgressState, out: &mut dyn std::fmt::Write| {
            let left = pace.left(state.pos(), state.len().unwrap_or_default());
            let _ = out.write_str(&left.map_or("?".to_owned(), |left| Period(left).to_string()));
        };
        self.bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()).with_key("left", left));
        self.bar.reset_eta();
        self.bar.enable_steady_tick(Duration::from_millis(500));
    }

    fn status(&self) -> RunningStatus {
        let (rows, done) = (self.bar.length().unwrap_or_default(), self.bar.position());
        let RowPace { rates, started, done_at_start } = &self.pace;
        let (took, left, wait) = (started.elapsed(), self.pace.left(done, rows), self.bar.message());
        let recent = done.saturating_sub(*done_at_start);
        let rate = rates.text(took);
        let mut line = line(self.noun, (done, rows), recent, took, left, &wait);
        if rates.schedule().is_by_clock() {
            line = format!("{line}, at {rate}");
        }
        RunningStatus {
            line,
            rows: Some(rows),
            rows_done: done,
            seconds_left: left.map(|left| left.as_secs()),
            waiting: Some(wait).filter(|wait| !wait.is_empty()),
            rate: Some(rate),
            ..RunningStatus::default()
        }
    }
}

impl RowPace {
    /// The time that the rest takes, if it uses as much of the rate as the rows so
    /// far. Without progress there is no estimate.
    #[expect(clippy::cast_precision_loss, reason = "an estimate for people")]
    fn left(&self, done: u64, rows: u64) -> Option<Duration> {
        let (took, recent) = (self.started.elapsed(), done.saturating_sub(self.done_at_start));
        let calls_per_row = self.rates.calls_in(took, Duration::ZERO) / recent as f64;
        (recent > 0).then(|| self.rates.time_for(rows.saturating_sub(done) as f64 * calls_per_row, took))
    }
}

/// stderr for log lines: the bar is hidden while one is written.
#[derive(Debug, Clone, Default)]
pub(crate) struct LogWriter {
    progress: Arc<Mutex<Option<CallProgress>>>,
    /// Before there is a progress.
    rows_read: Arc<AtomicU64>,
}

impl LogWriter {
    /// Log lines must not tear this bar.
    pub(crate) fn watch(&self, display: &ProgressDisplay) {
        if let Ok(mut progress) = self.progress.lock() {
            *progress = Some(display.progress.clone());
        }
    }

    /// How many rows of the export a first pass has read.
    pub(crate) fn set_rows_read(&self, rows: u64) {
        self.rows_read.store(rows, Ordering::Relaxed);
    }

    fn progress(&self) -> Option<CallProgress> {
        self.progress.lock().ok().and_then(|progress| progress.clone())
    }

    /// How far the run is.
    pub(crate) fn status(&self) -> RunningStatus {
        let line = match self.rows_read.load(Ordering::Relaxed) {
            0 => "the export is being read; nothing is sent yet".to_owned(),
            rows => format!("{} of the export read; nothing is sent yet", counted(rows, "row")),
        };
        self.progress()
            .map_or_else(|| RunningStatus { line, ..RunningStatus::default() }, |progress| progress.status())
    }
}

impl Write for LogWriter {
    /// A terminal that was closed fails nothing.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let _ = match self.progress() {
            Some(progress) => progress.bar.suspend(|| write_report(line)),
            None => write_report(line),
        };
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
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

/// Of so many, so many are done, the last `recent` of them in `took`.
#[expect(clippy::cast_precision_loss, reason = "an estimate for people")]
fn line(
    noun: &str,
    (done, all): (u64, u64),
    recent: u64,
    took: Duration,
    left: Option<Duration>,
    wait: &str,
) -> String {
    let head = format!("{} of {} {noun} done", Count(done), Count(all));
    let speed = recent as f64 / took.as_secs_f64();
    match left {
        _ if !wait.is_empty() => format!("{head}, {wait}"),
        Some(left) => format!("{head}, {speed:.1} {noun}/s, {} left", Period(left)),
        None => format!("{head}, none in the last {}", Period(took)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_of_a_first_pass_counts_the_rows_read() {
        let log = LogWriter::default();
        assert_eq!(log.status().line, "the export is being read; nothing is sent yet");
        log.set_rows_read(12_288);
        assert_eq!(log.status().line, "12,288 rows of the export read; nothing is sent yet");
        let rates = RateTimeline::parse("\"5/s\"", "2026-11-23T19:55[UTC]");
        let workload = Workload { noun: "customers", all: 99, done: 0 };
        let display = ProgressDisplay::start(ProgressSetting::Never, Duration::MAX, rates, workload);
        log.watch(&display);
        display.show(198, 400);
        let status = log.status();
        assert!(status.line.starts_with("198 of 400 customers done, "), "{}", status.line);
        assert_eq!((status.rows, status.rows_done), (Some(400), 198));
    }

    #[test]
    fn a_line_holds_the_progress_and_the_time_left() {
        let minute = Duration::from_secs(60);
        let left = Some(minute.mul_f64(2.5));
        assert_eq!(
            line("rows", (150, 450), 120, minute, left, ""),
            "150 of 450 rows done, 2.0 rows/s, 2 min 30 s left"
        );
        assert_eq!(
            line("rows", (30, 450), 0, minute, None, ""),
            "30 of 450 rows done, none in the last 1 min 00 s"
        );
        let wait = wait_text(Timestamp::MAX, "the server fails");
        assert!(wait.starts_with("waiting until 9999-12-") && wait.ends_with(": the server fails"), "{wait}");
        assert_eq!(line("rows", (30, 450), 0, minute, None, &wait), format!("30 of 450 rows done, {wait}"));
    }
}
