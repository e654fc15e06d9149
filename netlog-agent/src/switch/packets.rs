//! The thread that takes packet-ins: the hot path begins here, behind the
//! [thread that reads](super::reader).

use std::io::Read;
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::panic::resume_unwind;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::RecvTimeoutError;
use std::thread;
use std::time::Duration;

use netlog_ofp::{
    AsyncConfig, Backoff, Body, Config, Event, MessageType, PacketInFormat, PacketInReason,
};

use super::flows::CONTROLLER_ID;
use super::link::{Link, Lost, RECONNECT, Woken, wait};
use super::reader::{Inputs, Stopped, reader};
use super::{Board, Packets, Priority};
use crate::clock;
use crate::pipeline::Pipeline;

/// After this long without anything read, the switch has nothing more, and no record waits for the
/// next. Longer than packet-ins gather for.
const PAUSE: Duration = Duration::from_micros(500);

/// When to try again to send what the socket did not take.
const SEND_AGAIN: Duration = Duration::from_millis(10);

pub(super) struct Thread {
    socket: PathBuf,
    pipeline: Pipeline,
    priority: Priority,
    board: Arc<Board>,
    woken: UnixStream,
    backoff: Backoff,
}

impl Thread {
    pub(super) fn new(
        socket: PathBuf,
        pipeline: Pipeline,
        priority: Priority,
        board: Arc<Board>,
        woken: UnixStream,
    ) -> Self {
        Self {
            socket,
            pipeline,
            priority,
            board,
            woken,
            backoff: Backoff::new(RECONNECT.0, RECONNECT.1),
        }
    }

    pub(super) fn run(mut self) {
        // A byte says that the tables are there; the end of the stream, that we are not needed.
        if !matches!((&self.woken).read(&mut [0]), Ok(1)) {
            return;
        }
        loop {
            let lost = match self.serve() {
                Ok(Stopped) => break,
                Err(lost) => lost,
            };
            self.pipeline.begin(clock::monotonic());
            self.pipeline.idle();
            self.note(Packets::Lost(lost.to_string()));
            let until = clock::monotonic() + self.backoff.next_wait();
            if wait(&self.woken, Some(until)) == Woken::Other {
                break;
            }
        }
        self.pipeline.drain();
    }

    /// Tells the control thread how it stands.
    fn note(&self, packets: Packets) {
        self.board.lock().packets = packets;
        self.board.ring();
    }

    fn serve(&mut self) -> Result<Stopped, Lost> {
        // Asynchronous messages are asked for with SET_ASYNC and not with SET_CONFIG: that would
        // set the bridge's treatment of fragments as well. Both words are set, for any role.
        let action = 1 << PacketInReason::ACTION.0;
        let config = Config {
            setup: vec![
                Body::SetControllerId(CONTROLLER_ID),
                // The shortest: the socket holds most of them.
                Body::SetPacketInFormat(PacketInFormat::STANDARD),
                Body::SetAsync(AsyncConfig {
                    packet_in: [Some(action); 2],
                    ..AsyncConfig::default()
                }),
            ],
            ..Config::default()
        };
        let mut link = Link::connect(&self.socket, config)?;
        let socket = link.socket.try_clone().map_err(Lost::Thread)?;
        let woken = self.woken.try_clone().map_err(Lost::Thread)?;
        thread::scope(|scope| {
            let (reader, inputs) = reader(&socket, &woken, self.priority);
            let reader = thread::Builder::new()
                .name("reader".to_owned())
                .spawn_scoped(scope, || reader.run())
                .map_err(Lost::Thread)?;
            let taken = self.take(&mut link, &inputs);
            drop(inputs);
            // Wakes the reader, if it was not the first to end.
            let _ = socket.shutdown(Shutdown::Both);
            let read = reader.join().unwrap_or_else(|panic| resume_unwind(panic));
            taken.and(read)
        })
    }

    /// Takes what is read until the reader ends.
    fn take(&mut self, link: &mut Link, inputs: &Inputs) -> Result<(), Lost> {
        let mut pause = None;
        loop {
            // If it cannot, the reader learns so too, behind all that was read before.
            let _ = link.send();
            let unsent = link.connection.poll_transmit();
            let again = unsent.map(|_| clock::monotonic() + SEND_AGAIN);
            let deadlines = [
                pause,
                again,
                self.pipeline.deadline(),
                link.connection.poll_timeout(),
            ];
            match inputs.next(deadlines.into_iter().flatten().min()) {
                Ok(mut input) => {
                    let now = clock::monotonic();
                    let pipeline = &mut self.pipeline;
                    pipeline.begin(now);
                    let mut group = pipeline.group();
                    let taken = link.take(&mut input, now, &mut |packet| {
                        pipeline.packet_in(&packet, &mut group);
                    });
                    pipeline.work_off(&mut group);
                    drop(group);
                    taken?;
                    inputs.give_back(input);
                    self.pipeline.tick();
                    pause = Some(now + PAUSE);
                }
                Err(RecvTimeoutError::Timeout) => {
                    let now = clock::monotonic();
                    self.pipeline.begin(now);
                    self.pipeline.idle();
                    link.connection.handle_timeout(now)?;
                    pause = None;
                }
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
            }
            self.handle_events(link);
        }
    }

    fn handle_events(&mut self, link: &mut Link) {
        while let Some(event) = link.connection.poll_event() {
            match event {
                Event::Ready { .. } => {
                    self.backoff.reset();
                    self.note(Packets::Ready);
                }
                Event::Undecodable { header, .. }
                    if matches!(
                        header.message_type,
                        MessageType::PACKET_IN | MessageType::EXPERIMENTER
                    ) =>
                {
                    self.pipeline.malformed();
                }
                _ => {}
            }
        }
    }
}
