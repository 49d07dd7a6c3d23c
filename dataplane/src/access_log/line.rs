//! One line, in the order in which its parts become known. What a client sends is escaped, its query is left out, for it
//! may carry credentials, and a credential is never a field.

use std::{
    io::Write,
    net::SocketAddr,
    time::{Duration, SystemTime},
};

use http::{Method, StatusCode, Version};

use crate::{reject::Reason, request::RuleName};

/// Bytes of one field of a client's at most; the rest is cut off.
const MAX_FIELD: usize = 2048;

/// A JSON object that is being written. Fields that have nothing to say are absent.
#[derive(Debug)]
pub(crate) struct Line {
    text: Vec<u8>,
    /// Where the backend begins: the last call is the one that counts.
    backend_at: Option<usize>,
}

/// How an answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Complete,
    /// The backend broke off, or a time-out cut it.
    Broken,
    /// The client went away before it had all.
    ClientGone,
}

impl Line {
    /// `space` is memory to write in.
    pub(crate) fn begin(space: Vec<u8>, now: SystemTime, method: &Method, version: Version) -> Self {
        let mut line = Self::headless(space, now);
        line.text("method", method.as_str().as_bytes());
        line.text("protocol", protocol(version).as_bytes());
        line
    }

    /// Of a head that could not be read.
    pub(crate) fn headless(mut space: Vec<u8>, now: SystemTime) -> Self {
        space.clear();
        let mut line = Self { text: space, backend_at: None };
        line.text.extend_from_slice(b"{\"time\":\"");
        line.time(now);
        line.text.push(b'"');
        line
    }

    pub(crate) fn client(&mut self, address: SocketAddr) {
        self.name("client");
        self.address(address);
    }

    pub(crate) fn target(&mut self, id: &str, host: &str, path: &str) {
        self.text("requestId", id.as_bytes());
        self.text("host", host.as_bytes());
        self.text("path", path.as_bytes());
    }

    pub(crate) fn user_agent(&mut self, agent: &[u8]) {
        self.text("userAgent", agent);
    }

    pub(crate) fn rule(&mut self, name: &RuleName) {
        self.name("route");
        self.text.push(b'"');
        self.escape(name.namespace.as_bytes());
        self.text.push(b'/');
        self.escape(name.route.as_bytes());
        self.text.push(b'"');
        self.text("rule", name.rule.as_bytes());
    }

    /// Never a credential: who the caller is.
    pub(crate) fn caller(&mut self, id: &str) {
        self.text("caller", id.as_bytes());
    }

    /// What was said of a backend before is taken back.
    pub(crate) fn backend(&mut self, name: &str, took: Duration) {
        self.text.truncate(*self.backend_at.get_or_insert(self.text.len()));
        self.text("backend", name.as_bytes());
        self.millis("backendMs", took);
    }

    pub(crate) fn endpoint(&mut self, address: SocketAddr) {
        self.name("endpoint");
        self.address(address);
    }

    pub(crate) fn answered(&mut self, code: StatusCode, reason: Option<Reason>) {
        self.number("status", u64::from(code.as_u16()));
        if let Some(reason) = reason {
            self.text("reason", reason.as_str().as_bytes());
        }
    }

    /// The whole line with its line feed.
    pub(crate) fn finish(mut self, took: Duration, (received, sent): (u64, u64), end: End) -> Vec<u8> {
        self.millis("durationMs", took);
        self.number("bytesIn", received);
        self.number("bytesOut", sent);
        match end {
            End::Complete => {}
            End::Broken => self.text("broken", b"backend"),
            End::ClientGone => self.text("broken", b"client"),
        }
        self.text.extend_from_slice(b"}\n");
        self.text
    }

    fn name(&mut self, name: &'static str) {
        self.text.extend_from_slice(b",\"");
        self.text.extend_from_slice(name.as_bytes());
        self.text.extend_from_slice(b"\":");
    }

    fn text(&mut self, name: &'static str, value: &[u8]) {
        if value.is_empty() {
            return;
        }
        self.name(name);
        self.text.push(b'"');
        self.escape(value);
        self.text.push(b'"');
    }

