//! The table of all metrics: name, type, labels, what it says, and which of the values it shows. To
//! add one, add a row here and a line to docs/metrics.md and its Chinese page.

use std::fmt;

use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::metrics::MetricType;

use self::Kind::{Counter, Gauge};
use super::per_account::{self, Lines};
use super::values::{Samples, Values};

/// One metric.
pub struct Metric {
    /// Its name.
    pub name: &'static str,
    /// Its type, in Prometheus' word.
    pub kind: Kind,
    /// The names of its labels.
    pub labels: &'static [&'static str],
    pub(super) help: &'static str,
    write: Writer,
}

/// Writes the samples of one metric.
enum Writer {
    /// Of the process.
    Samples(WriteSamples),
    /// Of every account.
    PerAccount(WriteLines),
}

type WriteSamples = fn(&Values, &mut Samples<'_>) -> fmt::Result;
type WriteLines = fn(&Values, &mut Lines<'_>) -> fmt::Result;

/// The types that we have.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// It only grows.
    Counter,
    /// It goes up and down.
    Gauge,
    /// Durations in buckets.
    Histogram,
}

impl Metric {
    /// Writes a metric of every account.
    pub(super) fn write_lines(&self, values: &Values, text: &mut String) -> fmt::Result {
        match self.write {
            Writer::Samples(_) => Ok(()),
            Writer::PerAccount(write) => write(values, &mut Lines::new(text, self)?),
        }
    }

    /// Writes a metric of the process.
    pub(super) fn write_samples(
        &self,
        values: &Values,
        encoder: &mut DescriptorEncoder<'_>,
    ) -> fmt::Result {
        let Writer::Samples(write) = self.write else {
            return Ok(());
        };
        let kind = match self.kind {
            Kind::Counter => MetricType::Counter,
            Kind::Gauge => MetricType::Gauge,
            Kind::Histogram => MetricType::Histogram,
        };
        let family = encoder.encode_descriptor(self.name, self.help, None, kind)?;
        write(values, &mut Samples::new(family, self.labels))
    }
}

const fn counter(
    name: &'static str,
    labels: &'static [&'static str],
    help: &'static str,
    write: WriteSamples,
) -> Metric {
    Metric {
        name,
        kind: Kind::Counter,
        labels,
        help,
        write: Writer::Samples(write),
    }
}

const fn gauge(
    name: &'static str,
    labels: &'static [&'static str],
    help: &'static str,
    write: WriteSamples,
) -> Metric {
    Metric {
        kind: Kind::Gauge,
        ..counter(name, labels, help, write)
    }
}

const fn histogram(
    name: &'static str,
    labels: &'static [&'static str],
    help: &'static str,
    write: WriteSamples,
) -> Metric {
    Metric {
        kind: Kind::Histogram,
        ..counter(name, labels, help, write)
    }
}

/// The samples of every account; the first label is `appid`.
const fn accounts(
    kind: Kind,
    name: &'static str,
    labels: &'static [&'static str],
    help: &'static str,
    write: WriteLines,
) -> Metric {
    Metric {
        name,
        kind,
        labels,
        help,
        write: Writer::PerAccount(write),
    }
}

/// All metrics. Those of the process are written first, then those of every account.
#[rustfmt::skip]
pub static NAMES: &[Metric] = &[
    gauge("jsdkd_build_info", &["version"], "The version of this program; always 1.", Values::build),
    accounts(Gauge, "jsdkd_credential_expiry_timestamp_seconds", &["appid", "kind"], "When the credential expires. 0: it is needed and there is none. NaN: nobody needs it.", per_account::expiry),
    accounts(Gauge, "jsdkd_credential_renewal_timestamp_seconds", &["appid", "kind"], "When the credential is renewed next. NaN: not before somebody asks for it.", per_account::renewal_time),
    accounts(Gauge, "jsdkd_credential_ready", &["appid", "kind"], "1 if a valid credential is at hand. 0 is normal for one that nobody needs.", per_account::ready),
    accounts(Counter, "jsdkd_renewals_total", &["appid", "kind", "why", "result"], "Calls for a credential.", per_account::renewals),
    accounts(Gauge, "jsdkd_failure_errcode", &["appid", "kind", "errcode"], "1 while the service's last refusal stands.", per_account::failures),
    accounts(Counter, "jsdkd_foreign_refreshes_total", &["appid"], "How often another program has fetched a token.", per_account::foreign),
    accounts(Gauge, "jsdkd_budget_used", &["appid", "budget"], "Used of a daily quota since midnight in Beijing, by all instances.", per_account::budget_used),
    accounts(Gauge, "jsdkd_budget_limit", &["appid", "budget"], "The daily quota.", per_account::budget_limit),
    gauge("jsdkd_reserve_seconds", &[], "How long all accounts of WeChat that are needed are served if WeChat falls silent now.", Values::reserve),
    counter("jsdkd_upstream_requests_total", &["host", "call", "outcome"], "Calls to WeChat.", Values::calls),
    histogram("jsdkd_upstream_request_duration_seconds", &[], "How long calls to WeChat took.", Values::call_durations),
    gauge("jsdkd_store_up", &[], "1 if the latest operations of the store succeeded.", Values::store_up),
    histogram("jsdkd_store_operation_duration_seconds", &["operation"], "How long operations of the store took.", Values::store),
    counter("jsdkd_http_requests_total", &["route", "status"], "Requests by the pattern of their route.", Values::requests),
    histogram("jsdkd_http_request_duration_seconds", &["route"], "How long requests took.", Values::request_durations),
    gauge("jsdkd_waiting", &[], "Requests that wait for WeChat, the store or a back end.", Values::waiting),
    counter("jsdkd_overloads_total", &[], "Requests that were refused because too many waited.", Values::overloads),
    counter("jsdkd_gateway_requests_total", &["realm", "appid", "area", "outcome"], "Calls through the gateway.", Values::gateway),
    counter("jsdkd_gateway_bytes_total", &["realm", "direction"], "Bytes of bodies through the gateway.", Values::gateway_bytes),
    accounts(Counter, "jsdkd_push_messages_total", &["appid", "outcome"], "Messages that WeChat pushed.", per_account::pushes),
    accounts(Counter, "jsdkd_forward_failures_total", &["appid"], "Messages that a back end did not take.", per_account::forward_failures),
    gauge("jsdkd_clock_offset_seconds", &[], "How far our clock is ahead of WeChat's. NaN until WeChat has answered.", Values::clock_offset),
    counter("jsdkd_log_lines_lost_total", &[], "Log lines that were dropped because nobody read them in time.", Values::lost_lines),
    counter("process_cpu_seconds_total", &[], "Processor time.", Values::cpu),
    gauge("process_resident_memory_bytes", &[], "Resident memory.", Values::resident),
    gauge("process_virtual_memory_bytes", &[], "Virtual memory.", Values::virtual_memory),
    gauge("process_open_fds", &[], "Open files.", Values::open_files),
    gauge("process_max_fds", &[], "The limit of open files.", Values::most_files),
    gauge("process_threads", &[], "Threads.", Values::threads),
    gauge("process_start_time_seconds", &[], "When the process started.", Values::start_time),
];
