//! A look at an expression before it is parsed: the parser recurses, so what it recurses on is bounded first.
//!
//! Brackets nest, and chains of operators or members lean to one side: both become depth. Chains of `&&` and `||` do not
//! count (they become balanced trees), nor do commas. The bound here is coarse; the tree's own depth is checked later.

use super::ExpressionError;

/// Brackets and chained operators above one another.
const MAX_LEVELS: usize = 100;

/// Brackets within one another: what costs the parser most of its stack.
const MAX_BRACKETS: usize = 32;

/// Passes over `source` once; refuses it where it goes too deep, or where a text has no end.
pub(super) fn check(source: &str) -> Result<(), ExpressionError> {
    let bytes = source.as_bytes();
    let mut levels = Levels { open: Vec::new(), below: 0, here: 0 };
    let mut at = 0;
    while at < bytes.len() {
        match bytes[at] {
            b'\'' | b'"' => {
                at = text_end(bytes, at).ok_or_else(|| {
                    ExpressionError::at(
                        source,
                        at,
                        "the text has no closing quote",
                        "close it with the quote that opens it",
                    )
                })?;
                continue;
            }
            b'/' if bytes[at..].starts_with(b"//") => {
                at += bytes[at..].iter().position(|byte| *byte == b'\n').unwrap_or(bytes.len() - at);
                continue;
            }
            b'&' | b'|' | b',' => levels.here = 0,
            b'(' | b'[' | b'{' => levels.enter(),
            b')' | b']' | b'}' => levels.leave(),
            b'?' => levels.below += 1, // `a ? b : c ? d : e` leans to the right, across `&&` and all
            b'.' | b'+' | b'-' | b'*' | b'/' | b'%' | b'<' | b'>' | b'!' => levels.here += 1,
            b'=' if at > 0 && bytes[at - 1] == b'=' => levels.here += 1,
            b'i' if is_in(bytes, at) => levels.here += 1,
            _ => {}
        }
        if levels.below + levels.here > MAX_LEVELS || levels.open.len() > MAX_BRACKETS {
            let message = format!("the expression goes deeper than {MAX_BRACKETS} brackets or {MAX_LEVELS} operators");
            return Err(ExpressionError::at(source, at, message, "split the expression, or use a list and `in`"));
        }
        at += 1;
    }
    Ok(())
}

struct Levels {
    /// For every open bracket, the levels outside of it.
    open: Vec<(usize, usize)>,
    /// Levels outside of the innermost bracket, and of its conditionals.
    below: usize,
    /// Since the last `&&`, `||` or comma.
    here: usize,
}

impl Levels {
    fn enter(&mut self) {
        self.open.push((self.below, self.here));
        self.below += self.here + 1;
        self.here = 0;
    }

    /// A bracket that closes is one operand of what is around it (a call or an index goes on with the chain).
    fn leave(&mut self) {
        if let Some((below, here)) = self.open.pop() {
            (self.below, self.here) = (below, here + 1);
        }
    }
}

/// The operator `in`, rather than a part of a name.
fn is_in(bytes: &[u8], at: usize) -> bool {
    let part_of_name = |byte: Option<&u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'_');
    bytes[at..].starts_with(b"in") && !part_of_name(bytes.get(at + 2)) && (at == 0 || !part_of_name(bytes.get(at - 1)))
}

/// Behind the quote that closes the text that opens at `start`.
fn text_end(bytes: &[u8], start: usize) -> Option<usize> {
    let raw = start > 0 && {
        let letters = bytes[..start].iter().rev().take_while(|byte| byte.is_ascii_alphabetic()).count();
        letters <= 2 && bytes[start - letters..start].iter().any(|byte| byte.eq_ignore_ascii_case(&b'r'))
    };
    let quote = bytes[start];
    let triple = [quote; 3];
    let closing: &[u8] = if bytes[start..].starts_with(&triple) { &triple } else { &triple[..1] };
    let mut at = start + closing.len();
    while at < bytes.len() {
        if bytes[at..].starts_with(closing) {
            return Some(at + closing.len());
        }
        at += if bytes[at] == b'\\' && !raw { 2 } else { 1 };
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_chains_of_and_and_or_are_not_deep() {
        check(&vec!["request.path == '/a'"; 200].join(" && ")).unwrap();
        check(&vec!["a"; 1000].join("||")).unwrap();
        check(&format!("a in [{}]", vec!["'x'"; 1000].join(","))).unwrap();
    }

    #[test]
    fn what_becomes_depth_is_bounded() {
        let deep = [
            "(".repeat(33),
            "[".repeat(33),
            "a.".repeat(120),
            vec!["1"; 120].join("+"),
            "!".repeat(120),
            "a?b:".repeat(120),
            "a[0]".repeat(120),
            vec!["a"; 120].join(" in "),
            vec!["a"; 120].join("=="),
        ];
        for source in deep {
            assert!(check(&source).is_err(), "{source}");
        }
    }

    #[test]
    fn texts_and_comments_are_not_looked_into() {
        let brackets = "(".repeat(200);
        for source in [
            format!("'{brackets}'"),
            format!("\"{brackets}\""),
            format!("'''{brackets}' '''"),
            format!("r'{brackets}\\'"),
            format!("br\"{brackets}\\\""),
            format!("'\\'{brackets}'"),
            format!("true // {brackets}\n"),
        ] {
            check(&source).unwrap();
        }
        assert_eq!(check("a == 'b").unwrap_err().column, 6);
    }
}
