//! What a pipeline makes of packet-ins does not depend on how many it is given at once.

use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use std::{fs, iter};

use netlog_benches::site;
use netlog_benches::stream::{Mix, Stream};
use netlog_core::ledger::{Ledger, Totals};
use netlog_core::record::{Format, Layout};
use netlog_ofp::{Messages, PacketIn};
use netlog_sink::{FileSink, Retry, Worker};

const PORTS: u32 = 7;

/// Packets of every kind, which each come twice: once among the next few, once much later.
fn packets(stream: &Stream) -> Result<Vec<PacketIn<'_>>, Box<dyn Error>> {
    let packets = Messages::new(stream.bytes())
        .map(|message| Ok(PacketIn::parse(message?)?.ok_or("a packet-in")?))
        .collect::<Result<Vec<_>, Box<dyn Error>>>()?;
    let near = packets.chunks(3).flat_map(|few| few.iter().chain(few));
    Ok(near.chain(&packets).copied().collect())
}

/// Gives a pipeline packet-ins in reads of this size, and returns what is counted and written.
fn records(
    packets: &[PacketIn<'_>],
    read: usize,
    path: &Path,
) -> Result<(Totals, String), Box<dyn Error>> {
    let format = Format {
        // The time does not stand in it.
        layout: Layout::Neutron,
        ..Format::default()
    };
    let ledger = Arc::new(Ledger::default());
    let worker = Worker::spawn(FileSink::open(path)?, 64, Retry::default())?;
    let tables = Arc::new(site::tables(PORTS, format, &ledger)?);
    let mut pipeline = site::pipeline(&tables, format, &ledger, worker.handle());
    for packets in packets.chunks(read) {
        pipeline.begin(Duration::ZERO);
        let mut group = pipeline.group();
        for packet in packets {
            pipeline.packet_in(packet, &mut group);
        }
        pipeline.work_off(&mut group);
        pipeline.tick();
    }
    pipeline.idle();
    worker.close(Duration::from_secs(60))?;
    Ok((ledger.totals(), fs::read_to_string(path)?))
}

#[test]
fn records_do_not_depend_on_how_many_packet_ins_come_at_once() -> Result<(), Box<dyn Error>> {
    let directory = tempfile::tempdir()?;
    let stream = Stream::new(Mix::Mixed, PORTS, 100)?;
    let packets = packets(&stream)?;
    let alone = records(&packets, 1, &directory.path().join("alone"))?;
    assert_eq!(alone.0.recorded, 100, "one record for each session");
    assert_eq!(alone.0.events.folded, 200, "its repeats fold into it");
    assert_eq!(alone.1.lines().count(), 100);
    let sizes = (2..40).chain(iter::once(packets.len()));
    for read in sizes {
        let path = directory.path().join(read.to_string());
        assert_eq!(records(&packets, read, &path)?, alone, "reads of {read}");
    }
    Ok(())
}
