//! The bounded queue that is fair between ports.

use std::collections::HashMap;

use foldhash::fast::FixedState;

use crate::Admission;
use crate::slab::{Links, List, Slab};

/// At most `capacity` events (more only after that was lowered), first in first out within a port, round robin between ports.
///
/// Everything is allocated when the queue is made, and every operation takes constant time,
/// whatever the number of ports: only ports that have something queued are known here, so there
/// are never more of them than events.
pub(crate) struct FairQueue<T> {
    capacity: u32,
    len: u32,
    events: Slab<Option<T>>,
    event_links: Links,
    ports: Slab<Port>,
    /// Keys in `ports` by port.
    keys: HashMap<u32, u32, FixedState>,
    /// Ports in the order in which they may release; the first is next.
    turns: List,
    turn_links: Links,
    /// Ports by how many events they have, the latest to reach that number last.
    by_length: Vec<List>,
    length_links: Links,
    /// How many events the port with most of them has.
    longest: u32,
}

/// A port that has something queued.
struct Port {
    number: u32,
    len: u32,
    /// Oldest first.
    events: List,
}

impl<T> FairQueue<T> {
    pub(crate) fn new(capacity: u32) -> Self {
        Self {
            capacity,
            len: 0,
            events: Slab::new(capacity),
            event_links: Links::new(capacity),
            ports: Slab::new(capacity),
            // Twice the room, so that the map tidies up in place and never grows.
            keys: HashMap::with_capacity_and_hasher(2 * capacity as usize, FixedState::default()),
            turns: List::EMPTY,
            turn_links: Links::new(capacity),
            by_length: vec![List::EMPTY; capacity as usize + 1],
            length_links: Links::new(capacity),
            longest: 0,
        }
    }

    /// Takes at most `capacity` events from now on. What is queued stays, be it more: the queue
    /// is then full until enough of it has left.
    pub(crate) fn set_capacity(&mut self, capacity: u32) {
        if capacity == self.capacity {
            return;
        }
        let room = capacity.max(self.len);
        // Taken in turn and put back in turn, events keep their order and ports their turns.
        let mut old = std::mem::replace(self, Self::new(room));
        while let Some((number, event)) = old.pop() {
            self.push(number, event);
        }
        self.capacity = capacity;
    }

    pub(crate) fn len(&self) -> u32 {
        self.len
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Queues `event`. When the queue is full the port with most events, counting this one, loses
    /// its newest; between equals the event that comes now yields.
    pub(crate) fn offer(&mut self, number: u32, event: T) -> Admission<T> {
        if self.len < self.capacity {
            self.push(number, event);
            return Admission::Queued;
        }
        let own = self.keys.get(&number).map_or(0, |&key| self.ports[key].len);
        if own + 1 >= self.longest {
            return Admission::Refused(event);
        }
        match self.evict() {
            Some((port, evicted)) => {
                self.push(number, event);
                Admission::QueuedEvicting {
                    port,
                    event: evicted,
                }
            }
            None => Admission::Refused(event),
        }
    }

    /// Takes the oldest event of the port whose turn it is, and ends that turn.
    pub(crate) fn pop(&mut self) -> Option<(u32, T)> {
        let key = self.turns.first()?;
        self.turn_links.remove(&mut self.turns, key);
        self.turn_links.push_back(&mut self.turns, key);
        let oldest = self.ports[key].events.first()?;
        self.take(key, oldest)
    }

    /// Takes the newest event of the port that has most.
    fn evict(&mut self) -> Option<(u32, T)> {
        let key = self.by_length[self.longest as usize].last()?;
        let newest = self.ports[key].events.last()?;
        self.take(key, newest)
    }

    fn push(&mut self, number: u32, event: T) {
        let key = if let Some(&key) = self.keys.get(&number) {
            key
        } else {
            let key = self.ports.insert(Port {
                number,
                len: 0,
                events: List::EMPTY,
            });
            self.keys.insert(number, key);
            self.turn_links.push_back(&mut self.turns, key);
            key
        };
        let slot = self.events.insert(Some(event));
        self.event_links
            .push_back(&mut self.ports[key].events, slot);
        self.len += 1;
        self.resize(key, self.ports[key].len + 1);
    }

    /// Takes the event in `slot` from the port at `key`.
    fn take(&mut self, key: u32, slot: u32) -> Option<(u32, T)> {
        let event = self.events[slot].take()?;
        let Port { number, len, .. } = self.ports[key];
        self.event_links.remove(&mut self.ports[key].events, slot);
        self.events.free(slot);
        self.len -= 1;
        self.resize(key, len - 1);
        if len == 1 {
            self.turn_links.remove(&mut self.turns, key);
            self.keys.remove(&number);
            self.ports.free(key);
        }
        Some((number, event))
    }

    /// Notes that the port at `key` has `len` events, one more or one less than before.
    fn resize(&mut self, key: u32, len: u32) {
        let old = std::mem::replace(&mut self.ports[key].len, len);
        if old > 0 {
            self.length_links
                .remove(&mut self.by_length[old as usize], key);
        }
        if len > 0 {
            self.length_links
                .push_back(&mut self.by_length[len as usize], key);
        }
        if len > self.longest || (old == self.longest && self.by_length[old as usize].is_empty()) {
            self.longest = len;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl<T> FairQueue<T> {
        fn room(&self) -> [usize; 3] {
            [self.events.room(), self.ports.room(), self.keys.capacity()]
        }
    }

    #[test]
    fn memory_does_not_grow_with_ports_or_events() {
        let mut queue = FairQueue::new(25);
        let room = queue.room();
        for port in 0..200_000 {
            let _ = queue.offer(port, port);
            let _ = queue.offer(port % 7, port);
            if port % 3 == 0 {
                queue.pop();
            }
        }
        assert_eq!(queue.len(), 25);
        assert_eq!(queue.room(), room);
    }

    #[test]
    fn a_queue_without_room_refuses() {
        let mut queue = FairQueue::new(0);
        assert_eq!(queue.offer(1, "event"), Admission::Refused("event"));
        assert_eq!(queue.pop(), None);
        assert_eq!(queue.evict(), None);
    }
}
