//! One line, in the order in which its parts become known. What a client sends is escaped, its query is left out, for it
//! may carry credentials, and a credential is never a field.

use std::{
    cell::Cell,
    io::Write,
    net::SocketAddr,
    time::{Duration, SystemTime},
};

use http::{Method, StatusCode, Version};

use ravelin_snapshot::auth::Mode;

use crate::{policy::auth::Denial, reject::Reason, request::RuleName};

/// Bytes of one field of a client's at most; the rest is cut off.
const MAX_FIELD: usize = 2048;

/// Of addresses over IPv4.
const LONGEST: &str = "\"255.255.255.255:65535\"";

/// A field's beginning. One piece of memory, so that it is one copy.
macro_rules! name {
    ($name:literal) => {
        concat!(",\"", $name, "\":")
    };
}

/// A JSON object that is being written. Fields that have nothing to say are absent.
#[derive(Debug)]
pub(crate) struct Line {
    text: Vec<u8>,
    /// Where the backend begins: the last call is the one that counts.
    backend_at: Option<usize>,
}

/// Fields of a rule or a backend, which are the same in many lines: written once.
#[derive(Clone, Debug)]
pub(crate) struct Fields(Box<[u8]>);

impl Fields {
    pub(crate) fn rule(name: &RuleName) -> Self {
        Self::write(|line| {
            let route = name.route.to_string();
            line.text(name!("route"), route.as_bytes());
            line.text(name!("rule"), name.rule.as_bytes());
        })
    }

    pub(crate) fn backend(name: &str) -> Self {
        Self::write(|line| line.text(name!("backend"), name.as_bytes()))
    }

    fn write(write: impl FnOnce(&mut Line)) -> Self {
        let mut line = Line { text: Vec::new(), backend_at: None };
        write(&mut line);
        Self(line.text.into())
    }
}

/// How an answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Complete,
    /// The backend broke off, or a time-out cut it.
    Broken,
    /// The client went away before it had all.
    ClientGone,
    /// The gateway ended before: a drain was over.
    Cut,
}

/// The second that it is, as text: most lines have that of the line before.
#[derive(Debug)]
pub(crate) struct Stamp(Cell<(u64, [u8; 20])>);

impl Default for Stamp {
    fn default() -> Self {
        Self(Cell::new((0, *b"1970-01-01T00:00:00.")))
    }
}

impl Stamp {
    /// RFC 3339 in UTC up to the dot, and milliseconds.
    fn of(&self, now: SystemTime) -> ([u8; 20], u32) {
        let since = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let (second, mut text) = self.0.get();
        if second != since.as_secs() {
            text = stamp(since.as_secs());
            self.0.set((since.as_secs(), text));
        }
        (text, since.subsec_millis())
    }
}

fn stamp(second: u64) -> [u8; 20] {
    let (days, of_day) = (second / 86_400, second % 86_400);
    let (year, month, day) = date(days);
    let mut text = *b"0000-00-00T00:00:00.";
    let parts = [
        (year, 0, 4),
        (month, 5, 2),
        (day, 8, 2),
        (of_day / 3600, 11, 2),
        (of_day / 60 % 60, 14, 2),
        (of_day % 60, 17, 2),
    ];
    for (value, at, width) in parts {
        let mut rest = value;
        for place in (at..at + width).rev() {
            // A digit.
            text[place] = b'0' + (rest % 10) as u8;
            rest /= 10;
        }
    }
    text
}

impl Line {
    /// `space` is memory to write in.
    pub(crate) fn begin(space: Vec<u8>, now: SystemTime, stamp: &Stamp, method: &Method, version: Version) -> Self {
        let mut line = Self::headless(space, now, stamp);
        // Neither needs to be escaped: a method is a token.
        line.name(concat!(name!("method"), "\""));
        line.name(method.as_str());
        line.name(protocol(version));
        line
    }

    /// Of a head that could not be read.
    pub(crate) fn headless(mut space: Vec<u8>, now: SystemTime, stamp: &Stamp) -> Self {
        space.clear();
        let mut line = Self { text: space, backend_at: None };
        let (second, millis) = stamp.of(now);
        line.text.extend_from_slice(b"{\"time\":\"");
        line.text.extend_from_slice(&second);
        line.digits(u64::from(millis), 3);
        line.text.extend_from_slice(b"Z\"");
        line
    }

    pub(crate) fn client(&mut self, address: SocketAddr) {
        self.name(name!("client"));
        self.address(address);
    }

    pub(crate) fn target(&mut self, id: &[u8], host: &str, path: &str) {
        self.text(name!("requestId"), id);
        self.text(name!("host"), host.as_bytes());
        self.text(name!("path"), path.as_bytes());
    }

    pub(crate) fn user_agent(&mut self, agent: &[u8]) {
        self.text(name!("userAgent"), agent);
    }

    pub(crate) fn rule(&mut self, rule: &Fields) {
        self.text.extend_from_slice(&rule.0);
    }

    /// Never a credential: who the caller is.
    pub(crate) fn caller(&mut self, id: &str) {
        self.text(name!("caller"), id.as_bytes());
    }

