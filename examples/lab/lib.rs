//! The live lab.
