//! Captures are written here by hand, byte by byte as the formats' drafts say.

use proptest::prelude::*;

use super::*;

type Shown = (Option<i128>, Vec<u8>, usize);

/// All frames that can be read, and the error that ends them.
fn read_all<R: BufRead>(
    capture: Result<Capture<R>, CaptureError>,
) -> (Vec<Shown>, Option<CaptureError>) {
    let mut frames = Vec::new();
    let mut capture = match capture {
        Ok(capture) => capture,
        Err(error) => return (frames, Some(error)),
    };
    loop {
        match capture.next_frame() {
            Ok(Some(frame)) => frames.push((frame.time, frame.data.to_vec(), frame.length)),
            Ok(None) => return (frames, None),
            Err(error) => return (frames, Some(error)),
        }
    }
}

fn open(bytes: &[u8]) -> (Vec<Shown>, Option<CaptureError>) {
    read_all(Capture::open(bytes))
}

fn open_hex(text: &str) -> (Vec<Shown>, Option<CaptureError>) {
    read_all(Ok(Capture::open_hex(text.as_bytes())))
}

/// Writes integers in one byte order.
struct Writer {
    big: bool,
    bytes: Vec<u8>,
}

impl Writer {
    fn u16(&mut self, value: u16) -> &mut Self {
        let bytes = if self.big {
            value.to_be_bytes()
        } else {
            value.to_le_bytes()
        };
        self.bytes.extend(bytes);
        self
    }

    fn u32(&mut self, value: u32) -> &mut Self {
        let bytes = if self.big {
            value.to_be_bytes()
        } else {
            value.to_le_bytes()
        };
        self.bytes.extend(bytes);
        self
    }

    fn raw(&mut self, bytes: &[u8]) -> &mut Self {
        self.bytes.extend(bytes);
        self
    }

    fn pcap(big: bool, magic: u32, link: u32) -> Self {
        let mut file = Self {
            big,
            bytes: Vec::new(),
        };
        file.u32(magic)
            .u16(2)
            .u16(4)
            .u32(0)
            .u32(0)
            .u32(65_535)
            .u32(link);
        file
    }

    fn record(&mut self, seconds: u32, fraction: u32, data: &[u8], length: u32) -> &mut Self {
        let captured = u32::try_from(data.len()).unwrap();
        self.u32(seconds)
            .u32(fraction)
            .u32(captured)
            .u32(length)
            .raw(data)
    }

    fn pcapng(big: bool) -> Self {
        let mut file = Self {
            big,
            bytes: Vec::new(),
        };
        file.section();
        file
    }

    fn section(&mut self) -> &mut Self {
        let big = self.big;
        self.block(0x0a0d_0d0a, |body| {
            body.big = big;
            body.u32(0x1a2b_3c4d)
                .u16(1)
                .u16(0)
                .u32(u32::MAX)
                .u32(u32::MAX);
        })
    }

    fn block(&mut self, kind: u32, write: impl FnOnce(&mut Self)) -> &mut Self {
        let mut body = Self {
            big: self.big,
            bytes: Vec::new(),
        };
        write(&mut body);
        while !body.bytes.len().is_multiple_of(4) {
            body.bytes.push(0);
        }
        let length = u32::try_from(body.bytes.len() + 12).unwrap();
        self.u32(kind).u32(length).raw(&body.bytes).u32(length)
    }

    fn interface(&mut self, link: u16, snap: u32, options: &[(u16, &[u8])]) -> &mut Self {
        self.block(1, |body| {
            body.u16(link).u16(0).u32(snap);
            for (code, value) in options {
                body.u16(*code)
                    .u16(u16::try_from(value.len()).unwrap())
                    .raw(value);
                while !body.bytes.len().is_multiple_of(4) {
                    body.bytes.push(0);
                }
            }
            body.u16(0).u16(0);
        })
    }

    fn enhanced(&mut self, interface: u32, time: u64, data: &[u8], length: u32) -> &mut Self {
        self.block(6, |body| {
            body.u32(interface)
                .u32(u32::try_from(time >> 32).unwrap())
                .u32(u32::try_from(time & 0xffff_ffff).unwrap())
                .u32(u32::try_from(data.len()).unwrap())
                .u32(length)
                .raw(data);
        })
    }
}

#[test]
fn pcap_in_both_byte_orders_and_units() {
    for big in [false, true] {
        for (magic, nanoseconds) in [(0xa1b2_c3d4, 7_000), (0xa1b2_3c4d, 7)] {
            let mut file = Writer::pcap(big, magic, 1);
            file.record(1_700_000_000, 7, b"first", 5)
                .record(1, 0, b"cut", 1500);
            let (frames, error) = open(&file.bytes);
            assert!(error.is_none(), "{error:?}");
            assert_eq!(
                frames,
                [
                    (
                        Some(1_700_000_000_000_000_000 + nanoseconds),
                        b"first".to_vec(),
                        5
                    ),
                    (Some(1_000_000_000), b"cut".to_vec(), 1500),
                ]
            );
        }
    }
}

