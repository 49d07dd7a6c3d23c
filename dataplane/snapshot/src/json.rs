//! JSON in which no member is there twice (RFC 8259, 4): two readers of one text cannot come to different values.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// Why a text is not read. It carries nothing of the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    #[error("it is not JSON (line {line}, column {column})")]
    Syntax { line: usize, column: usize },
    #[error("a member is there twice (line {line}, column {column})")]
    Twice { line: usize, column: usize },
}

/// The value of a whole text: UTF-8, 127 levels deep at most, no member twice at any depth.
pub fn read(text: &[u8]) -> Result<Value, JsonError> {
    let read: Result<Strict, _> = serde_json::from_slice(text);
    read.map(|Strict(value)| value).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        // serde's errors are texts: ours is told by its own words, which no syntax error has.
        if error.to_string().starts_with(TWICE) {
            JsonError::Twice { line, column }
        } else {
            JsonError::Syntax { line, column }
        }
    })
}

const TWICE: &str = "duplicate member";

struct Strict(Value);

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Reader).map(Self)
    }
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("not a number"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(Strict(item)) = items.next_element()? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some((name, Strict(value))) = entries.next_entry::<String, Strict>()? {
            if map.insert(name, value).is_some() {
                return Err(A::Error::custom(TWICE));
            }
        }
        Ok(Value::Object(map))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_member_that_is_there_twice_at_any_depth_is_refused() {
        for text in [r#"{"a":1,"a":1}"#, r#"[{"b":{"a":1,"\u0061":2}}]"#] {
            assert!(matches!(read(text.as_bytes()), Err(JsonError::Twice { line: 1, .. })), "{text}");
        }
        for text in ["", "{", "{}x", "1e999", "\"\\ud800\"", "{\"duplicate member\"}", "[1,]", "NaN"] {
            assert!(matches!(read(text.as_bytes()), Err(JsonError::Syntax { .. })), "{text}");
        }
        assert!(read(b"\"\xff\"").is_err());
        assert!(read("[".repeat(200).as_bytes()).is_err(), "no stack is used up");
    }

    #[test]
    fn whatever_has_no_member_twice_reads_as_elsewhere() {
        let text = r#" {"n":null,"b":[true,false],"i":-1,"u":18446744073709551615,"f":1.5,"e":1e3,"s":"\u00e9","o":{"a":{}}} "#;
        let expected: Value = serde_json::from_str(text).unwrap();
        assert_eq!(read(text.as_bytes()), Ok(expected));
        assert_eq!(read(b"3"), Ok(json!(3)));
    }
}
