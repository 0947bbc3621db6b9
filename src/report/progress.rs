//! How far a run is, for whoever watches: a bar on a terminal, a line now and
//! then without one.

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use clap::ValueEnum;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::units::Period;

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

/// Between two lines without a terminal.
const HEARTBEAT: Duration = Duration::from_secs(60);

/// The progress of one run.
#[derive(Debug, Clone)]
pub struct Progress {
    bar: ProgressBar,
    beat: Option<Beat>,
}

#[derive(Debug, Clone)]
struct Beat {
    started: Instant,
    last: Instant,
    done_at_start: u64,
}

impl Progress {
    /// Nothing shown: for passes that take seconds.
    #[must_use]
    pub fn hidden() -> Self {
        Self { bar: ProgressBar::hidden(), beat: None }
    }

    /// `rows` to visit, of which `done` are settled.
    #[must_use]
    pub fn start(setting: ProgressSetting, quiet: bool, rows: u64, done: u64) -> Self {
        let terminal = io::stderr().is_terminal();
        let shown =
            !quiet && (setting == ProgressSetting::Always || setting == ProgressSetting::Auto && terminal);
        if !shown {
            let beats = !quiet && setting != ProgressSetting::Never;
            let now = Instant::now();
            let beat = beats.then_some(Beat { started: now, last: now, done_at_start: done });
            let bar = ProgressBar::with_draw_target(Some(rows), ProgressDrawTarget::hidden());
            bar.set_position(done);
            return Self { bar, beat };
        }
        let bar = ProgressBar::with_draw_target(Some(rows), ProgressDrawTarget::stderr_with_hz(5));
        let style = ProgressStyle::with_template("{bar:30} {pos}/{len} rows  {per_sec}  {eta} left  {msg}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        bar.set_position(done);
        bar.reset_eta();
        bar.enable_steady_tick(Duration::from_millis(500));
        Self { bar, beat: None }
    }

    /// One more row is settled.
    pub fn row(&mut self) {
        self.bar.inc(1);
        let (done, rows) = (self.bar.position(), self.bar.length().unwrap_or_default());
        if let Some(beat) = &mut self.beat
            && beat.last.elapsed() >= HEARTBEAT
        {
            beat.last = Instant::now();
            let line = beat.line(done, rows);
            let _ = writeln!(io::stderr(), "{line}");
        }
    }

    /// What went wrong so far, beside the bar.
    pub fn say(&self, words: String) {
        self.bar.set_message(words);
    }

    /// Where log lines go so that they do not tear the bar.
    #[must_use]
    pub fn bar(&self) -> &ProgressBar {
        &self.bar
    }

    /// Takes the bar off the screen.
    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

impl Beat {
    #[expect(clippy::cast_precision_loss, reason = "an estimate for people")]
    fn line(&self, done: u64, rows: u64) -> String {
        let speed = (done - self.done_at_start) as f64 / self.started.elapsed().as_secs_f64();
        let left = Duration::try_from_secs_f64((rows - done) as f64 / speed).unwrap_or(Duration::MAX);
        format!("{done} of {rows} rows done, {speed:.1} rows/s, {} left", Period(left))
    }
}

/// stderr for log lines: the bar steps aside for each.
#[derive(Debug, Clone, Default)]
pub struct LogWriter(std::sync::Arc<std::sync::Mutex<Option<ProgressBar>>>);

impl LogWriter {
    /// Sets the bar that has to step aside.
    pub fn watch(&self, progress: &Progress) {
        if let Ok(mut bar) = self.0.lock() {
            *bar = Some(progress.bar().clone());
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
