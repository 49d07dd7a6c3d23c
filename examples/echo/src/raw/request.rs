//! Where a request ends, when a well-behaved client sends it.

/// The length of the head with its empty line, and the head in lower case.
pub(super) fn head(bytes: &[u8]) -> Option<(usize, String)> {
    let length = find(bytes, b"\r\n\r\n")? + 4;
    Some((length, String::from_utf8_lossy(&bytes[..length]).to_ascii_lowercase()))
}

/// The length of the request, if it is all there.
pub(super) fn whole(bytes: &[u8]) -> Option<usize> {
    let (head_length, head) = head(bytes)?;
    let value = |name: &str| head.split("\r\n").filter_map(|line| line.split_once(':')).find(|(n, _)| *n == name);
    let body = &bytes[head_length..];
    let body_length = if value("transfer-encoding").is_some_and(|(_, value)| value.contains("chunked")) {
        chunked(body)?
    } else {
        value("content-length").and_then(|(_, value)| value.trim().parse().ok()).unwrap_or(0)
    };
    (body.len() >= body_length).then_some(head_length + body_length)
}

/// The length of a chunked body with its trailers. What is not chunked never ends.
fn chunked(body: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        let line = find(&body[at..], b"\r\n")?;
        let size = std::str::from_utf8(&body[at..at + line]).ok()?.split(';').next()?.trim();
        let size = usize::from_str_radix(size, 16).ok()?;
        at += line + 2;
        if size == 0 {
            break;
        }
        at = at.checked_add(size)?.checked_add(2)?;
        if at > body.len() {
            return None;
        }
    }
    loop {
        let line = find(&body[at..], b"\r\n")?;
        at += line + 2;
        if line == 0 {
            return Some(at);
        }
    }
}

fn find(bytes: &[u8], pattern: &[u8]) -> Option<usize> {
    bytes.windows(pattern.len()).position(|window| window == pattern)
}

#[cfg(test)]
mod tests {
    use super::whole;

    #[test]
    fn a_request_ends_where_its_framing_says_and_not_a_byte_earlier() {
        for request in [
            "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
            "POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello",
            "POST / HTTP/1.1\r\ntransfer-encoding: Chunked\r\n\r\n5;x=y\r\nhello\r\nA\r\n0123456789\r\n0\r\n\r\n",
            "POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n1\r\nh\r\n0\r\nx-a: b\r\nx-c: d\r\n\r\n",
        ] {
            let bytes = format!("{request}GET /next");
            assert_eq!(whole(bytes.as_bytes()), Some(request.len()), "{request}");
            assert!((0..request.len()).all(|cut| whole(&bytes.as_bytes()[..cut]).is_none()), "{request}");
        }
    }
}