#[test]
fn pcap_with_a_frame_check_sequence_is_ethernet() {
    let mut file = Writer::pcap(false, 0xa1b2_c3d4, 0x2400_0001);
    file.record(0, 0, b"x", 1);
    assert_eq!(open(&file.bytes).0.len(), 1);
}

#[test]
fn pcapng_in_both_byte_orders() {
    for big in [false, true] {
        let mut file = Writer::pcapng(big);
        file.interface(1, 0, &[(2, b"eth0"), (9, &[9])])
            .block(5, |body| {
                body.raw(b"statistics, of no interest");
            })
            .enhanced(0, 1_700_000_000_000_000_001, b"hello", 60);
        let (frames, error) = open(&file.bytes);
        assert!(error.is_none(), "{error:?}");
        assert_eq!(
            frames,
            [(Some(1_700_000_000_000_000_001), b"hello".to_vec(), 60)]
        );
    }
}

#[test]
fn pcapng_times_follow_the_interface() {
    let cases: [(u16, &[u8], u64, i128); 4] = [
        // Microseconds, for a comment says nothing of times.
        (1, b"comment", 1_500_000, 1_500_000_000),
        (9, &[3], 1_500, 1_500_000_000),
        // Units of 2^-10 s.
        (9, &[0x8a], 1_536, 1_500_000_000),
        (14, &[5, 0, 0, 0, 0, 0, 0, 0], 1_500_000, 6_500_000_000),
    ];
    for (option, value, units, nanoseconds) in cases {
        let mut file = Writer::pcapng(false);
        file.interface(1, 0, &[(option, value)])
            .enhanced(0, units, b"x", 1);
        assert_eq!(open(&file.bytes).0[0].0, Some(nanoseconds), "{option}");
    }
}

#[test]
fn pcapng_simple_packets_are_as_long_as_the_interface_captured() {
    let mut file = Writer::pcapng(true);
    file.interface(1, 3, &[])
        .block(3, |body| {
            body.u32(100).raw(b"abc");
        })
        .block(3, |body| {
            body.u32(2).raw(b"de");
        });
    let (frames, error) = open(&file.bytes);
    assert!(error.is_none(), "{error:?}");
    assert_eq!(
        frames,
        [(None, b"abc".to_vec(), 100), (None, b"de".to_vec(), 2)]
    );
}

#[test]
fn pcapng_sections_have_their_own_byte_order_and_interfaces() {
    let mut file = Writer::pcapng(true);
    file.interface(1, 0, &[]).enhanced(0, 1, b"big", 3);
    let mut second = Writer::pcapng(false);
    second.interface(1, 0, &[]).enhanced(0, 2, b"little", 6);
    file.raw(&second.bytes);
    let (frames, error) = open(&file.bytes);
    assert!(error.is_none(), "{error:?}");
    assert_eq!(frames[0].1, b"big");
    assert_eq!(frames[1].1, b"little");

    file.section().enhanced(0, 0, b"x", 1);
    file.big = false;
    let (frames, error) = open(&file.bytes);
    assert_eq!(frames.len(), 2);
    assert!(
        error
            .unwrap()
            .to_string()
            .contains("interface 0, which is not described")
    );
}

#[test]
fn a_capture_cut_anywhere_gives_the_frames_before() {
    let mut pcap = Writer::pcap(false, 0xa1b2_c3d4, 1);
    pcap.record(0, 0, b"first", 5).record(0, 0, b"second", 6);
    let mut pcapng = Writer::pcapng(false);
    pcapng
        .interface(1, 0, &[])
        .enhanced(0, 0, b"first", 5)
        .enhanced(0, 0, b"second", 6);
    // Where each part of the files ends, and how many frames there are by then.
    let pcap_ends = [(24, 0), (45, 1), (67, 2)];
    let pcapng_ends = [(28, 0), (52, 0), (92, 1), (132, 2)];
    for (file, ends) in [(&pcap.bytes, &pcap_ends[..]), (&pcapng.bytes, &pcapng_ends)] {
        assert_eq!(file.len(), ends.last().unwrap().0);
        for cut in 0..=file.len() {
            let (frames, error) = open(&file[..cut]);
            let whole = ends.iter().rev().find(|(end, _)| *end <= cut);
            assert_eq!(
                frames.len(),
                whole.map_or(0, |(_, frames)| *frames),
                "cut at {cut}"
            );
            match error {
                None => assert!(ends.iter().any(|(end, _)| *end == cut), "cut at {cut}"),
                Some(CaptureError::Unknown) => assert!(cut < 4),
                Some(error) => assert!(matches!(error, CaptureError::CutOff(_)), "{error}"),
            }
        }
    }
}

