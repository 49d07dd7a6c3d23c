//! What closes connections that nobody uses.

use std::{
    rc::{Rc, Weak},
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::sync::Notify;

use super::{Inner, Pools, Stock, http1, http2};

/// How often connections are looked through. Also how exact an idle time-out is.
const SWEEP: Duration = Duration::from_millis(250);

impl Pools {
    pub(super) fn start_sweeper(&self) {
        tokio::task::spawn_local(sweep(Rc::downgrade(&self.0), Arc::clone(&self.0.wanted)));
    }

    /// Gives away what is idle here and wanted elsewhere, oldest first.
    fn give_away(&self) {
        while let Some(connection) = self.wanted_elsewhere() {
            self.put(connection);
        }
        for connection in self.wanted_shared() {
            self.offer(&connection);
        }
    }

    fn wanted_elsewhere(&self) -> Option<Box<http1::Connection>> {
        let mut stocks = self.0.stocks.borrow_mut();
        let wanted = |stock: &&mut Stock| stock.idle.first().is_some_and(|(oldest, _)| oldest.place().is_wanted());
        stocks.values_mut().find(wanted).map(|stock| stock.idle.remove(0).0)
    }

    fn wanted_shared(&self) -> Vec<Rc<http2::Connection>> {
        let stocks = self.0.stocks.borrow();
        let shared = stocks.values().flat_map(|stock| &stock.shared);
        shared.filter(|connection| connection.is_idle() && connection.is_wanted()).cloned().collect()
    }

    /// Closes what has been idle for too long, what the backend has closed, and what belongs to endpoints that are gone.
    /// False if nothing is left.
    fn clean(&self, now: Instant) -> bool {
        self.0.now.set(Some(now));
        let mut stocks = self.0.stocks.borrow_mut();
        for stock in stocks.values_mut() {
            let timeout = stock.timeout;
            stock.idle.retain_mut(|(connection, since)| {
                now.duration_since(*since) < timeout && connection.endpoint.strong_count() > 0 && connection.is_alive()
            });
            stock.shared.retain(|connection| {
                let late = now.duration_since(connection.idle_since()) >= timeout;
                let keep = !connection.is_idle() || !(late || connection.endpoint.strong_count() == 0);
                if !keep {
                    drop(connection.close());
                }
                keep
            });
        }
        // Whoever has a place has a share.
        stocks.retain(|_, stock| Arc::strong_count(&stock.share) > 1 || stock.opening.is_some());
        self.0.swept.set(!stocks.is_empty());
        self.0.swept.get()
    }
}

async fn sweep(pools: Weak<Inner>, wanted: Arc<Notify>) {
    let mut next = tokio::time::Instant::now() + SWEEP;
    loop {
        let due = tokio::time::timeout_at(next, wanted.notified()).await.is_err();
        let Some(pools) = pools.upgrade().map(Pools) else { return };
        pools.give_away();
        if due {
            next = tokio::time::Instant::now() + SWEEP;
            if !pools.clean(Instant::now()) {
                return;
            }
        }
    }
}
