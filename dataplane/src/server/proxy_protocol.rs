//! PROXY protocol, versions 1 and 2 (haproxy's proxy-protocol.txt): who the client is, from a peer that may say so.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use tokio::io::{AsyncRead, AsyncReadExt};

const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";

/// The longest line of version 1, CRLF included.
const MAX_LINE: usize = 107;

/// Of version 2, after its 16 fixed bytes: addresses and what is added to them.
const MAX_REST: usize = 4096;

/// Client and destination; `None`: the peer speaks for itself (health checks).
pub(super) type Named = Option<(SocketAddr, SocketAddr)>;

/// Why a connection that has to begin with a header is closed.
#[derive(Debug, thiserror::Error)]
pub(super) enum BadHeader {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("it does not begin with a PROXY protocol header")]
    Absent,
    #[error("its PROXY protocol header is malformed")]
    Malformed,
}

/// Reads the header and not one byte more. The caller sets the time.
pub(super) async fn read(stream: &mut (impl AsyncRead + Unpin)) -> Result<Named, BadHeader> {
    let mut start = [0; 12];
    stream.read_exact(&mut start).await?;
    if start == *SIGNATURE {
        return binary(stream).await;
    }
    if !start.starts_with(b"PROXY ") {
        return Err(BadHeader::Absent);
    }
    let mut line = [0; MAX_LINE];
    line[..12].copy_from_slice(&start);
    for end in 12..MAX_LINE {
        // Byte by byte: what follows is not ours.
        line[end] = stream.read_u8().await?;
        if line[end] == b'\n' {
            return text(&line[..=end]).ok_or(BadHeader::Malformed);
        }
    }
    Err(BadHeader::Malformed)
}

/// `PROXY TCP4 192.0.2.1 192.0.2.2 40000 443\r\n`
fn text(line: &[u8]) -> Option<Named> {
    let line = str::from_utf8(line.strip_suffix(b"\r\n")?).ok()?;
    let mut words = line.split(' ').skip(1);
    let family = words.next()?;
    if family == "UNKNOWN" {
        return Some(None);
    }
    let (from, to): (IpAddr, IpAddr) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    let (from_port, to_port) = (port(words.next()?)?, port(words.next()?)?);
    let fits = match family {
        "TCP4" => from.is_ipv4() && to.is_ipv4(),
        "TCP6" => from.is_ipv6() && to.is_ipv6(),
        _ => false,
    };
    (fits && words.next().is_none()).then_some(Some((SocketAddr::new(from, from_port), SocketAddr::new(to, to_port))))
}

fn port(word: &str) -> Option<u16> {
    word.bytes().all(|byte| byte.is_ascii_digit()).then(|| word.parse().ok())?
}

async fn binary(stream: &mut (impl AsyncRead + Unpin)) -> Result<Named, BadHeader> {
    let mut fixed = [0; 4];
    stream.read_exact(&mut fixed).await?;
    let [version_command, family, high, low] = fixed;
    let length = usize::from(u16::from_be_bytes([high, low]));
    if version_command >> 4 != 2 || length > MAX_REST {
        return Err(BadHeader::Malformed);
    }
    let mut rest = vec![0; length];
    stream.read_exact(&mut rest).await?;
    match version_command & 15 {
        0 => Ok(None), // LOCAL
        1 => addresses(family, &rest).ok_or(BadHeader::Malformed),
        _ => Err(BadHeader::Malformed),
    }
}

/// What stands after the addresses (TLVs) is not read.
fn addresses(family: u8, rest: &[u8]) -> Option<Named> {
    let port = |at: usize| Some(u16::from_be_bytes(rest.get(at..at + 2)?.try_into().ok()?));
    match family {
        0x11 => {
            let ip = |at: usize| Some(Ipv4Addr::from(<[u8; 4]>::try_from(rest.get(at..at + 4)?).ok()?));
            Some(Some((SocketAddr::from((ip(0)?, port(8)?)), SocketAddr::from((ip(4)?, port(10)?)))))
        }
        0x21 => {
            let ip = |at: usize| Some(Ipv6Addr::from(<[u8; 16]>::try_from(rest.get(at..at + 16)?).ok()?));
            Some(Some((SocketAddr::from((ip(0)?, port(32)?)), SocketAddr::from((ip(16)?, port(34)?)))))
        }
        // Unspecified, or a family that does not carry HTTP here: the connection's own addresses count.
        0x00 | 0x12 | 0x22 | 0x31 | 0x32 => Some(None),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(bytes: &[u8]) -> (Result<Named, BadHeader>, usize) {
        let mut left = bytes;
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let read = runtime.block_on(read(&mut left));
        (read, left.len())
    }

    fn v2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let mut bytes = SIGNATURE.to_vec();
        bytes.extend([0x20 | command, family]);
        bytes.extend(u16::try_from(rest.len()).unwrap().to_be_bytes());
        bytes.extend(rest);
        bytes
    }

    #[test]
    fn both_versions_name_the_client_and_leave_what_follows() {
        let expected = Some(("192.0.2.1:40000".parse().unwrap(), "192.0.2.2:443".parse().unwrap()));
        let rest = [&[192, 0, 2, 1, 192, 0, 2, 2][..], &40000u16.to_be_bytes(), &443u16.to_be_bytes(), b"tlv"].concat();
        for header in [b"PROXY TCP4 192.0.2.1 192.0.2.2 40000 443\r\n".to_vec(), v2(1, 0x11, &rest)] {
            let (named, left) = parse(&[&header[..], b"GET /"].concat());
            assert_eq!((named.unwrap(), left), (expected, 5));
        }
        let expected = Some(("[2001:db8::1]:1".parse().unwrap(), "[::2]:2".parse().unwrap()));
        assert_eq!(parse(b"PROXY TCP6 2001:db8::1 ::2 1 2\r\n").0.unwrap(), expected);
    }

    #[test]
    fn who_speaks_for_itself_is_taken_as_the_peer() {
        for header in [b"PROXY UNKNOWN\r\n".to_vec(), v2(0, 0, b""), v2(0, 0x11, &[0; 12]), v2(1, 0, b"")] {
            assert_eq!(parse(&header).0.unwrap(), None);
        }
    }

    #[test]
    fn what_is_no_header_is_refused() {
        for bytes in [
            &b"GET / HTTP/1.1\r\n"[..],
            b"PROXY TCP4 192.0.2.1 192.0.2.2 40000\r\n",
            b"PROXY TCP4 2001:db8::1 ::2 1 2\r\n",
            b"PROXY TCP4 192.0.2.1 192.0.2.2 40000 70000\r\n",
            b"PROXY TCP4 192.0.2.1 192.0.2.2 +1 443\r\n",
            b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\n",
            &v2(2, 0x11, &[0; 12]),
            &v2(1, 0x11, &[0; 11]),
            &v2(1, 0x77, &[0; 12]),
            &[b"PROXY ".as_slice(), &[b'A'; 200]].concat(),
            b"PROX",
        ] {
            assert!(parse(bytes).0.is_err(), "{}", String::from_utf8_lossy(bytes));
        }
    }

    proptest! {
        #[test]
        fn no_bytes_are_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..64), kind in 0..3u8) {
            let start: &[u8] = match kind { 0 => b"", 1 => b"PROXY TCP4 ", _ => SIGNATURE };
            drop(parse(&[start, &bytes[..]].concat()));
        }
    }
}
