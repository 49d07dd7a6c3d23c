//! A port that nobody else gets.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
};

use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use tokio::net::TcpListener;

/// More than any test opens at once: a full backlog would delay connections by whole seconds.
const BACKLOG: i32 = 4096;

/// An address, reserved for as long as this value lives. Connections to it are refused until [`Port::listen`], and again after
/// the listener is dropped.
///
/// The reservation is a socket that is bound and never listens: the kernel gives its port to nobody who asks for a free
/// one, as a listener or as the source of a connection, and lets a listener share it that asks for exactly this port.
#[derive(Debug)]
pub struct Port {
    address: SocketAddr,
    _reservation: Socket,
}

impl Port {
    /// A free loopback port.
    pub fn reserve() -> io::Result<Self> {
        Self::reserve_at(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))
    }

    /// `address`; its port 0 stands for any free one.
    pub fn reserve_at(address: SocketAddr) -> io::Result<Self> {
        let reservation = bound(address)?;
        let address = reservation.local_addr()?.as_socket().ok_or(io::ErrorKind::AddrNotAvailable)?;
        Ok(Self { address, _reservation: reservation })
    }

    /// Where it is.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Accepts connections from now on. Needs a tokio runtime.
    pub fn listen(&self) -> io::Result<TcpListener> {
        let socket = bound(self.address)?;
        socket.set_nonblocking(true)?;
        socket.listen(BACKLOG)?;
        TcpListener::from_std(socket.into())
    }
}

fn bound(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.bind(&SockAddr::from(address))?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpStream;

    use super::*;

    #[tokio::test]
    async fn a_reserved_port_refuses_then_listens_then_refuses_again() {
        let port = Port::reserve().unwrap();
        let refused = TcpStream::connect(port.address()).await.unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
        for _ in 0..3 {
            let listener = port.listen().unwrap();
            let _client = TcpStream::connect(port.address()).await.unwrap();
            let _server = listener.accept().await.unwrap();
            drop(listener);
            assert!(TcpStream::connect(port.address()).await.is_err());
        }
    }

    #[test]
    fn a_reserved_port_is_given_to_nobody_else() {
        let port = Port::reserve().unwrap();
        let others: Vec<_> = (0..2000).map_while(|_| std::net::TcpListener::bind(("127.0.0.1", 0)).ok()).collect();
        assert!(others.iter().all(|other| other.local_addr().unwrap() != port.address()));
    }
}
