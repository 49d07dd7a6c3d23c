//! What an operator may see and reset: `--admin` (loopback) and `--probe` (health, readiness, metrics only).
