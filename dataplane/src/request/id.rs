//! `x-request-id`: a client's own, or a fresh one.

use std::{
    cell::{Cell, RefCell},
    hash::BuildHasher,
};

use bytes::BytesMut;
use http::{HeaderMap, HeaderName, HeaderValue};

pub const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Of a client's own.
const MAX_LENGTH: usize = 128;

/// The client's own, if it is one and has at most 128 visible ASCII characters.
pub fn keep(headers: &HeaderMap) -> Option<HeaderValue> {
    let mut values = headers.get_all(X_REQUEST_ID).iter();
    let id = values.next().filter(|id| (1..=MAX_LENGTH).contains(&id.len()))?;
    let visible = id.as_bytes().iter().all(u8::is_ascii_graphic);
    (visible && values.next().is_none()).then(|| id.clone())
}

/// Fresh ids of one worker: 32 hexadecimal digits that never repeat within it, nor in practice elsewhere.
pub(crate) struct RequestIds {
    worker: u64,
    count: Cell<u64>,
    /// Memory for the next ones. It is small, for one that is kept keeps all of it.
    room: RefCell<BytesMut>,
}

/// Ids that share a piece of memory.
const TOGETHER: usize = 32;

const LENGTH: usize = 32;

impl RequestIds {
    pub(crate) fn new() -> Self {
        let random = || getrandom::u64().unwrap_or_else(|_| foldhash::fast::RandomState::default().hash_one(0));
        Self { worker: random(), count: Cell::new(random()), room: RefCell::default() }
    }

    pub(crate) fn next(&self) -> HeaderValue {
        let count = self.count.get().wrapping_add(1);
        self.count.set(count);
        let mut room = self.room.borrow_mut();
        if room.capacity() < LENGTH {
            *room = BytesMut::with_capacity(TOGETHER * LENGTH);
        }
        // Mixed, so that an id does not tell how many requests there have been; one to one, so that none repeats.
        for word in [self.worker ^ mix(count), mix(count ^ self.worker)] {
            room.extend_from_slice(&digits(word));
        }
        // Invariant: hexadecimal digits are visible ASCII.
        HeaderValue::from_maybe_shared(room.split().freeze()).expect("digits are a value (invariant)")
    }
}

/// The first digit first.
fn digits(word: u64) -> [u8; 16] {
    // A digit to a byte, all at once.
    let spread = |half: u64| {
        let pairs = (half | (half << 16)) & 0x0000_ffff_0000_ffff;
        let bytes = (pairs | (pairs << 8)) & 0x00ff_00ff_00ff_00ff;
        (bytes | (bytes << 4)) & 0x0f0f_0f0f_0f0f_0f0f
    };
    let text = |nibbles: u64| {
        // One in each byte that is ten or more, for which the letters begin 39 places after the digits.
        let letters = ((nibbles + 0x0606_0606_0606_0606) >> 4) & 0x0101_0101_0101_0101;
        (nibbles + 0x3030_3030_3030_3030 + letters * 39).to_be_bytes()
    };
    let (high, low) = (text(spread(word >> 32)), text(spread(word & 0xffff_ffff)));
    std::array::from_fn(|at| if at < 8 { high[at] } else { low[at - 8] })
}

/// The finalizer of splitmix64: a bijection.
fn mix(mut word: u64) -> u64 {
    word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn fresh_ids_are_32_digits_and_do_not_repeat() {
        let ids = RequestIds::new();
        let some: HashSet<_> = (0..10_000).map(|_| ids.next().to_str().unwrap().to_owned()).collect();
        assert_eq!(some.len(), 10_000);
        assert!(some.iter().all(|id| id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit())));
    }

    #[test]
    fn digits_are_those_of_the_number() {
        for word in [0, 1, 0x0123_4567_89ab_cdef, 0xfedc_ba98_7654_3210, u64::MAX, 0x9a9a_0f0f_a9a9_f0f0] {
            assert_eq!(str::from_utf8(&digits(word)).unwrap(), format!("{word:016x}"));
        }
    }

    #[test]
    fn a_client_keeps_its_own_id_if_it_is_one_and_fit_for_a_log() {
        let long = "x".repeat(129);
        for (values, kept) in [
            (vec!["abc-123"], true),
            (vec![&long[1..]], true),
            (vec![&long[..]], false),
            (vec![""], false),
            (vec!["a b"], false),
            (vec!["caf\u{e9}"], false),
            (vec!["a", "b"], false),
            (vec![], false),
        ] {
            let headers: HeaderMap =
                values.iter().map(|value| (X_REQUEST_ID, HeaderValue::from_bytes(value.as_bytes()).unwrap())).collect();
            assert_eq!(keep(&headers).is_some(), kept, "{values:?}");
        }
    }
}
