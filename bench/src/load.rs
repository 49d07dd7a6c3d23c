//! The load: connections that each ask again as soon as they have an answer (closed loop), over raw HTTP/1.1.

use std::{
    cell::Cell,
    net::SocketAddr,
    rc::Rc,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::LocalSet,
};

/// What to send where.
#[derive(Clone)]
pub(crate) struct Target {
    pub(crate) address: SocketAddr,
    pub(crate) host: &'static str,
    /// Requests go to these in turn.
    pub(crate) paths: Rc<Vec<String>>,
}

/// Requests that were answered in `time` over `connections`.
pub(crate) fn run(target: &Target, connections: usize, time: Duration) -> anyhow::Result<u64> {
    let until = Instant::now() + time;
    ask_all(target, connections, move |_| Instant::now() < until)
}

/// `each` requests over each of the `connections`.
pub(crate) fn exactly(target: &Target, connections: usize, each: usize) -> anyhow::Result<u64> {
    ask_all(target, connections, move |done| done < each)
}

fn ask_all(target: &Target, connections: usize, again: impl Fn(usize) -> bool + Copy + 'static) -> anyhow::Result<u64> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let answered = Rc::new(Cell::new(0));
    LocalSet::new().block_on(&runtime, async {
        let tasks: Vec<_> = (0..connections)
            .map(|start| tokio::task::spawn_local(ask(target.clone(), start, again, Rc::clone(&answered))))
            .collect();
        for task in tasks {
            task.await??;
        }
        anyhow::Ok(())
    })?;
    Ok(answered.get())
}

/// `again` is asked with the number of answers so far.
async fn ask(
    target: Target,
    start: usize,
    again: impl Fn(usize) -> bool,
    answered: Rc<Cell<u64>>,
) -> anyhow::Result<()> {
    let mut stream = TcpStream::connect(target.address).await?;
    stream.set_nodelay(true)?;
    let requests: Vec<String> = target
        .paths
        .iter()
        .map(|path| format!("GET {path} HTTP/1.1\r\nhost: {}\r\nuser-agent: bench\r\naccept: */*\r\n\r\n", target.host))
        .collect();
    let mut buffer = Vec::with_capacity(16 << 10);
    for (done, request) in requests.iter().cycle().skip(start % requests.len()).enumerate() {
        stream.write_all(request.as_bytes()).await?;
        buffer.clear();
        let mut whole = None;
        while whole.is_none_or(|whole| buffer.len() < whole) {
            ensure!(stream.read_buf(&mut buffer).await? > 0, "the proxy closed a connection");
            if whole.is_none() {
                whole = length(&buffer)?;
            }
        }
        answered.set(answered.get() + 1);
        if !again(done + 1) {
            break;
        }
    }
    Ok(())
}

/// Bytes of the whole answer, once its head is here.
fn length(buffer: &[u8]) -> anyhow::Result<Option<usize>> {
    let Some(end) = buffer.windows(4).position(|four| four == b"\r\n\r\n") else { return Ok(None) };
    let head = std::str::from_utf8(&buffer[..end])?;
    ensure!(head.starts_with("HTTP/1.1 200"), "not a 200: {head}");
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
    });
    Ok(Some(end + 4 + length.context("an answer without a length")?))
}
