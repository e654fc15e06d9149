//! A switch: it shakes hands, takes log flows, and sends packet-ins as fast as they are taken.

use std::io::{self, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::thread;

use netlog_ofp::multipart::{MeterFeatures, MultipartReply, MultipartRequest};
use netlog_ofp::{
    Body, BundleControlType, Capabilities, Features, Hello, Message, Messages, PacketInFormat,
};

use crate::stream::{Stream, VERSION};

/// Messages in one write, as in the C floor.
const BURST: usize = 64;

/// Serves one agent, until the agent closes the connection that gets the packet-ins.
///
/// # Errors
/// When the socket cannot be made.
pub fn serve(socket: &Path, stream: Stream, records: u64) -> io::Result<()> {
    let listener = UnixListener::bind(socket)?;
    let (done, served) = std::sync::mpsc::channel();
    thread::spawn(move || {
        for connection in listener.incoming().flatten() {
            let (stream, done) = (stream.clone(), done.clone());
            thread::spawn(move || {
                let mut peer = Peer {
                    socket: connection,
                    wants_packets: false,
                };
                let result = peer.converse(stream, records);
                if peer.wants_packets {
                    // The other end waits until we are gone.
                    let _ = done.send(result);
                }
            });
        }
    });
    served.recv().unwrap_or(Ok(()))
}

struct Peer {
    socket: UnixStream,
    wants_packets: bool,
}

impl Peer {
    fn converse(&mut self, mut stream: Stream, records: u64) -> io::Result<()> {
        let mut input = vec![0; 1 << 17];
        let mut filled = 0;
        let mut poured = false;
        loop {
            let count = self.socket.read(&mut input[filled..])?;
            if count == 0 {
                return Ok(());
            }
            filled += count;
            let mut messages = Messages::new(&input[..filled]);
            let mut output = Vec::new();
            let mut ready = false;
            for message in messages.by_ref() {
                let message = message.map_err(io::Error::other)?;
                let message = Message::decode(message).map_err(io::Error::other)?;
                ready |= message.body == Body::BarrierRequest;
                self.wants_packets |=
                    message.body == Body::SetPacketInFormat(PacketInFormat::STANDARD);
                if let Some(reply) = reply(message.body) {
                    reply
                        .encode(VERSION, message.xid, &mut output)
                        .map_err(io::Error::other)?;
                }
            }
            let consumed = filled - messages.remainder().len();
            input.copy_within(consumed..filled, 0);
            filled -= consumed;
            self.socket.write_all(&output)?;
            if ready && self.wants_packets && !poured {
                poured = true;
                self.pour(&mut stream, records)?;
            }
        }
    }

    /// Sends so many packet-ins.
    fn pour(&mut self, stream: &mut Stream, records: u64) -> io::Result<()> {
        let mut left = usize::try_from(records).unwrap_or(usize::MAX);
        while left > 0 {
            stream.renew();
            let end = stream.len().min(left);
            for from in (0..end).step_by(BURST) {
                let to = end.min(from + BURST);
                self.socket.write_all(stream.slice(from, to))?;
            }
            left -= end;
        }
        Ok(())
    }
}

/// What a switch without flows says.
fn reply(body: Body) -> Option<Body> {
    Some(match body {
        Body::Hello(_) => Body::Hello(Hello::new(&[VERSION])),
        Body::FeaturesRequest => Body::FeaturesReply(Features {
            datapath_id: 1,
            n_buffers: 0,
            n_tables: 254,
            auxiliary_id: 0,
            capabilities: Capabilities::NONE,
        }),
        Body::BarrierRequest => Body::BarrierReply,
        Body::EchoRequest(data) => Body::EchoReply(data),
        Body::MultipartRequest { request, .. } => Body::MultipartReply {
            more: false,
            reply: match request {
                MultipartRequest::Flow(_) => MultipartReply::Flow(Vec::new()),
                MultipartRequest::FlowMonitor(_) => MultipartReply::FlowMonitor(Vec::new()),
                MultipartRequest::Table => MultipartReply::Table(Vec::new()),
                MultipartRequest::Meter(_) => MultipartReply::Meter(Vec::new()),
                MultipartRequest::MeterFeatures => {
                    MultipartReply::MeterFeatures(MeterFeatures::default())
                }
                _ => return None,
            },
        },
        Body::BundleControl(mut control) => {
            control.kind = BundleControlType(control.kind.0 + 1);
            Body::BundleControl(control)
        }
        _ => return None,
    })
}
