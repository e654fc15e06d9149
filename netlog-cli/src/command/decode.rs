//! `netlog decode`: the headers of captured frames, as records show them.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};
use netlog_packet::{Fragment, Network, Packet, Payload, Summary, Transport};
use serde::Serialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::Streams;
use crate::capture::{Capture, CaptureError, Frame};
use crate::error::Error;

/// Files from this size on, in bytes, show a progress bar.
const LARGE: u64 = 4 << 20;

/// The arguments of `netlog decode`.
#[derive(Args, Debug)]
pub struct DecodeArgs {
    /// Read text with one frame a line in hex digits; blanks and colons between digits and
    /// what follows a '#' do not count
    #[arg(long)]
    pub hex: bool,
    /// How to print a frame
    #[arg(short, long, value_enum, default_value_t = Layout::Text)]
    pub format: Layout,
    /// Print payload too
    #[arg(long)]
    pub payload: bool,
    /// The capture (pcap or pcapng, Ethernet), or '-' for standard input
    pub file: PathBuf,
}

/// How a frame is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Layout {
    /// The time, if the capture has it, and the headers
    Text,
    /// 'pkt=' and the headers, byte for byte as Neutron logs them
    Neutron,
    /// One JSON object
    Json,
}

/// Prints one line for each frame of a capture. A damaged one gives what can be read
/// before it gives an error.
pub fn decode(args: &DecodeArgs, streams: &mut Streams<'_>) -> Result<(), Error> {
    let mut printer = Printer {
        layout: args.format,
        payload: if args.payload {
            Payload::Include
        } else {
            Payload::Omit
        },
        out: &mut *streams.stdout,
        frames: 0,
        text: Vec::new(),
    };
    if args.file == Path::new("-") {
        let failed = |cause: CaptureError| file_error(Path::new("standard input"), &cause);
        let bar = ProgressBar::hidden();
        return printer.print_all(&mut *streams.stdin, args.hex, &bar, failed);
    }
    let failed = |cause: CaptureError| file_error(&args.file, &cause);
    let file = File::open(&args.file).map_err(|cause| failed(cause.into()))?;
    let size = file.metadata().map_or(0, |metadata| metadata.len());
    // A bar amid the lines would only disturb them.
    let watched = streams
        .terminal
        .is_some_and(|terminal| terminal.shows_stderr && !terminal.shows_stdout);
    let bar = if size >= LARGE && watched {
        progress(size)
    } else {
        ProgressBar::hidden()
    };
    let done = printer.print_all(
        BufReader::with_capacity(1 << 18, file),
        args.hex,
        &bar,
        failed,
    );
    bar.finish_and_clear();
    done
}

fn file_error(path: &Path, cause: &CaptureError) -> Error {
    Error::File {
        path: path.to_owned(),
        cause: cause.to_string(),
    }
}

fn progress(size: u64) -> ProgressBar {
    let style = "{bar:40} {percent:>3}% of {total_bytes}, {eta} left";
    let style =
        ProgressStyle::with_template(style).unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(size).with_style(style)
}

/// Prints frames; its buffer is used again for each.
struct Printer<'a> {
    layout: Layout,
    payload: Payload,
    out: &'a mut dyn Write,
    frames: u64,
    text: Vec<u8>,
}

impl Printer<'_> {
    fn print_all(
        &mut self,
        reader: impl BufRead,
        hex: bool,
        bar: &ProgressBar,
        failed: impl Fn(CaptureError) -> Error,
    ) -> Result<(), Error> {
        let mut capture = if hex {
            Capture::open_hex(reader)
        } else {
            Capture::open(reader).map_err(&failed)?
        };
        while let Some(frame) = capture.next_frame().map_err(&failed)? {
            self.print(frame)?;
            bar.set_position(capture.position());
        }
        Ok(())
    }

    fn print(&mut self, frame: Frame<'_>) -> Result<(), Error> {
        self.frames += 1;
        let packet = Packet::decode(frame.data);
        let time = frame.time.and_then(rfc3339);
        self.text.clear();
        match (self.layout, &time) {
            (Layout::Text, Some(time)) => write!(self.text, "{time} ")?,
            (Layout::Neutron, _) => self.text.extend_from_slice(b"pkt="),
            (Layout::Text, None) | (Layout::Json, _) => {}
        }
        packet.write_text(self.payload, &mut self.text);
        if self.layout == Layout::Json {
            let headers = String::from_utf8_lossy(&self.text);
            let object = Object::new(self.frames, time.as_deref(), frame, &packet, &headers);
            serde_json::to_writer(&mut *self.out, &object).map_err(std::io::Error::from)?;
        } else {
            self.out.write_all(&self.text)?;
        }
        Ok(self.out.write_all(b"\n")?)
    }
}

fn rfc3339(nanoseconds: i128) -> Option<String> {
    let time = OffsetDateTime::from_unix_timestamp_nanos(nanoseconds).ok()?;
    time.format(&Rfc3339).ok()
}

/// A frame in JSON; what it does not have is left out.
#[derive(Serialize)]
struct Object<'a> {
    /// The frame's number in the capture, from 1.
    frame: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    timestamp: Option<&'a str>,
    /// Bytes on the wire.
    length: usize,
    /// Bytes in the capture.
    captured: usize,
    src_mac: String,
    dst_mac: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    vlan: Option<u16>,
    ethertype: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    src_ip: Option<IpAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dst_ip: Option<IpAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    protocol: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fragment: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    src_port: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dst_port: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    icmp_type: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    icmp_code: Option<u8>,
    /// The headers as text.
    headers: &'a str,
}

impl<'a> Object<'a> {
    fn new(
        number: u64,
        timestamp: Option<&'a str>,
        frame: Frame<'_>,
        packet: &Packet<'_>,
        headers: &'a str,
    ) -> Self {
        let Summary {
            dl_src,
            dl_dst,
            vlan,
            dl_type,
            network,
            protocol,
            fragment,
            transport,
            ..
        } = packet.summary();
        let (src_ip, dst_ip) = match network {
            Network::Ipv4 { src, dst } => (Some(src.into()), Some(dst.into())),
            Network::Ipv6 { src, dst } => (Some(src.into()), Some(dst.into())),
            Network::Arp { spa, tpa, .. } => (Some(spa.into()), Some(tpa.into())),
            Network::None => (None, None),
        };
        let (src_port, dst_port) = match transport {
            Transport::Tcp {
                src_port, dst_port, ..
            }
            | Transport::Udp { src_port, dst_port }
            | Transport::Sctp {
                src_port, dst_port, ..
            } => (Some(src_port), Some(dst_port)),
            _ => (None, None),
        };
        let (icmp_type, icmp_code) = match transport {
            Transport::Icmp { kind, code, .. } | Transport::Icmpv6 { kind, code, .. } => {
                (Some(kind), Some(code))
            }
            _ => (None, None),
        };
        Self {
            frame: number,
            timestamp,
            length: frame.length,
            captured: frame.data.len(),
            src_mac: dl_src.to_string(),
            dst_mac: dl_dst.to_string(),
            vlan,
            ethertype: dl_type,
            src_ip,
            dst_ip,
            protocol,
            fragment: match fragment {
                Fragment::None => None,
                Fragment::First => Some("first"),
                Fragment::Later => Some("later"),
            },
            src_port,
            dst_port,
            icmp_type,
            icmp_code,
            headers,
        }
    }
}
