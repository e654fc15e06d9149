//! A slab of fixed room, and doubly linked lists threaded through its keys.

use std::ops::{Index, IndexMut};

/// Values at stable `u32` keys; allocates nothing while it holds no more than it was made for.
pub(crate) struct Slab<V> {
    slots: Vec<V>,
    used: u32,
    free: Vec<u32>,
}

impl<V> Slab<V> {
    pub(crate) fn new(capacity: u32) -> Self {
        Self {
            slots: Vec::with_capacity(capacity as usize),
            used: 0,
            free: Vec::with_capacity(capacity as usize),
        }
    }

    pub(crate) fn insert(&mut self, value: V) -> u32 {
        if let Some(key) = self.free.pop() {
            self[key] = value;
            return key;
        }
        let key = self.used;
        self.slots.push(value);
        self.used += 1;
        key
    }

    #[cfg(test)]
    pub(crate) fn room(&self) -> usize {
        self.slots.capacity() + self.free.capacity()
    }

    /// Lets `key` be used again.
    pub(crate) fn free(&mut self, key: u32) {
        self.free.push(key);
    }
}

impl<V> Index<u32> for Slab<V> {
    type Output = V;

    fn index(&self, key: u32) -> &V {
        &self.slots[key as usize]
    }
}

impl<V> IndexMut<u32> for Slab<V> {
    fn index_mut(&mut self, key: u32) -> &mut V {
        &mut self.slots[key as usize]
    }
}

/// "No neighbour" in a [`Link`], "no element" in a [`List`].
const NIL: u32 = u32::MAX;

#[derive(Clone, Copy)]
struct Link {
    prev: u32,
    next: u32,
}

/// The ends of one list.
#[derive(Clone, Copy)]
pub(crate) struct List {
    first: u32,
    last: u32,
}

impl List {
    pub(crate) const EMPTY: Self = Self {
        first: NIL,
        last: NIL,
    };

    pub(crate) fn first(self) -> Option<u32> {
        (self.first != NIL).then_some(self.first)
    }

    pub(crate) fn last(self) -> Option<u32> {
        (self.last != NIL).then_some(self.last)
    }

    pub(crate) fn is_empty(self) -> bool {
        self.first == NIL
    }
}

/// One link for each key of a slab; a key is in at most one list of its `Links` at a time.
pub(crate) struct Links(Vec<Link>);

impl Links {
    pub(crate) fn new(capacity: u32) -> Self {
        Self(vec![
            Link {
                prev: NIL,
                next: NIL
            };
            capacity as usize
        ])
    }

    pub(crate) fn push_back(&mut self, list: &mut List, key: u32) {
        self.0[key as usize] = Link {
            prev: list.last,
            next: NIL,
        };
        match list.last() {
            Some(last) => self.0[last as usize].next = key,
            None => list.first = key,
        }
        list.last = key;
    }

    pub(crate) fn remove(&mut self, list: &mut List, key: u32) {
        let Link { prev, next } = self.0[key as usize];
        if prev == NIL {
            list.first = next;
        } else {
            self.0[prev as usize].next = next;
        }
        if next == NIL {
            list.last = prev;
        } else {
            self.0[next as usize].prev = prev;
        }
    }
}
