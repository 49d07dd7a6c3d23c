//! The families of a scrape, in the encoder's own form.

use prometheus::proto::{Bucket, Counter, Gauge, LabelPair, Metric, MetricFamily, MetricType};

use super::histogram::Histogram;

/// Families in the order in which they were added. One without a row is left out.
#[derive(Default)]
pub(super) struct Families(pub(super) Vec<MetricFamily>);

/// A row: its labels and its value.
pub(super) type Row<V> = (Vec<(&'static str, String)>, V);

impl Families {
    pub(super) fn counter(&mut self, name: &str, help: &str, rows: impl IntoIterator<Item = Row<u64>>) {
        self.add(name, help, MetricType::COUNTER, rows, |metric, value| {
            let mut counter = Counter::default();
            counter.set_value(value as f64);
            metric.set_counter(counter);
        });
    }

    pub(super) fn gauge(&mut self, name: &str, help: &str, rows: impl IntoIterator<Item = Row<f64>>) {
        self.add(name, help, MetricType::GAUGE, rows, |metric, value| {
            let mut gauge = Gauge::default();
            gauge.set_value(value);
            metric.set_gauge(gauge);
        });
    }

    pub(super) fn histogram<'h>(&mut self, name: &str, help: &str, rows: impl IntoIterator<Item = Row<&'h Histogram>>) {
        self.add(name, help, MetricType::HISTOGRAM, rows, |metric, value| {
            let bucket = |(bound, count)| {
                let mut bucket = Bucket::default();
                bucket.set_upper_bound(bound);
                bucket.set_cumulative_count(count);
                bucket
            };
            let mut histogram = prometheus::proto::Histogram::default();
            histogram.set_bucket(value.cumulative().map(bucket).collect());
            histogram.set_sample_count(value.count());
            histogram.set_sample_sum(value.sum());
            metric.set_histogram(histogram);
        });
    }

    fn add<V>(
        &mut self,
        name: &str,
        help: &str,
        kind: MetricType,
        rows: impl IntoIterator<Item = Row<V>>,
        put: impl Fn(&mut Metric, V),
    ) {
        let metrics: Vec<Metric> = rows
            .into_iter()
            .map(|(labels, value)| {
                let mut metric = Metric::from_label(labels.into_iter().map(pair).collect());
                put(&mut metric, value);
                metric
            })
            .collect();
        if metrics.is_empty() {
            return;
        }
        let mut family = MetricFamily::default();
        family.set_name(name.to_owned());
        family.set_help(help.to_owned());
        family.set_field_type(kind);
        family.set_metric(metrics);
        self.0.push(family);
    }
}

fn pair((name, value): (&'static str, String)) -> LabelPair {
    let mut pair = LabelPair::default();
    pair.set_name(name.to_owned());
    pair.set_value(value);
    pair
}
