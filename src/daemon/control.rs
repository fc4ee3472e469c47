//! What commands ask of a running daemon, carried out between engine and state.
//!
//! Knows which request is under way and who waits for its answer. Does not know sockets, nor what a move does to a file.
//! Used by the driver.
//!
//! *Invariant:* one request is under way at a time, and each is answered once, or its asker is gone.

use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};
use tracing::info;

use crate::engine::port::{Event, Move, MoveId, Moved, NotMoved, Position};
use crate::model::identity::{Fingerprint, Identity, Window};
use crate::model::offset::Offset;
use crate::shell::control::{Answer, MoveRequest, Order, Page, Pages, Request, WirePosition};
use crate::shell::store::{DeadLetterId, PurgedPage, StoreError, Wanted};

use super::Daemon;

/// The requests of commands.
#[derive(Debug)]
pub(super) struct Control {
    orders: mpsc::Receiver<Order>,
    /// Who waits for the move with the number `moves`.
    mover: Option<oneshot::Sender<Answer>>,
    /// How many moves were asked for.
    moves: u64,
    /// Who waits for a page of dead letters to be deleted.
    purger: Option<oneshot::Sender<Answer>>,
    /// Whether the state is just deleting a page: its asker may have left.
    is_purging: bool,
}

impl Control {
    pub(super) fn new(orders: mpsc::Receiver<Order>) -> Self {
        Self { orders, mover: None, moves: 0, purger: None, is_purging: false }
    }

    /// The next request; `None` when nobody can ask any more.
    pub(super) async fn next(&mut self) -> Option<Order> {
        self.orders.recv().await
    }
}

impl Daemon {
    /// Begins what a command asks for.
    pub(super) fn obey(&mut self, Order { request, answer }: Order) {
        match request {
            Request::Move(asked) => {
                self.control.moves += 1;
                self.control.mover = Some(answer);
                let number = MoveId(self.control.moves);
                info!(path = %PathBuf::from(asked.path.clone()).display(), "a command moves a position");
                self.tell(Event::Move(Box::new(as_move(asked, number))));
            }
            Request::Purge(_) if self.control.is_purging => {
                let why = "the state directory does not answer an earlier command: look at its disk";
                let _ = answer.send(Answer::Failed(why.to_owned()));
            }
            Request::Purge(pages) => {
                self.control.is_purging = true;
                self.control.purger = Some(answer);
                self.tasks.order(super::state::Order::Purge(as_wanted(pages)));
            }
            Request::Replay(pages) => self.replay(pages, answer),
        }
    }

    /// A move was made durable, or refused.
    pub(super) fn moved(&mut self, number: MoveId, result: Result<Vec<Moved>, NotMoved>) {
        let answer = match result {
            Ok(moved) => Answer::Moved(moved.into_iter().map(in_words).collect()),
            Err(NotMoved::NoPosition) => Answer::NoPosition,
            Err(NotMoved::Stopping) => Answer::Failed(
                "the daemon is stopping, and moves no position any more: try again when it is gone"
                    .to_owned(),
            ),
        };
        // Of an earlier move nobody waits for the answer any more.
        if number.0 == self.control.moves
            && let Some(mover) = self.control.mover.take()
        {
            let _ = mover.send(answer);
        }
    }

    /// A page of dead letters was deleted: the engine learns of the room, and the command of the next page.
    pub(super) fn purged(&mut self, result: Result<PurgedPage, StoreError>) {
        let answer = match result {
            Ok(PurgedPage { count, bytes, freed, next }) => {
                self.tell(Event::DeadLettersDeleted(freed));
                Answer::Page(Page {
                    deleted: count as u64,
                    bytes,
                    next: next.map(as_pages),
                    ..Page::default()
                })
            }
            Err(error) => Answer::Failed(format!("{error}: the dead letters of this page are kept")),
        };
        self.control.is_purging = false;
        if let Some(purger) = self.control.purger.take() {
            let _ = purger.send(answer);
        }
    }
}

fn in_words(Moved { stream, from }: Moved) -> (String, Option<u64>) {
    (stream.to_string(), from.map(Offset::bytes))
}

fn as_move(asked: MoveRequest, number: MoveId) -> Move {
    let MoveRequest { path, target, stream, identity, to } = asked;
    let position = |WirePosition { offset, fingerprint, window }| Position {
        offset: Offset::new(offset),
        fingerprint: Fingerprint::from_parts(fingerprint.0, u128::from_be_bytes(fingerprint.1)),
        window: Window::from_parts(window.0, u128::from_be_bytes(window.1)),
    };
    Move {
        number,
        stream: stream.map(Arc::from),
        path: PathBuf::from(path).into(),
        target: target.map(|target| PathBuf::from(target).into()),
        identity: identity.map(|found| Identity {
            device: found.device,
            inode: found.inode,
            birth_nanos: found.birth_nanos,
        }),
        to: to.map(position),
    }
}

pub(super) fn as_wanted(Pages { stream, after, until, raw: _ }: Pages) -> Wanted {
    Wanted { stream: stream.map(Arc::from), after: DeadLetterId(after), until: until.map(DeadLetterId) }
}

pub(super) fn as_pages(Wanted { stream, after, until }: Wanted) -> Pages {
    Pages {
        stream: stream.map(|stream| stream.to_string()),
        after: after.0,
        until: until.map(|until| until.0),
        raw: false,
    }
}
