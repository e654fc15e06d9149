//! The netlog agent.
fn main() {}
