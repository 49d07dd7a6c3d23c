//! Dictionaries of structured fields (RFC 8941), as far as signatures and digests need them, and strictly: a name that is
//! there twice is none, where RFC 8941 lets the last one count.

use base64::{Engine, prelude::BASE64_STANDARD};

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Bare {
    Integer(i64),
    Text(String),
    Token(String),
    Bytes(Vec<u8>),
    Boolean(bool),
}

pub(super) type Parameters = Vec<(String, Bare)>;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Item {
    pub(super) value: Bare,
    pub(super) parameters: Parameters,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Member {
    Item(Item),
    List(Vec<Item>, Parameters),
}

/// Entries of a dictionary, a list or of parameters, at most.
const MAX_ENTRIES: usize = 64;

/// `None`: it is none. The field's values have been joined by commas.
pub(super) fn dictionary(text: &[u8]) -> Option<Vec<(String, Member)>> {
    let mut rest = Rest(text.trim_ascii());
    let mut members: Vec<(String, Member)> = Vec::new();
    loop {
        let key = rest.key()?;
        let member = match rest.take(b'=') {
            true => rest.member()?,
            false => Member::Item(Item { value: Bare::Boolean(true), parameters: rest.parameters()? }),
        };
        add(&mut members, key, member)?;
        rest.blank(true);
        if rest.0.is_empty() {
            return Some(members);
        }
        if !rest.take(b',') {
            return None;
        }
        rest.blank(true);
    }
}

fn add<T>(entries: &mut Vec<(String, T)>, key: String, value: T) -> Option<()> {
    let fits = entries.len() < MAX_ENTRIES && entries.iter().all(|(known, _)| *known != key);
    fits.then(|| entries.push((key, value)))
}

/// What is still to be read.
struct Rest<'t>(&'t [u8]);

impl Rest<'_> {
    fn peek(&self) -> Option<u8> {
        self.0.first().copied()
    }

    fn take(&mut self, byte: u8) -> bool {
        let is = self.peek() == Some(byte);
        if is {
            self.0 = &self.0[1..];
        }
        is
    }

    fn blank(&mut self, tabs: bool) {
        while self.take(b' ') || (tabs && self.take(b'\t')) {}
    }

    /// As many as fit.
    fn run(&mut self, fits: impl Fn(u8) -> bool) -> &[u8] {
        let length = self.0.iter().take_while(|byte| fits(**byte)).count();
        let (run, rest) = self.0.split_at(length);
        self.0 = rest;
        run
    }

    fn key(&mut self) -> Option<String> {
        if !self.peek().is_some_and(|byte| byte.is_ascii_lowercase() || byte == b'*') {
            return None;
        }
        let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-.*".contains(&byte);
        String::from_utf8(self.run(fits).to_vec()).ok()
    }

    fn member(&mut self) -> Option<Member> {
        if !self.take(b'(') {
            return self.item().map(Member::Item);
        }
        let mut items = Vec::new();
        loop {
            self.blank(false);
            if self.take(b')') {
                return Some(Member::List(items, self.parameters()?));
            }
            if items.len() == MAX_ENTRIES {
                return None;
            }
            items.push(self.item()?);
            if !matches!(self.peek(), Some(b' ' | b')')) {
                return None;
            }
        }
    }

    fn item(&mut self) -> Option<Item> {
        let value = self.bare()?;
        Some(Item { value, parameters: self.parameters()? })
    }

    fn parameters(&mut self) -> Option<Parameters> {
        let mut parameters = Vec::new();
        while self.take(b';') {
            self.blank(false);
            let key = self.key()?;
            let value = if self.take(b'=') { self.bare()? } else { Bare::Boolean(true) };
            add(&mut parameters, key, value)?;
        }
        Some(parameters)
    }

    /// No decimals: nothing that is read here has any.
    fn bare(&mut self) -> Option<Bare> {
        match self.peek()? {
            b'"' => self.text().map(Bare::Text),
            b':' => self.bytes().map(Bare::Bytes),
            b'?' => {
                self.take(b'?');
                let yes = self.take(b'1');
                (yes || self.take(b'0')).then_some(Bare::Boolean(yes))
            }
            b'-' | b'0'..=b'9' => self.integer().map(Bare::Integer),
            byte if byte.is_ascii_alphabetic() || byte == b'*' => {
                let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~:/".contains(&byte);
                String::from_utf8(self.run(fits).to_vec()).ok().map(Bare::Token)
            }
            _ => None,
        }
    }

    fn text(&mut self) -> Option<String> {
        self.take(b'"');
        let mut text = String::new();
        loop {
            let (first, rest) = self.0.split_first()?;
            self.0 = rest;
            match first {
                b'"' => return Some(text),
                b'\\' => {
                    let (escaped, rest) = self.0.split_first().filter(|(byte, _)| matches!(byte, b'"' | b'\\'))?;
                    self.0 = rest;
                    text.push(char::from(*escaped));
                }
                b' '..=b'~' => text.push(char::from(*first)),
                _ => return None,
            }
        }
    }

    fn bytes(&mut self) -> Option<Vec<u8>> {
        self.take(b':');
        let encoded = self.run(|byte| byte != b':').to_vec();
        if !self.take(b':') {
            return None;
        }
        BASE64_STANDARD.decode(encoded).ok()
    }

    fn integer(&mut self) -> Option<i64> {
        let negative = self.take(b'-');
        let digits = self.run(|byte| byte.is_ascii_digit());
        if digits.is_empty() || digits.len() > 15 {
            return None;
        }
        // Fifteen digits fit.
        let value = digits.iter().fold(0, |all, digit| all * 10 + i64::from(digit - b'0'));
        (self.peek() != Some(b'.')).then_some(if negative { -value } else { value })
    }
}

