//! The netlog command.
fn main() {}