    /// What was said of a backend before is taken back.
    pub(crate) fn backend(&mut self, backend: &Fields, took: Duration) {
        self.text.truncate(*self.backend_at.get_or_insert(self.text.len()));
        self.text.extend_from_slice(&backend.0);
        self.millis(name!("backendMs"), took);
    }

    pub(crate) fn endpoint(&mut self, address: SocketAddr) {
        self.name(name!("endpoint"));
        self.address(address);
    }

    pub(crate) fn answered(&mut self, code: StatusCode, reason: Option<Reason>) {
        self.number(name!("status"), u64::from(code.as_u16()));
        if let Some(reason) = reason {
            self.text(name!("reason"), reason.as_str().as_bytes());
        }
    }

    /// What an audit line begins with.
    pub(crate) fn event(&mut self, denial: &Denial, method: &Method) {
        let event: &[u8] = match denial.mode {
            Mode::Enforce => b"deny",
            Mode::Shadow => b"shadow_deny",
        };
        self.text(name!("event"), event);
        self.text(name!("method"), method.as_str().as_bytes());
    }

    /// An audit line's end with its line feed.
    pub(crate) fn denied(mut self, denial: &Denial) -> Vec<u8> {
        let Denial { policy, mode: _, reason, rule, caller } = denial;
        self.text(name!("policy"), policy.to_string().as_bytes());
        self.text(name!("reason"), reason.as_str().as_bytes());
        self.text(name!("denied"), rule.as_deref().unwrap_or_default().as_bytes());
        self.caller(caller);
        self.text.extend_from_slice(b"}\n");
        self.text
    }

    /// The whole line with its line feed.
    pub(crate) fn finish(mut self, took: Duration, (received, sent): (u64, u64), end: End) -> Vec<u8> {
        self.millis(name!("durationMs"), took);
        self.number(name!("bytesIn"), received);
        self.number(name!("bytesOut"), sent);
        match end {
            End::Complete => {}
            End::Broken => self.text(name!("broken"), b"backend"),
            End::ClientGone => self.text(name!("broken"), b"client"),
            End::Cut => self.text(name!("broken"), b"gateway"),
        }
        self.text.extend_from_slice(b"}\n");
        self.text
    }

    fn name(&mut self, name: &str) {
        self.text.extend_from_slice(name.as_bytes());
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
        // Put together apart: the line's memory need be made sure of only once.
        let (mut text, mut length) = ([b'"'; LONGEST.len()], 1);
        let mut put = |byte| {
            text[length] = byte;
            length += 1;
        };
        for (place, octet) in four.ip().octets().into_iter().enumerate() {
            if place > 0 {
                put(b'.');
            }
            if octet >= 100 {
                put(b'0' + octet / 100);
            }
            if octet >= 10 {
                put(b'0' + octet / 10 % 10);
            }
            put(b'0' + octet % 10);
        }
        put(b':');
        itoa::Buffer::new().format(four.port()).bytes().for_each(&mut put);
        self.text.extend_from_slice(&text[..=length]); // with the quote behind it
    }

    fn write(&mut self, text: std::fmt::Arguments<'_>) {
        // Writing to memory does not fail.
        drop(self.text.write_fmt(text));
    }

    /// As JSON wants it (RFC 8259, 7); what is not UTF-8 becomes U+FFFD.
    fn escape(&mut self, value: &[u8]) {
        let value = &value[..value.len().min(MAX_FIELD)];
        if is_plain(value) {
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

/// Visible ASCII and spaces, without what JSON escapes. Eight bytes at a time, as one number.
fn is_plain(text: &[u8]) -> bool {
    const ONES: u64 = u64::MAX / 255;
    const TOPS: u64 = ONES << 7;
    // The top bit of a byte is set in the sum of these if the byte is not plain, and perhaps in one behind it.
    let odd = |word: u64| {
        let is = |byte: u8| {
            let differs = word ^ (ONES * u64::from(byte));
            differs.wrapping_sub(ONES) & !differs
        };
        (word.wrapping_sub(ONES * 0x20) | is(b'"') | is(b'\\') | is(0x7f) | word) & TOPS
    };
    let (words, rest) = text.as_chunks::<8>();
    let odds = words.iter().fold(0, |all, word| all | odd(u64::from_le_bytes(*word)));
    match text.last_chunk() {
        // What is looked at twice is plain twice.
        Some(last) => odds | odd(u64::from_le_bytes(*last)) == 0,
        None => rest.iter().all(|byte| matches!(byte, 0x20..0x7f) && !matches!(byte, b'"' | b'\\')),
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

/// With what stands before it, behind the method.
fn protocol(version: Version) -> &'static str {
    match version {
        Version::HTTP_09 => "\",\"protocol\":\"HTTP/0.9\"",
        Version::HTTP_10 => "\",\"protocol\":\"HTTP/1.0\"",
        Version::HTTP_11 => "\",\"protocol\":\"HTTP/1.1\"",
        Version::HTTP_2 => "\",\"protocol\":\"HTTP/2\"",
        Version::HTTP_3 => "\",\"protocol\":\"HTTP/3\"",
        _ => "\"",
    }
}
