//! A thread that serves until it is dropped.

use std::io;
use std::os::unix::net::UnixStream;
use std::thread::{self, JoinHandle};

/// A thread that waits on a socket of ours beside its own business. Dropping the service closes
/// that socket, which tells the thread to end, and waits until it has.
#[derive(Debug)]
pub(crate) struct Service {
    /// Closing it wakes the thread.
    wake: Option<UnixStream>,
    thread: Option<JoinHandle<()>>,
}

impl Service {
    /// Starts `run` on a thread of this name. The stream that it is given ends when the service
    /// is dropped.
    ///
    /// # Errors
    /// When the system gives no thread or socket.
    pub(crate) fn start(
        name: &str,
        run: impl FnOnce(UnixStream) + Send + 'static,
    ) -> io::Result<Self> {
        let (wake, woken) = UnixStream::pair()?;
        let thread = thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || run(woken))?;
        Ok(Self {
            wake: Some(wake),
            thread: Some(thread),
        })
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.wake = None;
        if let Some(thread) = self.thread.take() {
            // A panic was reported by the panic hook.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn a_drop_wakes_the_thread_and_waits_for_it() {
        let (ended, end) = mpsc::channel();
        let service = Service::start("test", move |mut woken| {
            let told = woken.read(&mut [0]).unwrap();
            ended.send(told).unwrap();
        })
        .unwrap();
        assert!(end.try_recv().is_err());
        drop(service);
        assert_eq!(end.try_recv(), Ok(0));
    }
}
