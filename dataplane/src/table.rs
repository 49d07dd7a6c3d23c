//! The table: which rule a request belongs to. Built from a snapshot, swapped whole.
