//! What of Envoy's `ext_authz` (envoy/service/auth/v3, external_auth.proto) is said and heard here, in protobuf's wire format.
//! The numbers are those of the fields there.

use bytes::Bytes;

/// A `CheckRequest`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct CheckRequest<'a> {
    /// Whose request it is, and where he came in.
    pub(super) source: &'a str,
    pub(super) destination: (String, u16),
    /// Seconds and nanoseconds since the epoch.
    pub(super) time: (u64, u32),
    pub(super) id: &'a str,
    pub(super) method: &'a str,
    pub(super) headers: Vec<(&'a str, String)>,
    /// With the query.
    pub(super) path: &'a str,
    pub(super) host: &'a str,
    pub(super) scheme: &'a str,
    pub(super) query: &'a str,
    pub(super) body: &'a [u8],
}

/// What of a `CheckResponse` counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct CheckResponse {
    /// `google.rpc.Code`; `None`: it says none.
    pub(super) code: Option<u64>,
    pub(super) denied: Option<Denied>,
    pub(super) ok: Option<Allowed>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Denied {
    pub(super) status: u64,
    pub(super) headers: Vec<Header>,
    pub(super) body: Bytes,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Allowed {
    pub(super) headers: Vec<Header>,
    pub(super) remove: Vec<Bytes>,
    pub(super) respond: Vec<Header>,
}

/// A `HeaderValueOption`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) name: Bytes,
    pub(super) value: Bytes,
    pub(super) action: Action,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Action {
    #[default]
    Append,
    AddIfAbsent,
    Overwrite,
    OverwriteIfThere,
}

impl CheckRequest<'_> {
    pub(super) fn encode(&self) -> Vec<u8> {
        // A `Peer` has an `Address`, which has a `SocketAddress`.
        let peer = |address: &str, port: u16| {
            let mut socket = Vec::new();
            text(&mut socket, 2, address);
            number(&mut socket, 3, u64::from(port));
            nested(1, &nested(1, &socket))
        };
        let mut time = Vec::new();
        number(&mut time, 1, self.time.0);
        number(&mut time, 2, u64::from(self.time.1));
        let request = [nested(1, &time), nested(2, &self.http())].concat();
        let (address, port) = &self.destination;
        let peers = [nested(1, &peer(self.source, 0)), nested(2, &peer(address, *port))].concat();
        let context = [peers, nested(4, &request)].concat();
        nested(1, &context)
    }

    fn http(&self) -> Vec<u8> {
        let mut http = Vec::with_capacity(256 + self.body.len());
        text(&mut http, 1, self.id);
        text(&mut http, 2, self.method);
        for (name, value) in &self.headers {
            let mut entry = Vec::new();
            text(&mut entry, 1, name);
            text(&mut entry, 2, value);
            bytes(&mut http, 3, &entry);
        }
        text(&mut http, 4, self.path);
        text(&mut http, 5, self.host);
        text(&mut http, 6, self.scheme);
        text(&mut http, 7, self.query);
        number(&mut http, 9, self.body.len() as u64);
        // A text has to be UTF-8.
        match std::str::from_utf8(self.body) {
            Ok(body) => text(&mut http, 11, body),
            Err(_) => bytes(&mut http, 12, self.body),
        }
        http
    }
}

impl CheckResponse {
    /// `None`: it is none.
    pub(super) fn decode(message: &Bytes) -> Option<Self> {
        let mut said = Self::default();
        for field in Fields(message.clone()) {
            match field? {
                (1, Value::Bytes(status)) => said.code = Some(last_number(&status, 1)?),
                (2, Value::Bytes(denied)) => said.denied = Some(Denied::decode(&denied)?),
                (3, Value::Bytes(ok)) => said.ok = Some(Allowed::decode(&ok)?),
                (1..=3, Value::Number(_)) => return None,
                _ => {}
            }
        }
        Some(said)
    }
}

impl Denied {
    fn decode(message: &Bytes) -> Option<Self> {
        let mut said = Self::default();
        for field in Fields(message.clone()) {
            match field? {
                (1, Value::Bytes(status)) => said.status = last_number(&status, 1)?,
                (2, Value::Bytes(header)) => said.headers.push(Header::decode(&header)?),
                (3, Value::Bytes(body)) => said.body = body,
                (1..=3, Value::Number(_)) => return None,
                _ => {}
            }
        }
        Some(said)
    }
}

