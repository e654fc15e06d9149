//! Who made the switch (`OFPMP_DESC`; OpenFlow 1.3.5, 7.3.5.1).

use std::fmt;

use crate::codec::{Put, Reader, Result};

const DESC_STR_LEN: usize = 256;
const SERIAL_NUM_LEN: usize = 32;

/// Texts that describe a switch.
#[derive(Clone, PartialEq, Eq)]
pub struct Desc {
    /// Who made it.
    pub manufacturer: String,
    /// What the hardware is.
    pub hardware: String,
    /// What the software is: for Open vSwitch, its version.
    pub software: String,
    /// Its serial number.
    pub serial_number: String,
    /// What the datapath is.
    pub datapath: String,
}

impl Desc {
    pub(crate) fn decode(r: &mut Reader<'_>) -> Result<Self> {
        r.enter("ofp_desc");
        Ok(Self {
            manufacturer: text(r.take(DESC_STR_LEN)?),
            hardware: text(r.take(DESC_STR_LEN)?),
            software: text(r.take(DESC_STR_LEN)?),
            serial_number: text(r.take(SERIAL_NUM_LEN)?),
            datapath: text(r.take(DESC_STR_LEN)?),
        })
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        put_text(&self.manufacturer, DESC_STR_LEN, out);
        put_text(&self.hardware, DESC_STR_LEN, out);
        put_text(&self.software, DESC_STR_LEN, out);
        put_text(&self.serial_number, SERIAL_NUM_LEN, out);
        put_text(&self.datapath, DESC_STR_LEN, out);
    }
}

impl fmt::Debug for Desc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.hardware, self.software)
    }
}

fn text(bytes: &[u8]) -> String {
    let text = bytes.split(|&byte| byte == 0).next().unwrap_or_default();
    String::from_utf8_lossy(text).into_owned()
}

/// Writes `text` to a field of `length` bytes, cut so that a zero follows it.
fn put_text(text: &str, length: usize, out: &mut Vec<u8>) {
    let text = text.as_bytes();
    let text = text.get(..length - 1).unwrap_or(text);
    out.bytes(text);
    out.zeros(length - text.len());
}
