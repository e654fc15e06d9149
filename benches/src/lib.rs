//! What the benchmarks share: the frames, a site with ports and rules, the packet-ins of a switch,
//! each stage of the data path in memory, and the whole of it with a switch in another process.
//!
//! Everything here is deterministic: the same numbers give the same bytes, so that instruction
//! counts can be compared from one change to the next.

#![expect(
    clippy::cast_precision_loss,
    reason = "figures are rounded when they are shown"
)]

use std::alloc::System;
use std::env;
use std::str::FromStr;

use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

pub mod floor;
pub mod frames;
pub mod instructions;
pub mod run;
pub mod site;
pub mod stages;
pub mod stream;
pub mod switch;
pub mod table;

/// The system's, which counts for all threads.
#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// How often memory was allocated or became larger in this process so far.
pub fn allocations() -> usize {
    let stats = ALLOCATOR.stats();
    stats.allocations + stats.reallocations
}

/// How many bytes are allocated in this process now.
pub fn allocated_bytes() -> usize {
    let stats = ALLOCATOR.stats();
    stats.bytes_allocated - stats.bytes_deallocated
}

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
