//! The header of the PROXY protocol, version 2 (haproxy's proxy-protocol.txt, 2.2).

use std::net::{IpAddr, SocketAddr};

const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// Version 2, PROXY.
const COMMAND: u8 = 0x21;
const TCP4: u8 = 0x11;
const TCP6: u8 = 0x21;

/// Addresses of two families are both told as IPv6.
pub(super) fn header(from: SocketAddr, to: SocketAddr) -> Vec<u8> {
    let mut header = SIGNATURE.to_vec();
    header.push(COMMAND);
    let addresses = match (from.ip(), to.ip()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            header.extend([TCP4, 0, 12]);
            [from.octets(), to.octets()].concat()
        }
        (from, to) => {
            let mapped = |ip| match ip {
                IpAddr::V4(ip) => ip.to_ipv6_mapped().octets(),
                IpAddr::V6(ip) => ip.octets(),
            };
            header.extend([TCP6, 0, 36]);
            [mapped(from), mapped(to)].concat()
        }
    };
    header.extend(addresses);
    header.extend(from.port().to_be_bytes());
    header.extend(to.port().to_be_bytes());
    header
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_is_as_its_document_has_it() {
        let four = header(([192, 0, 2, 1], 40000).into(), ([192, 0, 2, 2], 443).into());
        assert_eq!(four, b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x01\xc0\0\x02\x02\x9c\x40\x01\xbb");
        let six = header("[2001:db8::1]:1".parse().unwrap(), ([192, 0, 2, 2], 2).into());
        assert_eq!((six.len(), &six[12..16]), (16 + 36, &b"\x21\x21\0\x24"[..]));
        assert_eq!(&six[42..48], b"\xff\xff\xc0\0\x02\x02", "IPv4 as IPv6 has it");
    }
}
