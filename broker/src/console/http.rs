//! The HTTP side of a node: `/metrics` (OpenMetrics text), `/health` (the process answers), `/ready` (it serves).
//!
//! Lives on: a side thread of the binary, never on a shard; it reads the shards' counters and nothing else.
#![allow(
    clippy::disallowed_methods,
    reason = "a side thread that serves HTTP may use the standard library; no shard waits for it"
)]

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use hdrhistogram::Histogram;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;
use tiny_http::{Header, Response, Server};

use crate::metrics::NodeMetrics;

/// Quantiles exported for each latency.
const QUANTILES: [f64; 5] = [0.5, 0.9, 0.99, 0.999, 1.0];

/// Serves until the process ends. Returns the bound address.
///
/// # Errors
/// One sentence that names the address and what to do.
pub fn serve(
    address: SocketAddr,
    metrics: NodeMetrics,
    ready: Arc<AtomicBool>,
) -> Result<SocketAddr, String> {
    let server = Server::http(address).map_err(|e| {
        format!("cannot listen on {address} for metrics ({e}); set millrace.metrics.listen to a free address")
    })?;
    let bound = server.server_addr().to_ip().unwrap_or(address);
    let run = move || {
        for request in server.incoming_requests() {
            let (code, body) = match request.url() {
                "/metrics" => (200, render(&metrics)),
                "/health" => (200, "ok\n".to_owned()),
                "/ready" if ready.load(Ordering::Relaxed) => (200, "ready\n".to_owned()),
                "/ready" => (503, "starting or stopping\n".to_owned()),
                _ => (404, "try /metrics, /health or /ready\n".to_owned()),
            };
            let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
            let header = Header::from_bytes("Content-Type", kind).expect("a constant header");
            let answer = Response::from_string(body).with_status_code(code).with_header(header);
            let _ = request.respond(answer);
        }
    };
    std::thread::Builder::new()
        .name("http".into())
        .spawn(run)
        .map_err(|e| format!("cannot start the metrics thread: {e}"))?;
    Ok(bound)
}

/// All metrics as OpenMetrics text: counters and gauges summed and per shard, latencies as quantiles over all shards.
pub fn render(metrics: &NodeMetrics) -> String {
    let mut registry = Registry::with_prefix("millrace");
    let Some(first) = metrics.shards.first() else {
        return String::new();
    };
    for (at, (name, _)) in first.counters().into_iter().enumerate() {
        let total = metrics.shards.iter().map(|s| s.counters()[at].1).sum::<u64>();
        registry.register(name, help(name), ConstCounter::new(total));
    }
    for (at, (name, _)) in first.gauges().into_iter().enumerate() {
        let total = metrics.shards.iter().map(|s| s.gauges()[at].1).sum::<u64>();
        registry.register(name, help(name), ConstGauge::new(total as i64));
    }
    for (at, (name, _)) in first.latencies().into_iter().enumerate() {
        let mut all = Histogram::<u32>::new_with_bounds(1, 60_000_000, 2).expect("valid bounds");
        for shard in metrics.shards.iter() {
            shard.latencies()[at].1.merge_into(&mut all);
        }
        for q in QUANTILES {
            let label = format!("{name}_p{}_us", (q * 1000.0) as u32);
            let value = all.value_at_quantile(q) as i64;
            registry.register(label, help(name), ConstGauge::new(value));
        }
    }
    let mut out = String::new();
    let _ = encode(&mut out, &registry);
    out
}

fn help(name: &str) -> String {
    format!("{}, all shards", name.replace('_', " "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_of_all_shards_are_summed() {
        let metrics = NodeMetrics::new(2);
        metrics.shards[0].produce_requests.add(3);
        metrics.shards[1].produce_requests.add(4);
        let text = render(&metrics);
        assert!(text.contains("millrace_produce_requests_total 7"), "{text}");
        assert!(text.ends_with("# EOF\n"));
    }
}
