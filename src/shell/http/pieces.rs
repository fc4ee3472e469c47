//! The body of an answer: pieces that are shared with other answers.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use hyper::body::{Body, Bytes, Frame, SizeHint};

/// From this size on it matters who holds a piece.
const LARGE_BYTES: usize = 64 * 1024;

/// Pieces that are sent one behind the other. Nothing of them is copied on the way to the socket.
#[derive(Debug, Default)]
pub(super) struct Pieces(VecDeque<Bytes>);

impl From<Bytes> for Pieces {
    fn from(piece: Bytes) -> Self {
        [piece].into()
    }
}

impl<const N: usize> From<[Bytes; N]> for Pieces {
    fn from(pieces: [Bytes; N]) -> Self {
        Self(pieces.into_iter().filter(|piece| !piece.is_empty()).collect())
    }
}

/// What of an answer has not been written to its socket yet.
#[derive(Clone, Debug, Default)]
pub(super) struct Unread(Arc<Page>);

/// A page by where it lies in memory, which is as good as its name for as long as it is held.
#[derive(Debug, Default)]
struct Page {
    place: AtomicUsize,
    len: AtomicUsize,
}

impl Unread {
    /// The place and the size of the page that is being written; `None` when none is.
    pub(super) fn page(&self) -> Option<(usize, usize)> {
        let place = self.0.place.load(Ordering::Relaxed);
        (place != 0).then(|| (place, self.0.len.load(Ordering::Relaxed)))
    }
}

/// A piece on its way to a socket.
struct Held {
    piece: Bytes,
    unread: Unread,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.piece
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        // Another page may be on its way by now.
        let place = self.piece.as_ptr() as usize;
        let _ = self.unread.0.place.compare_exchange(place, 0, Ordering::Relaxed, Ordering::Relaxed);
    }
}

impl Pieces {
    #[cfg(test)]
    pub(super) fn shared(&self) -> Self {
        Self(self.0.clone())
    }

    /// Where the first piece is, and how long it is.
    #[cfg(test)]
    pub(super) fn place(&self) -> (usize, usize) {
        (self.0[0].as_ptr() as usize, self.0[0].len())
    }

    /// Notes the largest piece in `unread` until it is written; says whether it is large enough for that.
    pub(super) fn noted(mut self, unread: &Unread) -> (Self, bool) {
        let largest = self.0.iter_mut().max_by_key(|piece| piece.len());
        let Some(piece) = largest.filter(|piece| piece.len() >= LARGE_BYTES) else { return (self, false) };
        unread.0.len.store(piece.len(), Ordering::Relaxed);
        unread.0.place.store(piece.as_ptr() as usize, Ordering::Relaxed);
        *piece = Bytes::from_owner(Held { piece: piece.clone(), unread: unread.clone() });
        (self, true)
    }
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.0.pop_front().map(|piece| Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.0.iter().map(|piece| piece.len() as u64).sum())
    }
}
