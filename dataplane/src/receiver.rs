//! Takes snapshots from the channel, builds tables of them, and says whether it serves them.
