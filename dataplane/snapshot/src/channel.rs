//! How snapshots travel from the controller to a data plane, and what it made of them travels back.
//!
//! The channel conflates: a data plane that is busy gets the latest snapshot when it is done, and none of those in
//! between. It takes a snapshot whole or not at all. What it serves survives the loss of the connection and of the
//! controller; when they meet again it says what it has, and only what differs travels.
//!
//! Two carriers have one interface: [`memory`] for a single process, [`unix`] for two containers of a pod.

mod checker;
mod delivery;
mod frame;
mod memory;
mod subscriber;
pub mod unix;
mod wire;

pub use delivery::{Delivery, Publisher, Refusal};
pub use memory::memory;
pub use subscriber::Subscriber;

#[cfg(test)]
mod tests;
