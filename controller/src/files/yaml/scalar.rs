//! What a scalar means: YAML 1.1 as `kubectl` reads it (`sigs.k8s.io/yaml`), not YAML 1.2. `on` is true, `010` is 8.

use serde_json::Number;

use super::Content;

/// `tag` is the part behind `tag:yaml.org,2002:`.
pub(super) fn read(text: &str, plain: bool, tag: Option<&str>) -> Content {
    match tag {
        None if plain => resolve(text),
        None | Some("str") => Content::Text(text.to_owned()),
        Some("int" | "float" | "bool" | "null") => resolve(text),
        Some(_) => Content::Bad("a tag that is not one of !!str, !!int, !!float, !!bool, !!null"),
    }
}

/// A key as JSON has it: `yes: 1` is the key `true`.
pub(super) fn key(content: &Content) -> Option<String> {
    match content {
        Content::Text(text) => Some(text.clone()),
        Content::Bool(value, _) => Some(value.to_string()),
        Content::Number(number, _) => Some(number.to_string()),
        _ => None,
    }
}

fn resolve(text: &str) -> Content {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Content::Null,
        "y" | "Y" | "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => {
            Content::Bool(true, text.into())
        }
        "n" | "N" | "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => {
            Content::Bool(false, text.into())
        }
        ".nan" | ".NaN" | ".NAN" | ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" | "-.inf" | "-.Inf"
        | "-.INF" => Content::Bad("a number that JSON does not have"),
        _ => match text.as_bytes()[0] {
            b'.' => decimal(text).map_or_else(|| Content::Text(text.to_owned()), |number| numeric(number, text)),
            b'0'..=b'9' | b'+' | b'-' => {
                let digits = text.replace('_', "");
                let number = integer(&digits).or_else(|| decimal(&digits));
                number.map_or_else(|| Content::Text(text.to_owned()), |number| numeric(number, text))
            }
            _ => Content::Text(text.to_owned()),
        },
    }
}

fn numeric(number: Number, written: &str) -> Content {
    Content::Number(number, written.into())
}

/// With the prefixes of Go: `0x`, `0o`, `0b`, and `0` for octal. Beyond 64 bits it is no integer.
fn integer(text: &str) -> Option<Number> {
    let (negative, digits) = match text.as_bytes() {
        [b'-', ..] => (true, &text[1..]),
        [b'+', ..] => (false, &text[1..]),
        _ => (false, text),
    };
    let (radix, digits) = match digits.as_bytes() {
        [b'0', b'x' | b'X', ..] => (16, &digits[2..]),
        [b'0', b'o' | b'O', ..] => (8, &digits[2..]),
        [b'0', b'b' | b'B', ..] => (2, &digits[2..]),
        [b'0', _, ..] => (8, &digits[1..]),
        _ => (10, digits),
    };
    if !digits.bytes().all(|digit| digit.is_ascii_alphanumeric()) {
        return None;
    }
    let value = u64::from_str_radix(digits, radix).ok()?;
    if negative { Some(Number::from(0_i64.checked_sub_unsigned(value)?)) } else { Some(Number::from(value)) }
}

/// `[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?`. A whole number is an integer, as it is on its way through JSON.
fn decimal(text: &str) -> Option<Number> {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent.strip_prefix(['-', '+']).unwrap_or(exponent))),
        None => (unsigned, None),
    };
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let (whole, fraction) = mantissa.split_once('.').map_or((mantissa, None), |(w, f)| (w, Some(f)));
    let sound = match fraction {
        None => digits(whole),
        Some("") => digits(whole),
        Some(fraction) => digits(fraction) && (whole.is_empty() || digits(whole)),
    };
    if !sound || !exponent.is_none_or(digits) {
        return None;
    }
    let value: f64 = text.parse().ok()?;
    // Below 2^53 every whole number is exact.
    if value.fract() == 0.0 && value.abs() < 9_007_199_254_740_992.0 {
        return Some(Number::from(value as i64));
    }
    Number::from_f64(value)
}
