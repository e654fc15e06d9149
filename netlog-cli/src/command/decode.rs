//! `netlog decode`: the headers of captured frames, as records show them.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};
use netlog_core::record::{self, Recorder, Timestamp, TimestampStyle};
use netlog_packet::{Packet, Payload};

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
    /// One flat JSON object
    Json,
    /// Elastic Common Schema, as JSON
    Ecs,
    /// Network Activity of the Open Cybersecurity Schema Framework, as JSON
    Ocsf,
}

impl From<Layout> for record::Layout {
    fn from(layout: Layout) -> Self {
        match layout {
            Layout::Text => Self::Text,
            Layout::Neutron => Self::Neutron,
            Layout::Json => Self::Json,
            Layout::Ecs => Self::Ecs,
            Layout::Ocsf => Self::Ocsf,
        }
    }
}

/// Prints one line for each frame of a capture: the record that the agent would write of it,
/// without what only the agent knows, which is the verdict, the port and who logs it. A
/// damaged capture gives what can be read before it gives an error.
pub fn decode(args: &DecodeArgs, streams: &mut Streams<'_>) -> Result<(), Error> {
    let format = record::Format {
        layout: args.format.into(),
        timestamp: TimestampStyle::Rfc3339,
        payload: if args.payload {
            Payload::Include
        } else {
            Payload::Omit
        },
        ..record::Format::default()
    };
    let mut printer = Printer {
        recorder: Recorder::new(format),
        out: &mut *streams.stdout,
        line: Vec::new(),
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
    recorder: Recorder,
    out: &'a mut dyn Write,
    line: Vec<u8>,
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
        let packet = Packet::decode(frame.data);
        // A record tells times up to 2262.
        let time = frame.time.and_then(|nanos| i64::try_from(nanos).ok());
        let time = time.map(|unix_nanos| Timestamp {
            unix_nanos,
            utc_offset: 0,
        });
        self.line.clear();
        self.recorder.write_packet(time, &packet, &mut self.line);
        Ok(self.out.write_all(&self.line)?)
    }
}
