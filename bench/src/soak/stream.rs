//! A gRPC call that is open throughout: a message up, its echo down, and the next one.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context, bail, ensure};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use ravelin_echo::client::{Client, Protocol, Upload, request, upload};
use tokio::{sync::oneshot, task::JoinHandle, time::timeout};

/// An echo that takes longer is one that does not come.
const DEADLINE: Duration = Duration::from_secs(20);

pub(super) struct Call {
    stop: oneshot::Sender<()>,
    task: JoinHandle<anyhow::Result<u64>>,
}

impl Call {
    /// In the current runtime; returns once the first message is back.
    pub(super) async fn start(address: SocketAddr, host: &str, path: &str, every: Duration) -> anyhow::Result<Self> {
        let mut client = Client::connect(address, Protocol::Http2).await?.with_host(host);
        let (up, body) = upload();
        let headers = [("content-type", "application/grpc"), ("te", "trailers")];
        ensure!(up.send(message(0)).await, "nobody takes the first message");
        let answer = client.open(request(Method::POST, path, &headers, body)).await?;
        ensure!(answer.status() == 200, "not a 200: {}", answer.status());
        let mut down = answer.into_body();
        echoed(&mut down).await?;
        let (stop, stopped) = oneshot::channel();
        // The connection lives as long as its client.
        let task = tokio::spawn(async move {
            let told = beat(up, down, every, stopped).await;
            drop(client);
            told
        });
        Ok(Self { stop, task })
    }

    /// Messages that came back until the call was ended in order, with its trailers; an error if it broke before.
    pub(super) async fn stop(self) -> anyhow::Result<u64> {
        drop(self.stop);
        self.task.await?
    }
}

async fn beat(
    up: Upload,
    mut down: Incoming,
    every: Duration,
    mut stopped: oneshot::Receiver<()>,
) -> anyhow::Result<u64> {
    let mut ticks = tokio::time::interval(every);
    for number in 1_u64.. {
        tokio::select! {
            biased;
            _ = &mut stopped => {
                let ours = HeaderMap::from_iter([("grpc-status".parse()?, HeaderValue::from_static("0"))]);
                up.finish(ours).await;
                let trailers = trailers(&mut down).await?;
                ensure!(trailers.get("grpc-status").is_some_and(|status| status == "0"), "not its trailers: {trailers:?}");
                return Ok(number);
            }
            _ = ticks.tick() => {}
        }
        ensure!(up.send(message(number)).await, "message {number} is not taken");
        echoed(&mut down).await.with_context(|| format!("message {number}"))?;
    }
    bail!("there are no more numbers")
}

/// With the prefix of gRPC: not compressed, and its length.
fn message(number: u64) -> Bytes {
    [[0, 0, 0, 0, 8].as_slice(), &number.to_be_bytes()].concat().into()
}

/// With nothing before them but frames without data.
async fn trailers(down: &mut Incoming) -> anyhow::Result<HeaderMap> {
    loop {
        match timeout(DEADLINE, down.frame()).await?.context("no trailers")??.into_trailers() {
            Ok(trailers) => return Ok(trailers),
            Err(frame) => ensure!(frame.data_ref().is_some_and(Bytes::is_empty), "{frame:?} before the trailers"),
        }
    }
}

async fn echoed(down: &mut Incoming) -> anyhow::Result<()> {
    let mut missing = message(0).len();
    while missing > 0 {
        let frame = timeout(DEADLINE, down.frame()).await?.context("the call has ended")??;
        let data = frame.into_data().ok().context("trailers where a message was due")?;
        missing = missing.checked_sub(data.len()).context("more than was sent")?;
    }
    Ok(())
}
