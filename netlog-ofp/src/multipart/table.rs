//! The counters of tables (`OFPMP_TABLE`; OpenFlow 1.3.5, 7.3.5.4).

use crate::codec::{Put, Reader, Result};

/// The counters of a table (`ofp_table_stats`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TableStats {
    /// Which table.
    pub table_id: u8,
    /// How many flows it has.
    pub active_count: u32,
    /// How many packets were looked up in it.
    pub lookup_count: u64,
    /// How many of them a flow matched.
    pub matched_count: u64,
}

impl TableStats {
    pub(crate) fn decode(r: &mut Reader<'_>) -> Result<Self> {
        r.enter("ofp_table_stats");
        let table_id = r.u8()?;
        r.skip(3)?;
        Ok(Self {
            table_id,
            active_count: r.u32()?,
            lookup_count: r.u64()?,
            matched_count: r.u64()?,
        })
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        out.u8(self.table_id);
        out.zeros(3);
        out.u32(self.active_count);
        out.u64(self.lookup_count);
        out.u64(self.matched_count);
    }
}
