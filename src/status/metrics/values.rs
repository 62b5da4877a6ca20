//! The values of all metrics at the moment of a scrape, and how those of the process are written.

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use prometheus_client::encoding::{EncodeGaugeValue, MetricEncoder, NoLabelSet};

use super::Live;
use crate::counters::{
    ByReason, GatewayReading, PUSH_OUTCOMES, Reading, RealmReading, RouteReading,
};
use crate::status::accounts::AccountState;
use crate::status::process::Process;

/// Everything that was read for one scrape.
#[derive(Debug)]
pub(super) struct Values {
    pub(super) accounts: Vec<AccountState>,
    /// In seconds; `None` = nothing is needed.
    pub(super) reserve: Option<f64>,
    pub(super) renewals: HashMap<String, ByReason>,
    pub(super) pushes: HashMap<String, [u64; PUSH_OUTCOMES.len()]>,
    pub(super) forward_failures: HashMap<String, [u64; 1]>,
    pub(super) calls: Vec<(String, &'static str, &'static str, u64)>,
    pub(super) call_durations: Reading,
    pub(super) is_store_up: bool,
    pub(super) store: Vec<(&'static str, Reading)>,
    pub(super) routes: Vec<RouteReading>,
    pub(super) gateway: Vec<GatewayReading>,
    pub(super) gateway_realms: BTreeMap<String, RealmReading>,
    pub(super) clock_offset: Option<f64>,
    pub(super) lost_lines: u64,
    pub(super) process: Process,
    pub(super) live: Live,
}

/// Writes the samples of one metric.
pub(super) struct Samples<'a> {
    family: MetricEncoder<'a>,
    labels: &'static [&'static str],
}

impl<'a> Samples<'a> {
    pub(super) fn new(family: MetricEncoder<'a>, labels: &'static [&'static str]) -> Self {
        Self { family, labels }
    }

    /// One sample; the values of its labels in the order of the table.
    fn put<const N: usize>(
        &mut self,
        labels: [&str; N],
        value: impl EncodeGaugeValue,
    ) -> fmt::Result {
        debug_assert_eq!(self.labels.len(), N);
        if N == 0 {
            return self.family.encode_gauge(&value);
        }
        let labels: [(&str, &str); N] =
            std::array::from_fn(|index| (self.labels[index], labels[index]));
        self.family.encode_family(&labels)?.encode_gauge(&value)
    }

    fn put_durations<const N: usize>(
        &mut self,
        labels: [&str; N],
        durations: &Reading,
    ) -> fmt::Result {
        let bounds = durations.bounds.iter().map(|bound| *bound as f64 / 1000.0);
        let bounds = bounds.chain([f64::INFINITY]);
        let buckets: Vec<_> = bounds.zip(durations.counts.iter().copied()).collect();
        let (sum, count) = (durations.sum_ms as f64 / 1000.0, durations.count());
        if N == 0 {
            return self
                .family
                .encode_histogram::<NoLabelSet>(sum, count, &buckets, None);
        }
        let labels: [(&str, &str); N] =
            std::array::from_fn(|index| (self.labels[index], labels[index]));
        self.family
            .encode_family(&labels)?
            .encode_histogram::<NoLabelSet>(sum, count, &buckets, None)
    }

    fn put_known(&mut self, value: Option<f64>) -> fmt::Result {
        value.map_or(Ok(()), |value| self.put([], value))
    }
}

impl Values {
    pub(super) fn build(&self, to: &mut Samples<'_>) -> fmt::Result {
        to.put([env!("CARGO_PKG_VERSION")], 1_u64)
    }

    pub(super) fn reserve(&self, to: &mut Samples<'_>) -> fmt::Result {
        to.put([], self.reserve.unwrap_or(f64::INFINITY))
    }

    pub(super) fn calls(&self, to: &mut Samples<'_>) -> fmt::Result {
        let mut calls = self.calls.iter();
        calls.try_for_each(|(host, call, outcome, count)| to.put([host, call, outcome], *count))
    }

    pub(super) fn call_durations(&self, to: &mut Samples<'_>) -> fmt::Result {
        to.put_durations([], &self.call_durations)
    }

    pub(super) fn store_up(&self, to: &mut Samples<'_>) -> fmt::Result {
        to.put([], u64::from(self.is_store_up))
    }

    pub(super) fn store(&self, to: &mut Samples<'_>) -> fmt::Result {
        let mut operations = self.store.iter();
        operations.try_for_each(|(name, durations)| to.put_durations([name], durations))
    }

    pub(super) fn requests(&self, to: &mut Samples<'_>) -> fmt::Result {
        for route in &self.routes {
            for (status, count) in &route.statuses {
                to.put([route.route, status], *count)?;
            }
        }
        Ok(())
    }

    pub(super) fn request_durations(&self, to: &mut Samples<'_>) -> fmt::Result {
        let mut used = self
            .routes
            .iter()
            .filter(|route| !route.statuses.is_empty());
        used.try_for_each(|route| to.put_durations([route.route], &route.durations))
    }

    pub(super) fn waiting(&self, to: &mut Samples<'_>) -> fmt::Result {
        to.put([], self.live.waiting)
    }

    pub(super) fn overloads(&self, to: &mut Samples<'_>) -> fmt::Result {
        to.put([], self.live.overloads)
    }

    pub(super) fn gateway(&self, to: &mut Samples<'_>) -> fmt::Result {
        self.gateway.iter().try_for_each(|one| {
            let labels = [&one.realm, &one.account, one.area, one.outcome.name()];
            to.put(labels, one.count)
        })
    }

    pub(super) fn gateway_bytes(&self, to: &mut Samples<'_>) -> fmt::Result {
        let mut realms = self.gateway_realms.clone();
        for realm in &self.live.gateway_realms {
            realms.entry(realm.clone()).or_default();
        }
        realms.iter().try_for_each(|(realm, reading)| {
            to.put([realm, "in"], reading.bytes_in)?;
            to.put([realm, "out"], reading.bytes_out)
        })
    }

    pub(super) fn clock_offset(&self, to: &mut Samples<'_>) -> fmt::Result {
        to.put([], self.clock_offset.unwrap_or(f64::NAN))
    }

    pub(super) fn lost_lines(&self, to: &mut Samples<'_>) -> fmt::Result {
        to.put([], self.lost_lines)
    }

    pub(super) fn cpu(&self, to: &mut Samples<'_>) -> fmt::Result {
        to.put_known(self.process.cpu_seconds)
    }

    pub(super) fn resident(&self, to: &mut Samples<'_>) -> fmt::Result {
        to.put_known(self.process.resident_memory)
    }

    pub(super) fn virtual_memory(&self, to: &mut Samples<'_>) -> fmt::Result {
        to.put_known(self.process.virtual_memory)
    }

    pub(super) fn open_files(&self, to: &mut Samples<'_>) -> fmt::Result {
        to.put_known(self.process.open_files)
    }

    pub(super) fn most_files(&self, to: &mut Samples<'_>) -> fmt::Result {
        to.put_known(self.process.most_files)
    }

    pub(super) fn threads(&self, to: &mut Samples<'_>) -> fmt::Result {
        to.put_known(self.process.threads)
    }

    pub(super) fn start_time(&self, to: &mut Samples<'_>) -> fmt::Result {
        to.put_known(self.process.start_time)
    }
}
