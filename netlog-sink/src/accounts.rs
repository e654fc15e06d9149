//! What became of records, by the producer's own divisions.

use std::fmt;

use crate::{Reason, Settled};

/// What became of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It was delivered.
    Written,
    /// It was not, for this reason.
    Failed(Reason),
}

/// Whoever wants to know what became of the records of each account.
///
/// Each record is told once, and that it was written only on the sink's thread. That it was not is
/// mostly told there too, once or twice a batch; of a batch that the queue refuses it is on the
/// producer's.
pub trait Accounts: Send + Sync + fmt::Debug {
    /// The fate of records is known: so many of each account.
    fn settle(&self, fate: Fate, settled: Settled<'_>);
}

/// For producers that have no accounts.
#[derive(Clone, Copy, Debug)]
pub struct NoAccounts;

impl Accounts for NoAccounts {
    fn settle(&self, _: Fate, settled: Settled<'_>) {
        settled.for_each(drop);
    }
}
