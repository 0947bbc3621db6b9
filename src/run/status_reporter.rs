//! Answers those who ask how far the run is: SIGUSR1 gets the line of progress on
//! stderr, `status` the file that is kept up to date here.

use std::io::{self, Write};
use std::path::Path;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;

use super::begin::now;
use crate::checkpoint::path_beside;
use crate::report::{LogWriter, RunningStatus, STATUS_ENDING, StatusFile};

/// Between two statuses.
const WRITTEN_EVERY: Duration = Duration::from_secs(1);

/// A thread beside the run.
#[derive(Debug)]
pub(crate) struct StatusReporter {
    /// Dropped, it ends the thread.
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl StatusReporter {
    /// To be started by the holder of the checkpoint's lock.
    pub(crate) fn start(checkpoint: &Path, log: &LogWriter) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let mut asked = {
            let _inside = runtime.enter();
            signal(SignalKind::user_defined1())?
        };
        // Without the file, the run goes on all the same.
        let file = StatusFile::create(&path_beside(checkpoint, STATUS_ENDING)).ok();
        let (stop, mut stopped) = oneshot::channel::<()>();
        let (mut log, started) = (log.clone(), now());
        let thread = std::thread::spawn(move || {
            runtime.block_on(async move {
                let mut ticks = tokio::time::interval(WRITTEN_EVERY);
                loop {
                    tokio::select! {
                        _ = &mut stopped => return,
                        _ = asked.recv() => {
                            // In one piece: a bar is drawn again behind each.
                            let line = log.status().line + "\n";
                            let _ = log.write_all(line.as_bytes());
                        }
                        _ = ticks.tick() => {}
                    }
                    if let Some(file) = &file {
                        let pid = std::process::id();
                        file.write(&RunningStatus { pid, started: started.clone(), ..log.status() });
                    }
                }
            });
        });
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for StatusReporter {
    fn drop(&mut self) {
        drop(self.stop.take());
        let _ = self.thread.take().map(JoinHandle::join);
    }
}
