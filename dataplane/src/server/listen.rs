//! Listening sockets: one per worker and address, so that the kernel spreads connections and no worker waits for another.

use std::net::{SocketAddr, TcpListener};

use socket2::{Domain, Protocol, Socket, Type};

use super::{Addresses, Doors, StartError};
use crate::Settings;

/// Connections that wait to be accepted, at each worker; the kernel caps it (`net.core.somaxconn`).
const BACKLOG: i32 = 4096;

/// All listeners of a data plane. They are bound before anything runs, so that a start fails whole.
pub(super) struct Sockets {
    pub workers: Vec<Doors>,
    pub admin: Option<TcpListener>,
    pub probe: Option<TcpListener>,
    pub addresses: Addresses,
}

impl Sockets {
    pub(super) fn bind(settings: &Settings, workers: usize) -> Result<Self, StartError> {
        if let Some(admin) = settings.admin.filter(|admin| !admin.ip().is_loopback()) {
            return Err(StartError::AdminNotLoopback(admin));
        }
        let (http, mut plain) = bind("--http", settings.http, workers)?;
        let (https, mut secure) = bind("--https", settings.https, workers)?;
        let (admin, mut admins) = bind("--admin", settings.admin, 1)?;
        let (probe, mut probes) = bind("--probe", settings.probe, 1)?;
        let doors = (0..workers).map(|_| Doors { http: plain.pop(), https: secure.pop() }).collect();
        let addresses = Addresses { http, https, admin, probe };
        Ok(Self { workers: doors, admin: admins.pop(), probe: probes.pop(), addresses })
    }
}

/// `count` sockets on one address. Port 0 is chosen by the first.
fn bind(
    flag: &'static str,
    address: Option<SocketAddr>,
    count: usize,
) -> Result<(Option<SocketAddr>, Vec<TcpListener>), StartError> {
    let Some(mut address) = address else { return Ok((None, Vec::new())) };
    let failed = |source| StartError::Listen { flag, address, source };
    if count > 1 && address.port() != 0 {
        // Sockets that share a port do not see that another process has it; one that does not share it does.
        drop(open(address, false).map_err(failed)?);
    }
    let first = open(address, count > 1).map_err(failed)?;
    address = first.local_addr().map_err(failed)?;
    let mut all = vec![first];
    while all.len() < count {
        all.push(open(address, true).map_err(|source| StartError::Listen { flag, address, source })?);
    }
    Ok((Some(address), all))
}

fn open(address: SocketAddr, shared: bool) -> std::io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        // `[::]` is every address of the machine, IPv4 included.
        socket.set_only_v6(false)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(shared)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}
