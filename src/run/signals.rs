//! SIGINT, SIGTERM and SIGHUP, from the start of the process to its end.
//!
//! A terminal that closes sends SIGHUP, often twice, and a service manager sends it
//! right after SIGTERM. So it is never the second signal, which stops at once.
//! Where it is ignored from the start, as under `nohup`, it stays ignored.

use std::io;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::plan::{PlanError, PlanObserver, Window};
use crate::report::LogWriter;

/// Whether the process was started with this signal ignored, as far as the system
/// shows it.
fn is_ignored(signal: SignalKind) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    ignored.is_some_and(|mask| mask >> (signal.as_raw_value() - 1) & 1 == 1)
}

/// The number of signals so far.
#[derive(Debug, Clone)]
pub(crate) struct Interrupts(watch::Receiver<u32>);

impl Interrupts {
    /// Listens on a thread of its own, which ends with the process.
    pub(crate) fn listen() -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (sender, receiver) = watch::channel(0);
        let _inside = runtime.enter();
        let (mut interrupt, mut terminate) =
            (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        let hangup = SignalKind::hangup();
        let mut hangup = if is_ignored(hangup) { None } else { Some(signal(hangup)?) };
        drop(_inside);
        std::thread::spawn(move || {
            runtime.block_on(async move {
                loop {
                    let hangup = async {
                        match &mut hangup {
                            Some(hangup) => hangup.recv().await,
                            None => std::future::pending().await,
                        }
                    };
                    tokio::select! {
                        _ = interrupt.recv() => sender.send_modify(|count| *count += 1),
                        _ = terminate.recv() => sender.send_modify(|count| *count += 1),
                        _ = hangup => sender.send_modify(|count| *count = (*count).max(1)),
                    }
                }
            });
        });
        Ok(Self(receiver))
    }

    /// Waits until so many have come.
    pub(crate) async fn reach(&mut self, count: u32) {
        // The sender lives as long as the process.
        let _ = self.0.wait_for(|now| *now >= count).await;
    }

    /// Whether one has come.
    pub(crate) fn any(&self) -> bool {
        *self.0.borrow() > 0
    }
}

/// How long a first pass may take: until a signal, or the window's end. Its progress
/// goes to the log.
#[derive(Debug)]
pub(super) struct PassLimits<'a> {
    pub(super) interrupts: &'a Interrupts,
    pub(super) window: Option<&'a Window>,
    pub(super) log: &'a LogWriter,
}

impl PlanObserver for PassLimits<'_> {
    fn check(&self, rows: u64) -> Result<(), PlanError> {
        self.log.set_rows_read(rows);
        if self.interrupts.any() {
            return Err(PlanError::Interrupted);
        }
        match self.window {
            Some(window) if window.time_for_work().is_zero() => Err(PlanError::WindowClosed),
            _ => Ok(()),
        }
    }
}

/// Blocks until a signal comes.
pub(crate) fn wait_for_signal() -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut interrupts = Interrupts::listen()?;
    runtime.block_on(interrupts.reach(1));
    Ok(())
}
