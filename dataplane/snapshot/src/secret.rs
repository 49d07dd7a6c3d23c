//! A value that is shown to nobody: not by `Debug`, not by `Serialize`, but on the channel and in the sealed file.

use std::{cell::Cell, fmt};

use serde::{Deserialize, Serialize, Serializer};

/// What is shown in a secret's place.
pub const REDACTED: &str = "[redacted]";

thread_local! {
    static REVEALED: Cell<bool> = const { Cell::new(false) };
}

/// A secret string. It serializes as [`REDACTED`] unless the caller is inside [`reveal`].
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    pub fn new(value: impl Into<String>) -> Self {
        Self(value.into())
    }

    /// The value itself. Whoever calls this answers for where it goes.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(REDACTED)
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(if REVEALED.get() { &self.0 } else { REDACTED })
    }
}

/// Runs `encode` with secrets serialized as they are: for the channel between the halves, the sealed file on disk and
/// digests, nothing else. Redaction is the default, so that a forgotten call hides and never shows.
pub(crate) fn reveal<T>(encode: impl FnOnce() -> T) -> T {
    struct Restore(bool);
    impl Drop for Restore {
        fn drop(&mut self) {
            REVEALED.set(self.0);
        }
    }
    let _restore = Restore(REVEALED.replace(true));
    encode()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_shows_itself_only_inside_reveal() {
        let secret = Secret::new("hunter2");
        assert_eq!(format!("{secret:?}"), REDACTED);
        assert_eq!(serde_json::to_string(&secret).unwrap(), format!("\"{REDACTED}\""));
        assert_eq!(reveal(|| serde_json::to_string(&secret).unwrap()), "\"hunter2\"");
        let panicked = std::panic::catch_unwind(|| reveal(|| panic!("mid-way")));
        assert!(panicked.is_err());
        assert_eq!(
            serde_json::to_string(&secret).unwrap(),
            format!("\"{REDACTED}\""),
            "redaction is back after a panic"
        );
    }
}
