//! A request's target has no fragment (RFC 9112, 3.2), and the parser cuts one off without a word. So what a client sends over
//! HTTP/1.1 is looked through on its way to the parser: a line that begins as a request's, with a `#` in its target, makes the
//! next request of that method and target malformed. Nobody is misled by one that is missed, or by a line of a body that looks
//! like one: whatever is cut off is cut off for routes, policies, log and backend alike.

use std::{
    collections::VecDeque,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use http::Request;
use memchr::{memchr, memchr3, memrchr};

/// Bytes of a line that are kept between two reads: the parser takes no longer target.
const MAX_LINE: usize = 64 << 10;

/// Lines that are remembered; of more, the oldest are forgotten.
const MAX_CUTS: usize = 16;

/// Looks through what is read.
#[derive(Debug, Default)]
pub(super) struct Scan {
    /// A line whose end has not been read, as long as it may be one that is looked for.
    line: Vec<u8>,
    /// It is none.
    skip: bool,
}

/// Method and target of the lines that had a fragment, and wait for their request.
#[derive(Debug, Default)]
pub(super) struct Cuts {
    any: AtomicBool,
    lines: Mutex<VecDeque<Vec<u8>>>,
}

/// What a line is, as far as it is known.
enum Line<'a> {
    /// It begins with this, and a fragment follows.
    Cut(&'a [u8]),
    Open,
    Other,
}

impl Scan {
    pub(super) fn read(&mut self, bytes: &[u8], cuts: &Cuts) {
        if memchr(b'#', bytes).is_some() {
            bytes.split_inclusive(|byte| *byte == b'\n').for_each(|piece| self.piece(piece, cuts));
        } else if let Some(end) = memrchr(b'\n', bytes) {
            *self = Self::default();
            self.piece(&bytes[end + 1..], cuts);
        } else {
            self.piece(bytes, cuts);
        }
    }

    /// Some of one line, perhaps with its end.
    fn piece(&mut self, piece: &[u8], cuts: &Cuts) {
        if !self.skip && !piece.is_empty() {
            if !self.line.is_empty() {
                self.line.extend_from_slice(piece);
            }
            let line = if self.line.is_empty() { piece } else { &self.line };
            match judge(line) {
                Line::Open if line.len() <= MAX_LINE => {
                    if self.line.is_empty() {
                        self.line = piece.to_vec();
                    }
                }
                Line::Cut(start) => {
                    cuts.add(start);
                    self.skip = true;
                }
                Line::Open | Line::Other => self.skip = true,
            }
        }
        if self.skip || piece.ends_with(b"\n") {
            *self = Self { line: Vec::new(), skip: self.skip && !piece.ends_with(b"\n") };
        }
    }
}

fn judge(line: &[u8]) -> Line<'_> {
    let Some(space) = memchr3(b' ', b'\r', b'\n', line) else { return Line::Open };
    if line[space] != b' ' {
        return Line::Other;
    }
    match (line[space + 1..].first(), line[space + 1..].iter().find(|byte| b" #\r\n".contains(byte))) {
        (Some(b'/' | b'h' | b'H'), Some(b'#')) => {
            // Invariant: it was just found.
            let end = memchr(b'#', &line[space + 1..]).map_or(line.len(), |at| space + 1 + at);
            Line::Cut(&line[..end])
        }
        (None | Some(b'/' | b'h' | b'H'), None) => Line::Open,
        (_, _) => Line::Other,
    }
}

impl Cuts {
    fn add(&self, line: &[u8]) {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.len() == MAX_CUTS {
            lines.pop_front();
        }
        lines.push_back(line.to_vec());
        self.any.store(true, Relaxed);
    }

    /// Whether the request's target had a fragment.
    pub(super) fn take<B>(&self, request: &Request<B>) -> bool {
        if !self.any.load(Relaxed) {
            return false;
        }
        let uri = request.uri();
        let path = uri.path_and_query().map_or("", |path| path.as_str());
        let is_it = |line: &Vec<u8>| {
            let target = line.strip_prefix(request.method().as_str().as_bytes());
            let target = target.and_then(|rest| rest.strip_prefix(b" ")).unwrap_or_default();
            // In absolute form it may be written in more than one way.
            if uri.scheme().is_some() { matches!(target.first(), Some(b'h' | b'H')) } else { target == path.as_bytes() }
        };
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        let found = lines.iter().position(is_it);
        if let Some(at) = found {
            lines.remove(at);
        }
        self.any.store(!lines.is_empty(), Relaxed);
        found.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cuts(pieces: &[&[u8]]) -> Vec<String> {
        let (mut scan, cuts) = (Scan::default(), Cuts::default());
        pieces.iter().for_each(|piece| scan.read(piece, &cuts));
        cuts.lines.into_inner().unwrap().into_iter().map(|line| String::from_utf8(line).unwrap()).collect()
    }

    #[test]
    fn a_fragment_is_seen_wherever_the_bytes_are_cut_apart() {
        let text = b"\r\nPOST /up HTTP/1.1\r\nx: #1 /a#b\r\n\r\n{\"a\": \"#\"}GET\nGET /a?b#c HTTP/1.1\r\n\r\nGET http://h#x HTTP/1.1\r\n\r\n";
        let expected = ["GET /a?b", "GET http://h"];
        assert_eq!(cuts(&[text]), expected);
        for first in 0..text.len() {
            for second in first..text.len() {
                assert_eq!(
                    cuts(&[&text[..first], &text[first..second], &text[second..]]),
                    expected,
                    "{first} {second}"
                );
            }
        }
        assert_eq!(cuts(&text.chunks(1).collect::<Vec<_>>()), expected);
    }

    #[test]
    fn a_line_is_one_requests_and_memory_is_bounded() {
        let (mut scan, cuts) = (Scan::default(), Cuts::default());
        scan.read(b"GET /a#b HTTP/1.1\r\n", &cuts);
        let get = |uri: &str| cuts.take(&Request::get(uri).body(()).unwrap());
        assert_eq!([get("/"), get("/a"), get("/a")], [false, true, false]);
        for n in 0..100 {
            scan.read(format!("GET /{n}#b HTTP/1.1\r\n").as_bytes(), &cuts);
        }
        assert_eq!((get("/83"), get("/84"), cuts.lines.lock().unwrap().len()), (false, true, MAX_CUTS - 1));
        scan.read(&vec![b'x'; MAX_LINE + 1], &cuts);
        assert!(scan.skip && scan.line.is_empty());
    }
}