/// As RFC 8941, 4.1, writes them.
pub(super) fn write_parameters(parameters: &Parameters, out: &mut Vec<u8>) {
    for (key, value) in parameters {
        out.push(b';');
        out.extend_from_slice(key.as_bytes());
        if *value != Bare::Boolean(true) {
            out.push(b'=');
            write_bare(value, out);
        }
    }
}

pub(super) fn write_bare(value: &Bare, out: &mut Vec<u8>) {
    match value {
        Bare::Integer(value) => out.extend_from_slice(itoa::Buffer::new().format(*value).as_bytes()),
        Bare::Token(token) => out.extend_from_slice(token.as_bytes()),
        Bare::Boolean(value) => out.extend_from_slice(if *value { b"?1" } else { b"?0" }),
        Bare::Bytes(bytes) => {
            out.push(b':');
            out.extend_from_slice(BASE64_STANDARD.encode(bytes).as_bytes());
            out.push(b':');
        }
        Bare::Text(text) => {
            out.push(b'"');
            for byte in text.bytes() {
                if matches!(byte, b'"' | b'\\') {
                    out.push(b'\\');
                }
                out.push(byte);
            }
            out.push(b'"');
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dictionary_is_read_as_rfc_8941_has_it_and_written_again_in_its_one_form() {
        for (text, expected) in [
            (
                r#"sig=("@method" "a";name="b");created=1;keyid="k\"\\" "#,
                r#"("@method" "a";name="b");created=1;keyid="k\"\\""#,
            ),
            (r#"sig=(  "a"   "b"  );  x=?1;y=?0;z=tok:/en;n=-12"#, r#"("a" "b");x;y=?0;z=tok:/en;n=-12"#),
            ("sig=()", "()"),
            ("sig=();b=:aGk=:", "();b=:aGk=:"),
        ] {
            let members = dictionary(text.as_bytes()).unwrap();
            let [(name, Member::List(items, parameters))] = members.as_slice() else { panic!("{text}") };
            let mut out = b"(".to_vec();
            for (index, item) in items.iter().enumerate() {
                out.extend_from_slice(if index > 0 { b" " } else { b"" });
                write_bare(&item.value, &mut out);
                write_parameters(&item.parameters, &mut out);
            }
            out.push(b')');
            write_parameters(parameters, &mut out);
            assert_eq!((name.as_str(), String::from_utf8(out).unwrap().as_str()), ("sig", expected));
        }
        let both = dictionary(b"a=:aGk=: ,\tb;x=1").unwrap();
        assert_eq!(both[0].1, Member::Item(Item { value: Bare::Bytes(b"hi".to_vec()), parameters: vec![] }));
        assert_eq!(both[1].0, "b");
    }

    #[test]
    fn what_is_malformed_or_there_twice_is_no_dictionary() {
        for text in [
            "",
            ",",
            "a,",
            "A=1",
            "a=",
            "a=1,a=2",
            "a=1 b=2",
            "a=(\"x\"\"y\")",
            "a=(\"x\"",
            "a=1.5",
            "a=1234567890123456",
            "a=\"x",
            "a=\"\\x\"",
            "a=\"\u{e9}\"",
            "a=:aGk:",
            "a=:a Gk=:",
            "a=:aGk=",
            "a=?2",
            "a=1;b=1;b=2",
            "a=1;B=2",
            "a=-",
            "a==1",
            "a=(\"x\");",
            "a=1;;b",
        ] {
            assert_eq!(dictionary(text.as_bytes()), None, "{text}");
        }
        let many: Vec<_> = (0..65).map(|number| format!("a{number}")).collect();
        assert_eq!(dictionary(many.join(",").as_bytes()), None);
    }
}
