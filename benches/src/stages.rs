//! Each stage of the data path alone and in memory, and all of them together.

use std::error::Error;
use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use clap::ValueEnum;
use netlog_agent::clock;
use netlog_core::classify::{Observation, Scratch};
use netlog_core::flow::Cookie;
use netlog_core::ledger::Ledger;
use netlog_core::record::{Format, Layout, Prefix, Recorder, Timestamp, port_text};
use netlog_core::rule::Direction;
use netlog_core::session::{SessionKey, SessionTable};
use netlog_ofp::{
    Body, Capabilities, Config, Connection, Features, Hello, Messages, PacketIn, Xid,
};
use netlog_packet::room::Buffer;
use netlog_packet::{Packet, Payload, Summary};
use netlog_ratelimit::{Admission, Limiter};
use netlog_sink::{FileSink, Retry, Worker};
use uuid::Uuid;

use crate::site;
use crate::stream::{Mix, Stream, VERSION};

/// Messages in a stream that a stage works through again and again.
const MESSAGES: usize = 4096;

/// Messages that a connection is given at once.
const READ_MESSAGES: usize = 64;

/// One step from a packet-in to a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Stage {
    /// The connection cuts the stream into messages and reads the packet-ins.
    Ofp,
    /// The facts of a frame that rules and sessions look at.
    Summary,
    /// The text of the headers.
    Text,
    /// Which log objects want the event, and which rule allowed it.
    Classify,
    /// The session table, with sessions that are all new.
    Session,
    /// The rate limit, when there is none.
    Limiter,
    /// A whole record as text.
    RecordText,
    /// A whole record as JSON.
    RecordJson,
    /// From the bytes of a read to batches, as text. The sink is closed and refuses them, so that
    /// no other thread takes part.
    PipelineText,
    /// The same as JSON.
    PipelineJson,
}

/// Works on so many records.
type Work = Box<dyn FnMut(usize)>;

/// A stage, ready to be run.
pub struct Prepared(Work);

impl Prepared {
    /// Runs the stage on so many records.
    pub fn run(&mut self, records: usize) {
        (self.0)(records);
    }
}

/// A stream and what the stages make of it.
struct Input {
    stream: Stream,
    frames: Vec<Vec<u8>>,
    seen: Vec<(Observation, Summary)>,
}

impl Input {
    fn new(mix: Mix, ports: u32) -> Result<Self, Box<dyn Error>> {
        let stream = Stream::new(mix, ports, MESSAGES)?;
        let (mut frames, mut seen) = (Vec::new(), Vec::new());
        for message in Messages::new(stream.bytes()) {
            let packet = PacketIn::parse(message?)?.ok_or("a packet-in")?;
            let observation = Observation {
                cookie: Cookie::from_bits(packet.cookie).ok_or("a cookie of ours")?,
                in_port: packet.metadata.in_port.0,
                port_register: packet.metadata.reg5,
                ct_state: packet.metadata.ct_state,
                ct_mark: packet.metadata.ct_mark,
            };
            seen.push((observation, Packet::decode(packet.data).summary()));
            frames.push(packet.data.to_vec());
        }
        Ok(Self {
            stream,
            frames,
            seen,
        })
    }
}

/// The format of records of this layout.
pub fn format(layout: Layout) -> Format {
    Format {
        layout,
        ..Format::default()
    }
}

impl Stage {
    /// Every stage.
    pub const ALL: [Self; 10] = [
        Self::Ofp,
        Self::Summary,
        Self::Text,
        Self::Classify,
        Self::Session,
        Self::Limiter,
        Self::RecordText,
        Self::RecordJson,
        Self::PipelineText,
        Self::PipelineJson,
    ];

    /// Makes the stage ready for packets like these.
    ///
    /// # Errors
    /// When the site does not suit; this is a bug. Or when the system gives no thread.
    pub fn prepare(self, mix: Mix, ports: u32) -> Result<Prepared, Box<dyn Error>> {
        let input = Input::new(mix, ports)?;
        Ok(Prepared(match self {
            Self::Ofp => ofp(input)?,
            Self::Summary => each(input.frames, |frame| {
                black_box(Packet::decode(black_box(frame)).summary());
            }),
            Self::Text => {
                let mut line = Buffer::with_capacity(4096);
                each(input.frames, move |frame| {
                    line.clear();
                    Packet::decode(black_box(frame)).write_text(Payload::Omit, &mut line);
                    black_box(&line);
                })
            }
            Self::Classify => classify(input, ports)?,
            Self::Session => session(input),
            Self::Limiter => {
                let mut limiter = Limiter::new(None);
                each(input.seen, move |(seen, _)| {
                    let admitted: Admission<[u64; 4]> =
                        limiter.admit(seen.cookie.slot, black_box([0; 4]), Duration::ZERO);
                    let _ = black_box(admitted);
                })
            }
            Self::RecordText => record(input, ports, Layout::Text)?,
            Self::RecordJson => record(input, ports, Layout::Json)?,
            Self::PipelineText => pipeline(input, ports, Layout::Text)?,
            Self::PipelineJson => pipeline(input, ports, Layout::Json)?,
        }))
    }
}

/// Works through `items` in turn.
fn each<T: 'static>(items: Vec<T>, mut work: impl FnMut(&T) + 'static) -> Work {
    let mut next = 0;
    Box::new(move |records| {
        for _ in 0..records {
            work(&items[next]);
            next = (next + 1) % items.len();
        }
    })
}

