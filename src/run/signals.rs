//! SIGINT and SIGTERM, from the start of the process to its end.

use std::io;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::plan::{PlanError, PlanObserver, Window};

/// The number of signals so far.
#[derive(Debug, Clone)]
pub(crate) struct Interrupts(watch::Receiver<u32>);

impl Interrupts {
    /// Listens on a thread of its own, which ends with the process.
    pub(crate) fn listen() -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (sender, receiver) = watch::channel(0);
        let (mut interrupt, mut terminate) = {
            let _inside = runtime.enter();
            (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?)
        };
        std::thread::spawn(move || {
            runtime.block_on(async move {
                loop {
                    tokio::select! {
                        _ = interrupt.recv() => {}
                        _ = terminate.recv() => {}
                    }
                    sender.send_modify(|count| *count += 1);
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

/// How long a first pass may take: until a signal, or the window's end.
#[derive(Debug)]
pub(super) struct PassLimits<'a> {
    pub(super) interrupts: &'a Interrupts,
    pub(super) window: Option<&'a Window>,
}

impl PlanObserver for PassLimits<'_> {
    fn check(&self) -> Result<(), PlanError> {
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
