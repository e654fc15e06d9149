//! Reads that nobody waits for.

use std::slice;

use prefetch_index::prefetch_index;

/// Has the processor fetch the cache line in which a value begins. It changes nothing else.
#[inline]
pub(crate) fn prefetch<T>(value: &T) {
    prefetch_index(slice::from_ref(value), 0);
}
