//! Reads `/metrics`.

use std::collections::BTreeMap;

use ravelin_echo::client::{DEADLINE, get};

use crate::gateway::Gateway;

/// Values by name and labels, as they are written.
pub(crate) struct Scrape(BTreeMap<String, f64>);

impl Scrape {
    pub(crate) async fn of(gateway: &Gateway) -> Self {
        let answer = get(gateway.running.addresses.admin.unwrap(), "localhost", "/metrics").await.unwrap();
        assert_eq!(answer.status, 200);
        let text = String::from_utf8(answer.body.to_vec()).unwrap();
        let rows = text.lines().filter(|line| !line.starts_with('#')).map(|line| {
            let (name, value) = line.rsplit_once(' ').unwrap();
            (name.to_owned(), value.parse().unwrap())
        });
        Self(rows.collect())
    }

    /// The first that is as it should be.
    pub(crate) async fn when(gateway: &Gateway, is: impl Fn(&Self) -> bool) -> Self {
        let wait = async {
            loop {
                let scrape = Self::of(gateway).await;
                if is(&scrape) {
                    return scrape;
                }
            }
        };
        tokio::time::timeout(DEADLINE, wait).await.unwrap()
    }

    /// 0 if it is not there.
    pub(crate) fn value(&self, row: &str) -> f64 {
        self.0.get(row).copied().unwrap_or_default()
    }

    /// All rows of a name, without it.
    pub(crate) fn rows(&self, name: &str) -> Vec<(&str, f64)> {
        let rows = self.0.iter().filter_map(|(row, value)| Some((row.strip_prefix(name)?, *value)));
        rows.filter(|(labels, _)| labels.is_empty() || labels.starts_with('{')).collect()
    }
}