impl Allowed {
    fn decode(message: &Bytes) -> Option<Self> {
        let mut said = Self::default();
        for field in Fields(message.clone()) {
            match field? {
                (2, Value::Bytes(header)) => said.headers.push(Header::decode(&header)?),
                (5, Value::Bytes(name)) => said.remove.push(name),
                (6, Value::Bytes(header)) => said.respond.push(Header::decode(&header)?),
                (2 | 5 | 6, Value::Number(_)) => return None,
                _ => {}
            }
        }
        Some(said)
    }
}

impl Header {
    fn decode(message: &Bytes) -> Option<Self> {
        let mut said = Self::default();
        // The older way to say it, if it is said.
        let mut append = None;
        for field in Fields(message.clone()) {
            match field? {
                (1, Value::Bytes(header)) => {
                    for field in Fields(header) {
                        match field? {
                            (1, Value::Bytes(name)) => said.name = name,
                            (2 | 3, Value::Bytes(value)) if !value.is_empty() => said.value = value,
                            (1..=3, Value::Number(_)) => return None,
                            _ => {}
                        }
                    }
                }
                (2, Value::Bytes(wrapped)) => append = Some(last_number(&wrapped, 1)? != 0),
                (3, Value::Number(action)) => {
                    said.action = match action {
                        0 => Action::Append,
                        1 => Action::AddIfAbsent,
                        2 => Action::Overwrite,
                        3 => Action::OverwriteIfThere,
                        _ => return None,
                    };
                }
                (1 | 2, Value::Number(_)) | (3, Value::Bytes(_)) => return None,
                _ => {}
            }
        }
        match append {
            Some(true) => said.action = Action::Append,
            Some(false) if said.action == Action::Append => said.action = Action::Overwrite,
            Some(false) | None => {}
        }
        Some(said)
    }
}

/// The last value of a number; what is not there is 0.
fn last_number(message: &Bytes, wanted: u64) -> Option<u64> {
    let mut last = 0;
    for field in Fields(message.clone()) {
        match field? {
            (number, Value::Number(value)) if number == wanted => last = value,
            (number, Value::Bytes(_)) if number == wanted => return None,
            _ => {}
        }
    }
    Some(last)
}

/// What a field may hold.
enum Value {
    Number(u64),
    Bytes(Bytes),
}

/// The fields of a message; `None` where it is malformed, and nothing after it.
struct Fields(Bytes);

impl Iterator for Fields {
    type Item = Option<(u64, Value)>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_none() {
            self.0.clear();
        }
        Some(field)
    }
}

impl Fields {
    fn field(&mut self) -> Option<(u64, Value)> {
        let tag = self.varint()?;
        let value = match tag & 7 {
            0 => Value::Number(self.varint()?),
            1 => Value::Bytes(self.take(8)?),
            2 => {
                let length = usize::try_from(self.varint()?).ok()?;
                Value::Bytes(self.take(length)?)
            }
            5 => Value::Bytes(self.take(4)?),
            // Groups are gone since version 3.
            _ => return None,
        };
        (tag >> 3 > 0).then_some((tag >> 3, value))
    }

    fn take(&mut self, length: usize) -> Option<Bytes> {
        (length <= self.0.len()).then(|| self.0.split_to(length))
    }

    fn varint(&mut self) -> Option<u64> {
        let mut value: u64 = 0;
        for at in 0..10 {
            let byte = *self.take(1)?.first()?;
            let bits = u64::from(byte & 0x7f);
            if at == 9 && bits > 1 {
                return None;
            }
            value |= bits << (7 * at);
            if byte < 0x80 {
                return Some(value);
            }
        }
        None
    }
}

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80); // its last seven bits
        value >>= 7;
    }
    out.push(value as u8);
}

/// What is zero or empty is left out, as version 3 has it.
fn number(out: &mut Vec<u8>, field: u64, value: u64) {
    if value > 0 {
        varint(out, field << 3);
        varint(out, value);
    }
}

fn text(out: &mut Vec<u8>, field: u64, value: &str) {
    if !value.is_empty() {
        bytes(out, field, value.as_bytes());
    }
}

fn bytes(out: &mut Vec<u8>, field: u64, value: &[u8]) {
    varint(out, field << 3 | 2);
    varint(out, value.len() as u64);
    out.extend_from_slice(value);
}

