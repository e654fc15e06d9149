//! Which connection makes room when there are too many.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// Connections whose callers are to act: to send a request, or to take an answer.
///
/// When there is no room for another connection, the one whose caller has kept the agent waiting
/// for longest makes room. So no number of callers who say nothing, or little at a time, keeps out
/// one who sends a request at once. A connection whose request is being worked on is left alone.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    queue: Mutex<Queue>,
    /// A caller is to act again.
    grown: Notify,
}

#[derive(Debug, Default)]
struct Queue {
    next: u64,
    connections: BTreeMap<u64, Arc<Notify>>,
}

impl Waiting {
    /// Has a connection make room, as soon as there is one that can.
    pub(super) async fn make_room(&self) {
        loop {
            if let Some((_, leave)) = self.queue().connections.pop_first() {
                leave.notify_one();
                return;
            }
            self.grown.notified().await;
        }
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn join(&self, leave: &Arc<Notify>) -> u64 {
        let mut queue = self.queue();
        queue.next += 1;
        let place = queue.next;
        queue.connections.insert(place, Arc::clone(leave));
        self.grown.notify_one();
        place
    }
}

/// A connection among those that wait for their callers.
#[derive(Clone, Debug)]
pub(super) struct Seat(Arc<Place>);

#[derive(Debug)]
struct Place {
    waiting: Arc<Waiting>,
    leave: Arc<Notify>,
    /// Its number in the queue.
    number: Mutex<u64>,
}

impl Seat {
    /// A new connection, whose caller is to send a request.
    pub(super) fn take(waiting: &Arc<Waiting>) -> Self {
        let leave = Arc::new(Notify::new());
        let number = Mutex::new(waiting.join(&leave));
        Self(Arc::new(Place {
            waiting: Arc::clone(waiting),
            leave,
            number,
        }))
    }

    /// The connection has to make room.
    pub(super) async fn given_up(&self) {
        self.0.leave.notified().await;
    }

    /// The caller has sent a request and waits for the agent, until what is returned is dropped.
    pub(super) fn working(&self) -> Working {
        self.0.leave_queue();
        Working(self.clone())
    }
}

impl Place {
    fn leave_queue(&self) {
        let number = self.number.lock().unwrap_or_else(PoisonError::into_inner);
        self.waiting.queue().connections.remove(&number);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.leave_queue();
    }
}

/// A request is worked on.
#[derive(Debug)]
pub(super) struct Working(Seat);

impl Drop for Working {
    /// It is the caller's turn again.
    fn drop(&mut self) {
        let place = &self.0.0;
        let mut number = place.number.lock().unwrap_or_else(PoisonError::into_inner);
        *number = place.waiting.join(&place.leave);
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    /// Whether it is done without anything else being done first.
    async fn done(work: impl Future<Output = ()>) -> bool {
        timeout(Duration::ZERO, work).await.is_ok()
    }

    #[tokio::test]
    async fn who_has_kept_us_waiting_for_longest_makes_room() {
        let waiting = Arc::new(Waiting::default());
        let [first, second, third] = [(); 3].map(|()| Seat::take(&waiting));
        // The first has sent a request, and is to act again since it was answered.
        drop(first.working());
        waiting.make_room().await;
        assert!(done(second.given_up()).await);
        assert!(!done(first.given_up()).await && !done(third.given_up()).await);
        // Whoever went by itself makes no more room.
        drop(third);
        waiting.make_room().await;
        assert!(done(first.given_up()).await);
    }

    #[tokio::test]
    async fn whose_request_is_worked_on_stays() {
        let waiting = Arc::new(Waiting::default());
        let seat = Seat::take(&waiting);
        let working = seat.working();
        assert!(!done(waiting.make_room()).await);
        drop(working);
        assert!(done(waiting.make_room()).await);
        assert!(done(seat.given_up()).await);
    }
}
