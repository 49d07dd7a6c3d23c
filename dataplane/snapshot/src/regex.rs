//! Regular expressions that users write. Both halves build them here, under the same bounds: what the compiler accepts,
//! the data plane builds.
//!
//! The engine is linear in the text whatever the pattern (RE2 syntax: no look-around, no back references). What a
//! pattern costs before that, in time and memory, is bounded by [`MAX_PATTERN`], [`MAX_GROUPS`] and [`MAX_AUTOMATON`].

use regex_automata::meta::{Builder, Config, Regex};
use regex_syntax::hir::{Hir, Look};

/// Bytes of a pattern.
pub const MAX_PATTERN: usize = 4096;

/// Groups and repetitions within one another.
pub const MAX_GROUPS: u32 = 64;

/// Bytes of the automaton that a pattern becomes. `[\w.-]{1,64}@example\.com` takes 200 KiB, since `\w` is all of Unicode.
pub const MAX_AUTOMATON: usize = 1 << 20;

/// Bytes of each thread's cache of states: beyond, states are forgotten and built again.
const STATE_CACHE: usize = 256 << 10;

/// Why a pattern is refused; each text ends a sentence that names the pattern's place.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RegexError {
    #[error("the regular expression has {0} bytes, {MAX_PATTERN} are allowed")]
    TooLong(usize),
    #[error("invalid regular expression: {message} (at byte {offset})")]
    Syntax { message: String, offset: usize },
    #[error("the regular expression is too large once its repetitions are written out ({} KiB are allowed)", MAX_AUTOMATON >> 10)]
    TooLarge,
}

/// The automaton of `pattern`; if `whole`, it matches only a text that it covers from end to end.
pub fn build(pattern: &str, whole: bool) -> Result<Regex, RegexError> {
    if pattern.len() > MAX_PATTERN {
        return Err(RegexError::TooLong(pattern.len()));
    }
    let mut parser = regex_syntax::ParserBuilder::new().nest_limit(MAX_GROUPS).build();
    let mut hir = parser.parse(pattern).map_err(|error| syntax(&error))?;
    if whole {
        // On the parsed form: around the text, `a)|(b` or a comment of `(?x)` would leave the group.
        hir = Hir::concat(vec![Hir::look(Look::Start), hir, Hir::look(Look::End)]);
    }
    let bounds = Config::new()
        .nfa_size_limit(Some(MAX_AUTOMATON))
        .onepass_size_limit(Some(MAX_AUTOMATON))
        .hybrid_cache_capacity(STATE_CACHE);
    // Whatever else the engine may refuse at this point, it refuses for size.
    Builder::new().configure(bounds).build_from_hir(&hir).map_err(|_| RegexError::TooLarge)
}

fn syntax(error: &regex_syntax::Error) -> RegexError {
    let (message, offset) = match error {
        regex_syntax::Error::Parse(error) => (error.kind().to_string(), error.span().start.offset),
        regex_syntax::Error::Translate(error) => (error.kind().to_string(), error.span().start.offset),
        error => (error.to_string(), 0),
    };
    RegexError::Syntax { message, offset }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(pattern: &str) -> RegexError {
        build(pattern, false).map(|_| ()).expect_err("the pattern should be refused")
    }

    #[test]
    fn whole_matches_cover_the_text_whatever_the_alternatives() {
        let regex = build("/a|/ab|/a/(b|c)+", true).unwrap();
        for text in ["/a", "/ab", "/a/bcb"] {
            assert!(regex.is_match(text), "{text}");
        }
        for text in ["/abc", "x/a", "/a\n", "\n/a", "/a/", ""] {
            assert!(!regex.is_match(text), "{text:?}");
        }
    }

    #[test]
    fn flags_comments_and_anchors_of_a_pattern_do_not_undo_whole() {
        for pattern in ["(?m)^/a$", "(?x)/a # )|(.*", "(?i)/A", "(?s)/a"] {
            let regex = build(pattern, true).unwrap();
            assert!(regex.is_match("/a"), "{pattern}");
            assert!(!regex.is_match("/a\n/b"), "{pattern}");
            assert!(!regex.is_match("/b\n/a"), "{pattern}");
        }
        assert!(matches!(build("a)|(b", true), Err(RegexError::Syntax { .. })));
    }

    #[test]
    fn a_search_finds_the_pattern_anywhere() {
        let regex = build("b+", false).unwrap();
        assert!(regex.is_match("abbc"));
        assert!(!regex.is_match("ac"));
    }

    #[test]
    fn repetitions_that_explode_are_refused() {
        let nested =
            ["((a{1,1000}){1,1000})", "(\\pL{1,1000}){1,1000}", "((((a{0,100}){0,100}){0,100}){0,100}){0,100}"];
        for pattern in nested {
            assert_eq!(refused(pattern), RegexError::TooLarge, "{pattern}");
        }
        assert_eq!(refused(&"a".repeat(1 << 20)), RegexError::TooLong(1 << 20));
        assert!(matches!(refused(&"(".repeat(2000)), RegexError::Syntax { .. }));
        assert!(matches!(refused(&format!("{}{}", "(".repeat(100), ")".repeat(100))), RegexError::Syntax { .. }));
    }

    #[test]
    fn an_error_says_what_and_where() {
        let texts = [
            ("a(b", "invalid regular expression: unclosed group (at byte 1)"),
            (
                "a{2,1}",
                "invalid regular expression: invalid repetition count range, the start must be <= the end (at byte 1)",
            ),
            (
                "(?=a)",
                "invalid regular expression: look-around, including look-ahead and look-behind, is not supported (at byte 0)",
            ),
        ];
        for (pattern, text) in texts {
            assert_eq!(refused(pattern).to_string(), text);
        }
    }
}