#[test]
fn damage_is_found_where_it_is() {
    let mut pcap = Writer::pcap(false, 0xa1b2_c3d4, 1);
    pcap.record(0, 0, b"first", 5)
        .u32(0)
        .u32(0)
        .u32(300_000)
        .u32(300_000);
    let (frames, error) = open(&pcap.bytes);
    assert_eq!(frames.len(), 1);
    assert_eq!(
        error.unwrap().to_string(),
        "damaged at byte 45: a frame of 300000 bytes"
    );

    let mut pcapng = Writer::pcapng(false);
    pcapng.interface(1, 0, &[]).enhanced(0, 0, b"first", 5);
    let block = pcapng.bytes.len();
    pcapng.enhanced(0, 0, b"second", 6);
    let cases = [
        (block + 4, 13, "a block of 13 bytes"),
        (block + 36, 44, "a block whose two lengths differ"),
        (block + 20, 200, "a block too short for its frame"),
        (
            block + 8,
            1,
            "a frame of interface 1, which is not described",
        ),
    ];
    for (at, value, cause) in cases {
        let mut file = pcapng.bytes.clone();
        file[at] = value;
        let (frames, error) = open(&file);
        assert_eq!(frames.len(), 1);
        assert_eq!(
            error.unwrap().to_string(),
            format!("damaged at byte {block}: {cause}")
        );
    }
}

#[test]
fn other_files_and_links_are_refused() {
    assert!(matches!(open(b"").1, Some(CaptureError::Unknown)));
    assert!(matches!(
        open(b"hello, world").1,
        Some(CaptureError::Unknown)
    ));
    let raw = Writer::pcap(false, 0xa1b2_c3d4, 101);
    assert!(matches!(
        open(&raw.bytes).1,
        Some(CaptureError::NotEthernet(101))
    ));
    let mut cooked = Writer::pcapng(true);
    cooked.interface(113, 0, &[]).enhanced(0, 0, b"x", 1);
    assert!(matches!(
        open(&cooked.bytes).1,
        Some(CaptureError::NotEthernet(113))
    ));
}

#[test]
fn hex_lines() {
    let (frames, error) = open_hex("# two frames\n\n00:1a 2B3c # one\r\n\tff\n");
    assert!(error.is_none(), "{error:?}");
    assert_eq!(
        frames,
        [(None, vec![0, 0x1a, 0x2b, 0x3c], 4), (None, vec![0xff], 1)]
    );
    for (text, error) in [
        ("00\n0x11\n", "line 2: 'x' is not a hex digit"),
        ("00\n\n111", "line 3: an odd number of hex digits"),
        ("00\n1é\n", "line 2: 'é' is not a hex digit"),
    ] {
        let (frames, found) = open_hex(text);
        assert_eq!(frames.len(), 1);
        assert_eq!(found.unwrap().to_string(), error);
    }
}

#[test]
fn a_line_without_an_end_is_refused() {
    let text = "0".repeat(5 * RECORD_LIMIT);
    assert!(matches!(
        open_hex(&text).1,
        Some(CaptureError::Hex { line: 1, .. })
    ));
}

/// A capture of each kind, to be damaged.
fn whole_captures() -> [Vec<u8>; 2] {
    let mut pcap = Writer::pcap(true, 0xa1b2_3c4d, 1);
    pcap.record(1, 2, b"first", 5).record(3, 4, b"second", 6);
    let mut pcapng = Writer::pcapng(true);
    pcapng
        .interface(1, 4, &[(9, &[0x9e]), (14, &[0xff; 8])])
        .enhanced(0, u64::MAX, b"first", 5)
        .block(3, |body| {
            body.u32(100).raw(b"abcd");
        });
    [pcap.bytes, pcapng.bytes]
}

proptest! {
    #[test]
    fn any_bytes_are_read_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        open(&bytes);
        read_all(Ok(Capture::open_hex(&bytes[..])));
    }

    #[test]
    fn any_damage_is_read_without_panic(
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        for mut file in whole_captures() {
            for (at, value) in &damage {
                let at = at.index(file.len());
                file[at] = *value;
            }
            let (frames, _) = open(&file);
            prop_assert!(frames.iter().map(|(_, data, _)| data.len()).sum::<usize>() <= file.len());
        }
    }
}