    fn number(&mut self, name: &'static str, value: u64) {
        self.name(name);
        self.text.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
    }

    fn millis(&mut self, name: &'static str, took: Duration) {
        // More than 64 bits of microseconds do not pass.
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.number(name, micros / 1000);
        self.text.push(b'.');
        self.digits(micros % 1000, 3);
    }

    /// As `Display` writes it, which takes several times as long.
    fn address(&mut self, address: SocketAddr) {
        let SocketAddr::V4(four) = address else { return self.write(format_args!("\"{address}\"")) };
        let mut before = b'"';
        for octet in four.ip().octets() {
            self.text.push(before);
            self.text.extend_from_slice(itoa::Buffer::new().format(octet).as_bytes());
            before = b'.';
        }
        self.text.push(b':');
        self.text.extend_from_slice(itoa::Buffer::new().format(four.port()).as_bytes());
        self.text.push(b'"');
    }

    fn write(&mut self, text: std::fmt::Arguments<'_>) {
        // Writing to memory does not fail.
        drop(self.text.write_fmt(text));
    }

    /// As JSON wants it (RFC 8259, 7); what is not UTF-8 becomes U+FFFD.
    fn escape(&mut self, value: &[u8]) {
        let value = &value[..value.len().min(MAX_FIELD)];
        let plain = |byte: u8| (0x20..0x7f).contains(&byte) && !matches!(byte, b'"' | b'\\');
        // No way out in the middle, so that many bytes are looked at in one instruction.
        if value.iter().fold(true, |all, byte| all & plain(*byte)) {
            self.text.extend_from_slice(value);
            return;
        }
        for char in String::from_utf8_lossy(value).chars() {
            match char {
                '"' | '\\' => self.text.extend_from_slice(&[b'\\', char as u8]),
                // Beyond ASCII too there are characters that a terminal would obey or a reader take for an end of line.
                char if char.is_control() || matches!(char, '\u{2028}' | '\u{2029}') => {
                    self.write(format_args!("\\u{:04x}", u32::from(char)));
                }
                char => self.text.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes()),
            }
        }
    }

    /// RFC 3339 in UTC, with milliseconds.
    fn time(&mut self, now: SystemTime) {
        let since = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let (days, second) = (since.as_secs() / 86_400, since.as_secs() % 86_400);
        let (year, month, day) = date(days);
        let parts = [
            (year, 4, b'-'),
            (month, 2, b'-'),
            (day, 2, b'T'),
            (second / 3600, 2, b':'),
            (second / 60 % 60, 2, b':'),
            (second % 60, 2, b'.'),
            (u64::from(since.subsec_millis()), 3, b'Z'),
        ];
        for (value, width, after) in parts {
            self.digits(value, width);
            self.text.push(after);
        }
    }

    fn digits(&mut self, value: u64, width: usize) {
        let at = self.text.len();
        self.text.resize(at + width, b'0');
        let mut rest = value;
        for place in (at..at + width).rev() {
            // A digit.
            self.text[place] = b'0' + (rest % 10) as u8;
            rest /= 10;
        }
    }
}

/// Year, month and day of a day since 1970-01-01, by whole eras of 400 years that begin on a first of March.
fn date(days: u64) -> (u64, u64, u64) {
    const ERA: u64 = 146_097;
    let days = days + 719_468;
    let (era, day) = (days / ERA, days % ERA);
    let year = (day - day / 1460 + day / 36_524 - day / (ERA - 1)) / 365;
    let of_year = day - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let of_month = of_year - (153 * month + 2) / 5 + 1;
    let (year, month) = if month < 10 { (year, month + 3) } else { (year + 1, month - 9) };
    (year + era * 400, month, of_month)
}

fn protocol(version: Version) -> &'static str {
    match version {
        Version::HTTP_09 => "HTTP/0.9",
        Version::HTTP_10 => "HTTP/1.0",
        Version::HTTP_11 => "HTTP/1.1",
        Version::HTTP_2 => "HTTP/2",
        Version::HTTP_3 => "HTTP/3",
        _ => "",
    }
}
