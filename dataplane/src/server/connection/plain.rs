//! HTTP/1.1 as nearly everybody speaks it, without a general server: a head is read where it lies, and an answer is written
//! with its first piece. A head that is not plain (`wire/request.rs` says which is) is handed to hyper with all its bytes, and hyper
//! has the connection until it is silent for a while (`watchdog.rs`). What is wrong in a body ends the exchange here.

mod client;

use std::{
    cell::RefCell,
    future::{Future, poll_fn},
    mem,
    pin::{Pin, pin},
    rc::Rc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, Method, Response};
use http_body::{Body, Frame};

use super::{super::stream::Open, exchange::Line};
use crate::{
    body::{BodyError, RequestBody},
    pipeline::Answered,
    record::Recorded,
    wire::{self, Outgoing, RequestHead, Size, Told},
};
pub(in crate::server) use client::Client;
pub(crate) use client::ClientBody;

/// How a conversation ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The next request is not plain; nothing of it is taken.
    Unusual,
    /// The last answer is written.
    Last,
    /// The client has gone, or an answer broke off.
    Gone,
}

/// Answers one request after another.
pub(super) async fn converse(line: &Line, client: &Rc<RefCell<Client>>) -> End {
    let settings = &line.worker.settings.bounds;
    let bounds = wire::Bounds { bytes: settings.max_header_bytes, fields: settings.max_headers };
    // From answer to request: what one leaves the other takes.
    let mut spare = HeaderMap::new();
    let mut outgoing = Outgoing::default();
    loop {
        let head = poll_fn(|cx| client.borrow_mut().poll_head(cx, &mut spare, bounds)).await;
        let RequestHead { mut request, body, keep } = match head {
            Ok(head) => head,
            Err(end) => return end,
        };
        let open = Open::new(&line.pulse);
        line.connection.cut.set(false); // of a request before it that was not plain
        let head = request.method() == Method::HEAD;
        let empty = body.is_over();
        client.borrow_mut().expect(body);
        if !empty {
            let body = RequestBody::new(ClientBody::of(client), settings.body_idle_timeout, Some(open.clone()));
            *request.body_mut() = body.into();
        }
        let mut answering = pin!(line.exchange(request));
        let answer = poll_fn(|cx| match answering.as_mut().poll(cx) {
            Poll::Ready(answer) => Poll::Ready(Some(answer)),
            // Who has closed wants no answer any more: the backend is not kept busy for it.
            Poll::Pending if client.borrow_mut().is_gone(cx) => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        });
        let Some(Answered { mut answer, id }) = answer.await else { return End::Gone };
        let date = line.worker.date();
        let size = Size::of(answer.body());
        let last = !keep || !Client::goes_on(client);
        let mut told = Told { head, size, last, date: &date, id: &id };
        outgoing.begin(|text| wire::head_of_answer(text, &answer, &mut told));
        let last = told.last;
        mem::swap(&mut spare, answer.headers_mut());
        wire::empty(&mut spare);
        if !write(client, &mut outgoing, answer).await {
            return End::Gone;
        }
        if last || !(client.borrow_mut().is_ready() || is_read_over(client, settings.body_idle_timeout).await) {
            return End::Last;
        }
        drop(open);
        outgoing.shrink();
    }
}

/// Whether what is left of a request that is answered could be read, in this time.
async fn is_read_over(client: &RefCell<Client>, patience: Duration) -> bool {
    let over = poll_fn(|cx| client.borrow_mut().poll_ready(cx));
    tokio::time::timeout(patience, over).await.unwrap_or(false)
}

/// Writes what is left of an answer. False: it broke off, or the client has gone.
async fn write(client: &RefCell<Client>, outgoing: &mut Outgoing, answer: Response<Recorded>) -> bool {
    let mut body = answer.into_body();
    let mut over = outgoing.is_complete(); // 204, 304 and answers to HEAD have none, whatever it is
    poll_fn(|cx| {
        loop {
            let mut waits = false;
            // A first piece goes with the head, and small chunks go together.
            while !over && !waits && outgoing.has_room() {
                match take(outgoing, &mut body, cx) {
                    Poll::Ready(Ok(end)) => over = end,
                    Poll::Ready(Err(Broken)) => return Poll::Ready(false),
                    Poll::Pending => waits = true,
                }
            }
            let client = &mut *client.borrow_mut();
            match client.poll_write(cx, outgoing) {
                Poll::Ready(Ok(())) if over => return Poll::Ready(true),
                Poll::Ready(Ok(())) if !waits => continue,
                Poll::Ready(Err(_)) => return Poll::Ready(false),
                Poll::Ready(Ok(())) | Poll::Pending => {}
            }
            return if client.is_gone(cx) { Poll::Ready(false) } else { Poll::Pending };
        }
    })
    .await
}

struct Broken;

/// Takes the next piece of a body; true: it was the last.
fn take(outgoing: &mut Outgoing, body: &mut Recorded, cx: &mut Context<'_>) -> Poll<Result<bool, Broken>> {
    let piece: Option<Result<Frame<Bytes>, BodyError>> = ready!(Pin::new(&mut *body).poll_frame(cx));
    let taken = match piece.map(|piece| piece.map(Frame::into_data)) {
        Some(Ok(Ok(data))) => outgoing.push(data).and_then(|()| match body.is_end_stream() {
            true => outgoing.finish(None).map(|()| true),
            false if outgoing.is_complete() => {
                // It has nothing more to say, which it may want to be asked.
                drop(Pin::new(&mut *body).poll_frame(cx));
                Ok(true)
            }
            false => Ok(false),
        }),
        // Trailers are for who has asked for them, which is not plain.
        Some(Ok(Err(_))) | None => outgoing.finish(None).map(|()| true),
        Some(Err(_)) => return Poll::Ready(Err(Broken)),
    };
    Poll::Ready(taken.map_err(|_| Broken))
}
