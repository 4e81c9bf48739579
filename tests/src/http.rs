//! Small HTTP requests of the harness itself: status pages, metrics, queries. Load goes through the
//! generator.

use std::sync::LazyLock;
use std::time::Duration;

use anyhow::{Context, Result, bail};

/// One client, so that tests reuse connections; it never follows a redirect or waits for ever.
static CLIENT: LazyLock<reqwest::Client> = LazyLock::new(reqwest::Client::new);

const TIMEOUT: Duration = Duration::from_secs(20);

/// The body of a GET that answered 200.
pub async fn get_ok(url: &str) -> Result<String> {
    let response = CLIENT.get(url).timeout(TIMEOUT).send().await?;
    let status = response.status();
    let body = response.text().await?;
    if status != 200 {
        bail!("GET {url}: {status}: {}", body.trim());
    }
    Ok(body)
}

/// A page in the text exposition format, as name → sum, maximum or single series.
pub struct Metrics(Vec<(String, f64)>);

impl Metrics {
    /// Scrapes `url`.
    pub async fn scrape(url: &str) -> Result<Self> {
        let page = get_ok(url).await?;
        let lines = page.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
        let parse = |line: &str| -> Option<(String, f64)> {
            // A timestamp would be a third field after the labels; none of our targets writes one.
            let (series, value) = line.rsplit_once(' ')?;
            Some((series.to_owned(), value.parse().ok()?))
        };
        let parsed = lines.map(|line| parse(line).with_context(|| format!("{url}: odd line {line:?}")));
        Ok(Self(parsed.collect::<Result<_>>()?))
    }

    /// The sum over all series of the name, 0 without any; with `labels` only those that contain each
    /// of the given `name="value"` texts.
    pub fn sum(&self, name: &str, labels: &[&str]) -> f64 {
        self.0
            .iter()
            .filter(|(series, _)| {
                let (family, rest) = series.split_once('{').unwrap_or((series, ""));
                family == name && labels.iter().all(|label| rest.contains(label))
            })
            .map(|(_, value)| value)
            .fold(0.0, |sum, value| sum + value)
    }
}
