//! The thread that reads packet-ins: the hot path begins here.

use std::io::Read;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use netlog_ofp::{
    AsyncConfig, Backoff, Body, Config, Event, MessageType, PacketInFormat, PacketInReason,
};
use thread_priority::{
    RealtimeThreadSchedulePolicy, ThreadPriority, ThreadSchedulePolicy,
    set_thread_priority_and_policy, thread_native_id,
};

use super::flows::CONTROLLER_ID;
use super::link::{Link, Lost, RECONNECT, Woken, wait};
use super::{Board, Packets, Priority};
use crate::clock;
use crate::pipeline::Pipeline;

/// How long packet-ins are let gather after the last were read: many are read at once for less than
/// one at a time. At its fastest, Open vSwitch sends about sixty meanwhile, and keeps a few hundred.
const GATHER: Duration = Duration::from_micros(250);

/// The thread was told to stop.
struct Stopped;

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
        if self.priority == Priority::RealTime {
            go_first();
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
                Body::SetPacketInFormat(PacketInFormat::NXT_PACKET_IN2),
                Body::SetAsync(AsyncConfig {
                    packet_in: [Some(action); 2],
                    ..AsyncConfig::default()
                }),
            ],
            ..Config::default()
        };
        let mut link = Link::connect(&self.socket, config)?;
        let mut found = false;
        loop {
            let now = clock::monotonic();
            let pipeline = &mut self.pipeline;
            pipeline.begin(now);
            if link.read(now, &mut |packet| pipeline.packet_in(&packet))? {
                self.pipeline.tick();
                self.handle_events(&mut link);
                found = true;
            } else if std::mem::take(&mut found) {
                if wait(&self.woken, Some(now + GATHER)) == Woken::Other {
                    return Ok(Stopped);
                }
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

/// Has this thread run in real time, at the least such priority, where the system allows it.
fn go_first() {
    let real_time = ThreadSchedulePolicy::Realtime(RealtimeThreadSchedulePolicy::RoundRobin);
    let least = ThreadPriority::Min;
    if let Err(refused) = set_thread_priority_and_policy(thread_native_id(), least, real_time) {
        tracing::info!("packet-ins are read at an ordinary priority: {refused:?}");
    }
}
