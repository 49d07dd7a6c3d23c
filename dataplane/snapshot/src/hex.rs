//! Hexadecimal digits, of either case.

/// The value of one digit.
pub fn digit(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

/// A SHA-256: 32 bytes in 64 digits.
pub fn sha256(text: &str) -> Option<[u8; 32]> {
    let (pairs, odd) = text.as_bytes().as_chunks::<2>();
    let mut bytes = [0; 32];
    if pairs.len() != bytes.len() || !odd.is_empty() {
        return None;
    }
    for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
        *byte = digit(*high)? << 4 | digit(*low)?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exactly_64_digits_of_either_case_are_a_sum() {
        let sum = sha256(&"0aF9".repeat(16)).unwrap();
        assert_eq!((sum[0], sum[1], sum[31]), (0x0a, 0xf9, 0xf9));
        for wrong in ["", "0", &"0".repeat(63), &"0".repeat(65), &"0".repeat(66), &"+f".repeat(32), &"0g".repeat(32)] {
            assert_eq!(sha256(wrong), None, "{wrong}");
        }
    }
}
