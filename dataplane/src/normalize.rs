//! The one normal form of paths, used for route, policy and upstream alike.
