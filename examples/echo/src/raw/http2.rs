//! HTTP/2 frames, as few as scripts need (RFC 9113). Headers are read by nobody, and written from the static table.

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const FRAME_HEAD: usize = 9;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
const CONTINUATION: u8 = 9;

const END_STREAM: u8 = 1;
const ACK: u8 = 1;
const END_HEADERS: u8 = 4;

const REFUSED_STREAM: u32 = 7;
/// `:status: 200` in the static table of HPACK (RFC 7541, appendix A).
const STATUS_200: u8 = 0x88;

/// The length of all up to the end of the next request, and its stream. Only one request must be on its way at a time.
pub(super) fn request(bytes: &[u8]) -> Option<(usize, u32)> {
    let mut at = if bytes.starts_with(PREFACE) { PREFACE.len() } else { 0 };
    let (mut headers_over, mut stream_over) = (false, false);
    loop {
        let [high, middle, low, kind, flags, stream @ ..] = bytes.get(at..at + FRAME_HEAD)? else { return None };
        let length = usize::from(*high) << 16 | usize::from(*middle) << 8 | usize::from(*low);
        at += FRAME_HEAD + length;
        if bytes.len() < at {
            return None;
        }
        match *kind {
            HEADERS => {
                headers_over = flags & END_HEADERS != 0;
                stream_over = flags & END_STREAM != 0;
            }
            CONTINUATION => headers_over = flags & END_HEADERS != 0,
            DATA => stream_over = flags & END_STREAM != 0,
            _ => {}
        }
        if headers_over && stream_over {
            let stream = stream.iter().fold(0, |number, byte| number << 8 | u32::from(*byte));
            return Some((at, stream));
        }
    }
}

/// What a server says first.
pub(super) fn settings() -> Vec<u8> {
    frame(SETTINGS, 0, 0, &[])
}

pub(super) fn settings_taken() -> Vec<u8> {
    frame(SETTINGS, ACK, 0, &[])
}

/// 200 with this body, which fits in a frame.
pub(super) fn answer(stream: u32, body: &str) -> Vec<u8> {
    let head = frame(HEADERS, END_HEADERS, stream, &[STATUS_200]);
    [head, frame(DATA, END_STREAM, stream, body.as_bytes())].concat()
}

pub(super) fn refusal(stream: u32) -> Vec<u8> {
    frame(RST_STREAM, 0, stream, &REFUSED_STREAM.to_be_bytes())
}

/// Without an error: streams above `last` were not processed.
pub(super) fn go_away(last: u32) -> Vec<u8> {
    frame(GOAWAY, 0, 0, &[last.to_be_bytes(), [0; 4]].concat())
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_be_bytes(); // scripts are short
    let mut bytes = vec![length[1], length[2], length[3], kind, flags];
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}