/// Works through the messages of a stream in pieces, as reads give them.
fn pieces(mut stream: Stream, renew: bool, mut work: impl FnMut(&[u8]) + 'static) -> Work {
    let mut next = 0;
    Box::new(move |records| {
        let mut left = records;
        while left > 0 {
            if next == 0 && renew {
                stream.renew();
            }
            let end = stream.len().min(next + left.min(READ_MESSAGES));
            work(stream.slice(next, end));
            left -= end - next;
            next = end % stream.len();
        }
    })
}

/// A connection that has shaken hands.
fn connection() -> Result<Connection, Box<dyn Error>> {
    let mut connection = Connection::new(Config::default(), Duration::ZERO);
    let features = Features {
        datapath_id: 1,
        n_buffers: 0,
        n_tables: 254,
        auxiliary_id: 0,
        capabilities: Capabilities::NONE,
    };
    let handshake = [
        Body::Hello(Hello::new(&[VERSION])),
        Body::FeaturesReply(features),
        Body::BarrierReply,
    ];
    let mut bytes = Vec::new();
    // The connection counts its messages from 1.
    for (xid, body) in (1..).zip(handshake) {
        body.encode(VERSION, Xid(xid), &mut bytes)?;
    }
    connection.handle_input(&bytes, Duration::ZERO, &mut |_| ())?;
    if !connection.is_ready() {
        return Err("the connection is not ready".into());
    }
    Ok(connection)
}

fn ofp(input: Input) -> Result<Work, Box<dyn Error>> {
    let mut connection = connection()?;
    Ok(pieces(input.stream, false, move |bytes| {
        let handled = connection.handle_input(black_box(bytes), Duration::ZERO, &mut |packet| {
            black_box(packet);
        });
        assert_eq!(handled, Ok(bytes.len()));
    }))
}

fn classify(input: Input, ports: u32) -> Result<Work, Box<dyn Error>> {
    let tables = site::tables(ports, Format::default(), &Ledger::default())?;
    let mut scratch = Scratch::default();
    Ok(each(input.seen, move |(seen, summary)| {
        tables.classify(black_box(seen), summary, &mut scratch, |event| {
            black_box(event.prefix);
        });
    }))
}

fn session(input: Input) -> Work {
    let mut table = SessionTable::new(
        SessionTable::DEFAULT_CAPACITY,
        SessionTable::DEFAULT_IDLE,
        7,
    );
    let mut number = 0_u32;
    each(input.seen, move |(seen, summary)| {
        number += 1;
        let mut summary = *summary;
        if let netlog_packet::Transport::Tcp { seq, .. } = &mut summary.transport {
            *seq = number;
        }
        if let Some(key) = SessionKey::new(seen.cookie.slot, Direction::Ingress, &summary) {
            black_box(table.see(&key, Duration::from_millis(number.into())));
        }
    })
}

fn record(input: Input, ports: u32, layout: Layout) -> Result<Work, Box<dyn Error>> {
    let format = format(layout);
    let tables = site::tables(ports, format, &Ledger::default())?;
    let (mut head, mut port, mut tail) = (Vec::new(), port_text(Uuid::nil()), Vec::new());
    if let Some((seen, summary)) = input.seen.first() {
        tables.classify(seen, summary, &mut Scratch::default(), |event| {
            let Prefix {
                head: before,
                port: own,
                tail: behind,
            } = event.prefix;
            (head, port, tail) = (before.to_vec(), *own, behind.to_vec());
        });
    }
    let mut recorder = Recorder::new(format);
    let mut line = Buffer::with_capacity(4096);
    let time = Timestamp {
        unix_nanos: 1_525_511_107_123_456_789,
        utc_offset: 0,
    };
    Ok(each(input.frames, move |frame| {
        line.clear();
        recorder.write(
            time,
            &Prefix {
                head: &head,
                port: &port,
                tail: &tail,
            },
            &Packet::decode(black_box(frame)),
            &mut line,
        );
        black_box(&line);
    }))
}

fn pipeline(input: Input, ports: u32, layout: Layout) -> Result<Work, Box<dyn Error>> {
    let format = format(layout);
    let ledger = Arc::new(Ledger::default());
    let sink = Worker::spawn(FileSink::open("/dev/null")?, 1, Retry::default())?;
    let tables = Arc::new(site::tables(ports, format, &ledger)?);
    let mut pipeline = site::pipeline(&tables, format, &ledger, sink.handle());
    sink.close(Duration::from_secs(60))?;
    let mut connection = connection()?;
    let mut work = pieces(input.stream, true, move |bytes| {
        let now = clock::monotonic();
        pipeline.begin(now);
        let mut group = pipeline.group();
        let handled = connection.handle_input(bytes, now, &mut |packet| {
            pipeline.packet_in(&packet, &mut group);
        });
        pipeline.work_off(&mut group);
        assert_eq!(handled, Ok(bytes.len()));
        pipeline.tick();
    });
    let mut records = 0;
    Ok(Box::new(move |more| {
        work(more);
        records += more as u64;
        let recorded = ledger.totals().recorded;
        assert_eq!(
            recorded, records,
            "every session is new, and a rule allows it"
        );
    }))
}
