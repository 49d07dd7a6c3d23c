//! Peers repeat themselves: what came before over a connection, byte by byte, need not be parsed again, for equal bytes mean
//! the same.

/// The last text of a kind over one connection, and what it was read as.
pub(crate) struct Known<T> {
    text: Vec<u8>,
    /// How often it has come in a row.
    times: u8,
    read: Option<T>,
}

/// Bytes of a text; what is longer is not kept.
const MOST: usize = 2 << 10;

impl<T> Default for Known<T> {
    fn default() -> Self {
        Self { text: Vec::new(), times: 0, read: None }
    }
}

impl<T> Known<T> {
    /// A text that is parsed. True if it is worth keeping what it is read as: it has come twice, and will come again. Who always
    /// says something else costs no more than a copy.
    pub(super) fn note(&mut self, text: &[u8]) -> bool {
        if self.text != text {
            (self.times, self.read) = (0, None);
            self.text.clear();
            self.text.extend_from_slice(if text.len() <= MOST { text } else { b"" });
        }
        self.times = self.times.saturating_add(1);
        self.times == 2
    }

    /// Of the text that was noted last.
    pub(super) fn keep(&mut self, read: T) {
        self.read = Some(read);
    }

    pub(super) fn is_kept(&self) -> bool {
        self.read.is_some()
    }

    /// How long the text is that `bytes` begin with, and what it was read as.
    pub(super) fn find(&self, bytes: &[u8]) -> Option<(usize, &T)> {
        let read = self.read.as_ref()?;
        bytes.starts_with(&self.text).then_some((self.text.len(), read))
    }
}
