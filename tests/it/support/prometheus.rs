//! A real Prometheus that runs `deploy/prometheus/prometheus.yml` and its alerts on a server under
//! test.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use url::Url;

use super::programs;
use super::redis::free_port;

/// Prometheus in a folder and on a port of its own; gone when this value is.
pub(crate) struct Prometheus {
    child: Child,
    url: String,
    _folder: tempfile::TempDir,
}

impl Prometheus {
    /// Starts one that scrapes `target` four times a second; `None` where it is not installed.
    pub(crate) async fn start(target: &str) -> Option<Self> {
        let program = programs::require("prometheus")?;
        // Another process may take the port between our look and Prometheus' bind.
        for _ in 0..5 {
            if let Some(running) = Self::try_start(&program, target).await {
                return Some(running);
            }
        }
        panic!("Prometheus did not start in five attempts; its words are above");
    }

    async fn try_start(program: &Path, target: &str) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let ours = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/prometheus");
        let config = fs::read_to_string(format!("{ours}/prometheus.yml")).unwrap();
        let config = config
            .replace("15s", "250ms")
            .replace("jsdkd:3031", target.trim_start_matches("http://"));
        fs::write(folder.path().join("prometheus.yml"), config).unwrap();
        fs::copy(
            format!("{ours}/alerts.yml"),
            folder.path().join("alerts.yml"),
        )
        .unwrap();
        let address = format!("127.0.0.1:{}", free_port());
        let child = Command::new(program)
            .current_dir(folder.path())
            .args(["--config.file=prometheus.yml", "--storage.tsdb.path=data"])
            .args(["--log.level=warn", "--web.listen-address"])
            .arg(&address)
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let mut running = Self {
            child,
            url: format!("http://{address}"),
            _folder: folder,
        };
        for _ in 0..400 {
            if running.child.try_wait().unwrap().is_some() {
                return None;
            }
            // It listens before it answers queries.
            let ready = reqwest::get(format!("{}/-/ready", running.url)).await;
            if ready.is_ok_and(|answer| answer.status().is_success()) {
                return Some(running);
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        None
    }

    /// The samples that `query` gives now. A query that Prometheus refuses is a failure.
    #[track_caller]
    pub(crate) fn query(&self, query: &str) -> impl Future<Output = Vec<Value>> {
        let url = format!("{}/api/v1/query", self.url);
        let url = Url::parse_with_params(&url, [("query", query)]).unwrap();
        let query = query.to_owned();
        async move {
            let answer = reqwest::get(url).await.unwrap().text().await.unwrap();
            let answer: Value = serde_json::from_str(&answer).unwrap();
            assert_eq!(answer["status"], "success", "{query}: {answer}");
            answer["data"]["result"].as_array().unwrap().clone()
        }
    }

    /// As [`Self::query`], once there is something.
    pub(crate) async fn query_until_found(&self, query: &str) -> Vec<Value> {
        for _ in 0..400 {
            let found = self.query(query).await;
            if !found.is_empty() {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("there is nothing: {query}");
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill().and_then(|()| self.child.wait());
    }
}
