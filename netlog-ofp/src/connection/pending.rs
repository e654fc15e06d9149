//! Requests that wait for their answers.

use std::{collections::BTreeMap, time::Duration};

use super::RequestError;
use crate::{
    bundle::{BundleAdd, BundleControl, BundleControlType, BundleFlags},
    codec::DecodeError,
    error::ErrorMessage,
    flow_mod::FlowMod,
    header::{MessageTooLong, Version, Xid},
    message::Body,
    multipart::MultipartReply,
};

/// One request: a message or several, with xids in a row.
#[derive(Debug)]
pub(super) struct Pending {
    first: Xid,
    deadline: Duration,
    /// What is sent at first, in the order of the xids.
    bodies: Vec<Body>,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    /// One message that has an answer, of which so many bytes have come.
    Reply {
        parts: Option<MultipartReply>,
        length: usize,
    },
    /// Messages without answers, the last a barrier.
    Batch { refused: Option<Refused> },
    /// Open, messages, barrier; then, with one more xid, commit, or discard
    /// if something was refused.
    Bundle {
        bundle_id: u32,
        flags: BundleFlags,
        refused: Option<Refused>,
    },
}

/// The first message that was refused: its place among the xids, and why.
#[derive(Debug)]
struct Refused {
    place: usize,
    error: ErrorMessage,
}

/// What comes of a message that belongs to a request.
#[derive(Debug)]
pub(super) enum Step {
    /// More is to come.
    Wait,
    /// More is to be sent.
    Send(Xid, Body),
    /// It is done.
    Done,
    /// It is answered.
    Reply(Body),
    /// It has failed.
    Failed(RequestError),
}

impl Pending {
    /// A message that has an answer.
    pub(super) fn reply(body: Body) -> Self {
        let kind = Kind::Reply {
            parts: None,
            length: 0,
        };
        Self::new(vec![body], kind)
    }

    /// Messages that have no answers.
    pub(super) fn batch(mut bodies: Vec<Body>) -> Self {
        bodies.push(Body::BarrierRequest);
        Self::new(bodies, Kind::Batch { refused: None })
    }

    /// Changes that happen all or not at all.
    pub(super) fn bundle(bundle_id: u32, flags: BundleFlags, flow_mods: Vec<FlowMod>) -> Self {
        let open = control(bundle_id, flags, BundleControlType::OPEN_REQUEST);
        let adds = flow_mods.into_iter().map(|flow_mod| {
            Body::BundleAdd(BundleAdd {
                bundle_id,
                flags,
                message: Box::new(Body::FlowMod(flow_mod)),
                properties: Vec::new(),
            })
        });
        let bodies = std::iter::once(open)
            .chain(adds)
            .chain([Body::BarrierRequest])
            .collect();
        let kind = Kind::Bundle {
            bundle_id,
            flags,
            refused: None,
        };
        Self::new(bodies, kind)
    }

    const fn new(bodies: Vec<Body>, kind: Kind) -> Self {
        Self {
            first: Xid(0),
            deadline: Duration::ZERO,
            bodies,
            kind,
        }
    }

    /// How many xids it takes.
    pub(super) const fn span(&self) -> usize {
        match self.kind {
            Kind::Reply { .. } | Kind::Batch { .. } => self.bodies.len(),
            Kind::Bundle { .. } => self.bodies.len() + 1,
        }
    }

    /// Gives it its xids, beginning with `first`, and its time.
    pub(super) const fn begin(&mut self, first: Xid, deadline: Duration) {
        self.first = first;
        self.deadline = deadline;
    }

    /// Writes all that is sent at first.
    pub(super) fn encode(&self, version: Version, out: &mut Vec<u8>) -> Result<(), MessageTooLong> {
        (self.first.0..)
            .zip(&self.bodies)
            .try_for_each(|(xid, body)| body.encode(version, Xid(xid), out))
    }

    /// The place of `xid` among its xids.
    fn place(&self, xid: Xid) -> Option<usize> {
        let place = usize::try_from(xid.0.checked_sub(self.first.0)?).ok()?;
        (place < self.span()).then_some(place)
    }