fn nested(field: u64, message: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(message.len() + 4);
    bytes(&mut out, field, message);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the messages of `xds-protos` 1.85.0 (PyPI) come to, serialized by Google's library.
    const REQUEST: &str = "0a7c0a0f0a0d0a0b12093139322e302e322e3712110a0f0a0d120831302e302e302e3118fb4122560a0808f9eef883061005124a\
        0a03722d311204504f53541a0d0a06636f6f6b69651203613d62220b2f6f72646572733f783d312a0c73686f702e6578616d706c6532056874747073\
        3a03783d3148055a0568656c6c6f";
    const BINARY: &str = "0a790a0f0a0d0a0b12093139322e302e322e3712110a0f0a0d120831302e302e302e3118fb4122530a0808f9eef883061005124\
        70a03722d311204504f53541a0d0a06636f6f6b69651203613d62220b2f6f72646572733f783d312a0c73686f702e6578616d706c65320568747470\
        733a03783d3148026202ff00";
    const OK: &str = "0a001a6d120f0a0d0a06782d75736572120361646112120a0c0a05782d7261771a03726177120208012a08782d7365637265742a06\
        636f6f6b696532130a110a0a7365742d636f6f6b69651203733d31320f0a0b0a06782d6f7665721201761802320e0a0a0a05782d6f6c641201771200\
        22100a0e0a0161120911000000000000f03f";
    const DENIED: &str =
        "0a06081012026e6f12290a0308910312190a170a107777772d61757468656e74696361746512034f776e1a07676f2061776179";

    fn bytes_of(text: &str) -> Bytes {
        let digits: Vec<_> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
        digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
    }

    fn header(name: &'static str, value: &'static str, action: Action) -> Header {
        Header { name: name.into(), value: value.into(), action }
    }

    #[test]
    fn a_question_is_byte_for_byte_what_googles_library_writes() {
        let asked = CheckRequest {
            source: "192.0.2.7",
            destination: ("10.0.0.1".into(), 8443),
            time: (1_618_884_473, 5),
            id: "r-1",
            method: "POST",
            headers: vec![("cookie", "a=b".into())],
            path: "/orders?x=1",
            host: "shop.example",
            scheme: "https",
            query: "x=1",
            body: b"hello",
        };
        assert_eq!(Bytes::from(asked.encode()), bytes_of(REQUEST));
        assert_eq!(Bytes::from(CheckRequest { body: b"\xff\0", ..asked }.encode()), bytes_of(BINARY));
    }

    #[test]
    fn an_answer_of_googles_library_is_read_as_it_was_meant() {
        let ok = CheckResponse::decode(&bytes_of(OK)).unwrap();
        let allowed = Allowed {
            headers: vec![header("x-user", "ada", Action::Append), header("x-raw", "raw", Action::Append)],
            remove: vec!["x-secret".into(), "cookie".into()],
            respond: vec![
                header("set-cookie", "s=1", Action::Append),
                header("x-over", "v", Action::Overwrite),
                header("x-old", "w", Action::Overwrite),
            ],
        };
        assert_eq!(ok, CheckResponse { code: Some(0), denied: None, ok: Some(allowed) });
        let denied = CheckResponse::decode(&bytes_of(DENIED)).unwrap();
        let headers = vec![header("www-authenticate", "Own", Action::Append)];
        let said = Denied { status: 401, headers, body: "go away".into() };
        assert_eq!(denied, CheckResponse { code: Some(16), denied: Some(said), ok: None });
        assert_eq!(CheckResponse::decode(&bytes_of("0a020807")).unwrap().code, Some(7));
        assert_eq!(CheckResponse::decode(&Bytes::new()), Some(CheckResponse::default()));
    }

    #[test]
    fn what_is_cut_off_or_malformed_is_no_answer() {
        let whole = bytes_of(OK);
        let ends = [0, 2, 113, whole.len()]; // between the fields of the message itself it is a shorter answer
        for length in (0..whole.len()).filter(|length| !ends.contains(length)) {
            assert_eq!(CheckResponse::decode(&whole.slice(..length)), None, "{length}");
        }
        for text in [
            "0a",
            "0affffffffffffffffffff01",
            "08ffffffffffffffffffff01",
            "0800",
            "1200120018",
            "0b0c",
            "00",
            "1a021001",
        ] {
            assert_eq!(CheckResponse::decode(&bytes_of(text)), None, "{text}");
        }
    }
}
