//! Bodies of answers: nothing, a few bytes of our own, or a stream from a backend.
