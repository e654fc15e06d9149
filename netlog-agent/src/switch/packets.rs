//! The thread that reads packet-ins: the hot path begins here.

use std::io::Read;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;

use netlog_ofp::{
    AsyncConfig, Backoff, Body, Config, Event, MessageType, PacketInFormat, PacketInReason,
};

use super::flows::CONTROLLER_ID;
use super::link::{Link, Lost, RECONNECT, Woken, wait};
use super::{Board, Packets};
use crate::clock;
use crate::pipeline::Pipeline;

/// The thread was told to stop.
struct Stopped;

pub(super) struct Thread {
    socket: PathBuf,
    pipeline: Pipeline,
    board: Arc<Board>,
    woken: UnixStream,
    backoff: Backoff,
}

impl Thread {
    pub(super) fn new(
        socket: PathBuf,
        pipeline: Pipeline,
        board: Arc<Board>,
        woken: UnixStream,
    ) -> Self {
        Self {
            socket,
            pipeline,
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
        // Open vSwitch keeps about three hundred packet-ins for a reader that is not there, and drops
        // the others, so that this thread goes first where it may. It costs far less than it is
        // sent: a flood is bounded by what Open vSwitch makes of it, or by the meters.
        let _ = rustix::process::nice(-10);
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
                Body::SetPacketInFormat(PacketInFormat::NXT_PACKET_IN2),
                Body::SetAsync(AsyncConfig {
                    packet_in: [action, action],
                    ..AsyncConfig::default()
                }),
            ],
            ..Config::default()
        };
        let mut link = Link::connect(&self.socket, config)?;
        loop {
            let now = clock::monotonic();
            let pipeline = &mut self.pipeline;
            pipeline.begin(now);
            if link.read(now, &mut |packet| pipeline.packet_in(&packet))? {
                self.pipeline.tick();
                self.handle_events(&mut link);
            } else {
                self.pipeline.idle();
                link.send()?;
                if link.wait(&self.woken, self.pipeline.deadline())? == Woken::Other {
                    return Ok(Stopped);
                }
                self.handle_events(&mut link);
            }
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
