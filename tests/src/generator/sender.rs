//! One remote-write request and its answer, with the headers that Prometheus sends. Whether to try
//! again is the generator's decision.

use std::time::Duration;

use anyhow::Result;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};

/// As Prometheus' own `remote_timeout`: past it, a request counts as lost.
const TIMEOUT: Duration = Duration::from_secs(30);

/// What came back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// An HTTP answer, with its text.
    Status {
        /// The status code.
        code: u16,
        /// The body, as text.
        message: String,
    },
    /// No answer: refused, reset or timed out. The samples may or may not be stored.
    Broken(String),
}

impl Answer {
    /// The status code, if there is one.
    pub fn code(&self) -> Option<u16> {
        match self {
            Self::Status { code, .. } => Some(*code),
            Self::Broken(_) => None,
        }
    }

    /// True where Prometheus would send the same request again.
    pub fn asks_for_retry(&self) -> bool {
        self.code().is_none_or(|code| code == 429 || code >= 500)
    }
}

/// The way to one write URL, for one tenant.
#[derive(Clone, Debug)]
pub struct Sender {
    client: reqwest::Client,
    url: String,
    headers: HeaderMap,
}

impl Sender {
    /// `url` is the full write URL. The connections of a sender are its own.
    pub fn new(url: &str, tenant: Option<&str>) -> Self {
        let mut headers = HeaderMap::new();
        headers.insert("content-type", HeaderValue::from_static("application/x-protobuf"));
        headers.insert("content-encoding", HeaderValue::from_static("snappy"));
        headers.insert("x-prometheus-remote-write-version", HeaderValue::from_static("0.1.0"));
        headers.insert("user-agent", HeaderValue::from_static("ringside-e2e"));
        let sender = Self { client: reqwest::Client::new(), url: url.to_owned(), headers };
        match tenant {
            Some(tenant) => sender.with_header("thanos-tenant", tenant.as_bytes()),
            None => sender,
        }
    }

    /// The same over HTTP/2 without TLS: all requests on one connection, and so to one of Envoy's workers.
    pub fn over_http2(self) -> Result<Self> {
        Ok(self.over(reqwest::Client::builder().http2_prior_knowledge().build()?))
    }

    /// The same by another client, such as one that has a certificate.
    pub fn over(mut self, client: reqwest::Client) -> Self {
        self.client = client;
        self
    }

    /// The same with one header set, or with an empty value removed.
    pub fn with_header(mut self, name: &'static str, value: &[u8]) -> Self {
        let name = HeaderName::from_static(name);
        match HeaderValue::from_bytes(value) {
            Ok(value) if !value.is_empty() => drop(self.headers.insert(name, value)),
            _ => drop(self.headers.remove(name)),
        }
        self
    }

    /// POSTs a body as it is, for the whole answer: status, headers and text.
    pub async fn exchange(&self, body: Vec<u8>) -> Result<(u16, HeaderMap, String)> {
        let request = self.client.post(&self.url).headers(self.headers.clone());
        let response = request.timeout(TIMEOUT).body(body).send().await?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Ok((status, headers, response.text().await?))
    }

    /// POSTs a body as it is.
    pub async fn post(&self, body: Vec<u8>) -> Answer {
        self.request(reqwest::Method::POST, body).await
    }

    /// Sends a body with any method.
    pub async fn request(&self, method: reqwest::Method, body: Vec<u8>) -> Answer {
        let request = self.client.request(method, &self.url).headers(self.headers.clone());
        let exchange = async {
            let response = request.timeout(TIMEOUT).body(body).send().await?;
            let code = response.status().as_u16();
            Ok(Answer::Status { code, message: response.text().await? })
        };
        exchange.await.unwrap_or_else(|error: reqwest::Error| Answer::Broken(format!("{error:?}")))
    }
}
