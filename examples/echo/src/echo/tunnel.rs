//! A connection after its upgrade: an echo of WebSocket messages, or of bytes.

use std::{io, sync::Arc};

use http::{
    HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Version,
    header::{CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, UPGRADE},
};
use hyper::{body::Incoming, upgrade::OnUpgrade};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};

use super::{
    Phase,
    connection::Open,
    content::{self, Content},
};
use crate::websocket::{self, Frame, Opcode};

/// The protocol that the request wants to go on with: any but HTTP/2, which we speak without an upgrade.
pub(super) fn asked_for(request: &Request<Incoming>) -> Option<Protocol> {
    let headers = request.headers();
    let upgrade = headers.get(UPGRADE)?;
    if request.version() != Version::HTTP_11 || !names_upgrade(headers) || upgrade.as_bytes().starts_with(b"h2c") {
        return None;
    }
    if upgrade.as_bytes().eq_ignore_ascii_case(b"websocket") {
        let key = headers.get(SEC_WEBSOCKET_KEY).filter(|_| request.method() == Method::GET)?;
        let accept = websocket::accept(key.as_bytes());
        return Some(Protocol::WebSocket { accept });
    }
    Some(Protocol::Other(upgrade.clone()))
}

fn names_upgrade(headers: &HeaderMap) -> bool {
    let mut tokens =
        headers.get_all(CONNECTION).iter().filter_map(|value| value.to_str().ok()).flat_map(|v| v.split(','));
    tokens.any(|token| token.trim().eq_ignore_ascii_case("upgrade"))
}

pub(super) enum Protocol {
    WebSocket { accept: String },
    Other(HeaderValue),
}

/// Answers 101 and goes on from there.
pub(super) fn open(protocol: Protocol, upgrade: OnUpgrade, open: Arc<Open>) -> Response<Content> {
    let mut response = Response::new(content::whole(""));
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    match &protocol {
        Protocol::WebSocket { accept } => {
            headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
            headers.extend(HeaderValue::from_str(accept).ok().map(|accept| (SEC_WEBSOCKET_ACCEPT, accept)));
        }
        Protocol::Other(name) => drop(headers.insert(UPGRADE, name.clone())),
    }
    tokio::spawn(async move {
        let talk = async {
            let stream = BufReader::new(TokioIo::new(upgrade.await.map_err(io::Error::other)?));
            match protocol {
                Protocol::WebSocket { .. } => messages(stream, &open).await,
                Protocol::Other(_) => bytes(stream, &open).await,
            }
        };
        // A tunnel that breaks is the peer's business.
        tokio::select! {
            biased;
            () = open.run.until(Phase::Stopped) => {}
            _ = talk => {}
        }
    });
    response
}

/// Until the peer ends its side, or we stop.
async fn bytes(mut stream: impl AsyncRead + AsyncWrite + Unpin, open: &Open) -> io::Result<()> {
    let run = &open.run;
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let read = tokio::select! {
            biased;
            () = run.until(Phase::Stopping) => 0,
            read = stream.read(&mut buffer) => read?,
        };
        if read == 0 {
            return stream.shutdown().await;
        }
        stream.write_all(&buffer[..read]).await?;
        stream.flush().await?;
    }
}

/// Until either side closes.
async fn messages(mut stream: impl AsyncBufRead + AsyncWrite + Unpin, open: &Open) -> io::Result<()> {
    let run = &open.run;
    let mut going = false;
    loop {
        let frame = tokio::select! {
            biased;
            () = run.until(Phase::Stopping), if !going => None,
            // A frame that has begun is read to its end.
            begun = stream.fill_buf() => match begun?.is_empty() {
                true => return Ok(()),
                false => Some(Frame::read(&mut stream).await?),
            },
        };
        let (answer, last) = match frame {
            // The peer answers with its own close.
            None => {
                going = true;
                (Some(Frame::close(websocket::GOING_AWAY)), false)
            }
            Some(frame) => match frame.opcode {
                Opcode::Close => ((!going).then_some(frame), true),
                Opcode::Ping => (Some(Frame { opcode: Opcode::Pong, ..frame }), false),
                Opcode::Pong => (None, false),
                Opcode::Continuation | Opcode::Text | Opcode::Binary => (Some(frame), false),
            },
        };
        if let Some(answer) = answer {
            answer.write(&mut stream, None).await?;
        }
        if last {
            return stream.shutdown().await;
        }
    }
}
