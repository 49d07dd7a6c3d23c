//! Frames on a byte stream: a length of four bytes, big-endian, then so many bytes.
