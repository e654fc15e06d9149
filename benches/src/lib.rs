//! What the benchmarks share: the frames, a site with ports and rules, the packet-ins of a switch,
//! each stage of the data path in memory, and the whole of it with a switch in another process.
//!
//! Everything here is deterministic: the same numbers give the same bytes, so that instruction
//! counts can be compared from one change to the next.

#![expect(
    clippy::cast_precision_loss,
    reason = "figures are rounded when they are shown"
)]

use std::env;
use std::str::FromStr;

pub mod floor;
pub mod frames;
pub mod instructions;
pub mod run;
pub mod site;
pub mod stages;
pub mod stream;
pub mod switch;
pub mod table;

/// The first number on the command line of a benchmark, to which Cargo adds `--bench`.
pub fn argument<N: FromStr>() -> Option<N> {
    env::args().skip(1).find_map(|arg| arg.parse().ok())
}

/// The name of a value on the command line.
pub fn name(value: impl clap::ValueEnum + Copy) -> String {
    value
        .to_possible_value()
        .map_or_else(String::new, |value| value.get_name().to_owned())
}