    fn advance(&mut self, xid: Xid, reply: Body, length: usize, max_reply: usize) -> Step {
        let Some(place) = self.place(xid) else {
            return Step::Wait;
        };
        let barrier = self.bodies.len() - 1;
        match (&mut self.kind, reply) {
            (Kind::Reply { .. }, Body::Error(error)) => Step::Failed(RequestError::Refused {
                error,
                culprit: None,
            }),
            (
                Kind::Reply {
                    parts,
                    length: total,
                },
                reply,
            ) => {
                *total += length;
                if *total > max_reply {
                    return Step::Failed(RequestError::Reply);
                }
                if let [Body::MultipartRequest { request, .. }] = &self.bodies[..]
                    && let Body::MultipartReply { reply, .. } = &reply
                    && !request.is_answered_by(reply)
                {
                    return Step::Failed(RequestError::Reply);
                }
                add_part(parts, reply)
            }
            (Kind::Batch { refused } | Kind::Bundle { refused, .. }, Body::Error(error)) => {
                refused.get_or_insert(Refused { place, error });
                if place < barrier {
                    return Step::Wait;
                }
                self.finish()
            }
            (Kind::Batch { .. }, Body::BarrierReply) if place == barrier => self.finish(),
            (
                Kind::Bundle {
                    bundle_id,
                    flags,
                    refused,
                },
                Body::BarrierReply,
            ) if place == barrier => {
                let kind = match refused {
                    None => BundleControlType::COMMIT_REQUEST,
                    Some(_) => BundleControlType::DISCARD_REQUEST,
                };
                let next = Xid(xid.0.wrapping_add(1));
                Step::Send(next, control(*bundle_id, *flags, kind))
            }
            (Kind::Bundle { .. }, Body::BundleControl(_)) if place > barrier => self.finish(),
            _ => Step::Wait,
        }
    }

    /// The end of a batch or bundle.
    fn finish(&mut self) -> Step {
        let (refused, first) = match &mut self.kind {
            Kind::Reply { .. } => (None, 0),
            Kind::Batch { refused } => (refused.take(), 0),
            // The opening is not one of the caller's messages.
            Kind::Bundle { refused, .. } => (refused.take(), 1),
        };
        let Some(Refused { place, error }) = refused else {
            return Step::Done;
        };
        let callers = first..self.bodies.len() - 1;
        let culprit = callers.contains(&place).then(|| {
            let body = match self.bodies.swap_remove(place) {
                Body::BundleAdd(add) => add.message,
                body => Box::new(body),
            };
            (place - first, body)
        });
        Step::Failed(RequestError::Refused { error, culprit })
    }
}

/// Adds an answer, or a part of one, to what there is.
fn add_part(parts: &mut Option<MultipartReply>, reply: Body) -> Step {
    let whole = match (parts.take(), reply) {
        (None, Body::MultipartReply { more, reply }) => (more, reply),
        (None, reply) => return Step::Reply(reply),
        (Some(mut whole), Body::MultipartReply { more, reply }) => {
            if whole.append(reply).is_err() {
                return Step::Failed(RequestError::Reply);
            }
            (more, whole)
        }
        (Some(_), _) => return Step::Failed(RequestError::Reply),
    };
    match whole {
        (true, reply) => {
            *parts = Some(reply);
            Step::Wait
        }
        (more, reply) => Step::Reply(Body::MultipartReply { more, reply }),
    }
}

const fn control(bundle_id: u32, flags: BundleFlags, kind: BundleControlType) -> Body {
    Body::BundleControl(BundleControl {
        bundle_id,
        kind,
        flags,
        properties: Vec::new(),
    })
}

/// All requests that wait, by their first xid.
#[derive(Debug, Default)]
pub(super) struct Requests(BTreeMap<Xid, Pending>);

impl Requests {
    pub(super) fn insert(&mut self, pending: Pending) {
        self.0.insert(pending.first, pending);
    }

    /// The request that `xid` belongs to, by its first xid.
    pub(super) fn find(&self, xid: Xid) -> Option<Xid> {
        let (&first, pending) = self.0.range(..=xid).next_back()?;
        pending.place(xid).map(|_| first)
    }

    /// Brings the request `first` a step further with the message `xid`, and
    /// gives it time until `deadline` if it still waits then.
    pub(super) fn advance(
        &mut self,
        first: Xid,
        xid: Xid,
        reply: Result<Body, DecodeError>,
        length: usize,
        max_reply: usize,
        deadline: Duration,
    ) -> Step {
        let Some(pending) = self.0.get_mut(&first) else {
            return Step::Wait;
        };
        let step = match reply {
            Ok(reply) => pending.advance(xid, reply, length, max_reply),
            Err(error) => Step::Failed(error.into()),
        };
        match step {
            Step::Wait | Step::Send(..) => pending.deadline = deadline,
            Step::Done | Step::Reply(_) | Step::Failed(_) => {
                self.0.remove(&first);
            }
        }
        step
    }

    pub(super) fn next_deadline(&self) -> Option<Duration> {
        self.0.values().map(|pending| pending.deadline).min()
    }

    /// Gives up the requests whose time has come.
    pub(super) fn expire(&mut self, now: Duration) -> Vec<Xid> {
        let late = |pending: &&Pending| pending.deadline <= now;
        let late: Vec<_> = self.0.values().filter(late).map(|p| p.first).collect();
        for xid in &late {
            self.0.remove(xid);
        }
        late
    }

    /// Gives up all requests.
    pub(super) fn drain(&mut self) -> Vec<Xid> {
        std::mem::take(&mut self.0).into_keys().collect()
    }
}
