//! Topology: clients → Envoy with the filter and one of the files of `envoy/edge` around it → three receivers in this
//! process, RF=3, which keep what reaches them; four where the filter is to look inside.
//!
//! Each file is loaded as it is committed, but for paths and addresses. A client that proves who it is writes to its
//! own tenant; one that does not writes nothing; and whatever a client says of its tenant never reaches a sidecar.

mod authority;
mod basic_auth;
mod client_certificate;
mod jwt;
mod metadata;
mod tokens;

use std::path::Path;

use anyhow::{Context, Result, ensure};
use ringside_e2e::clock::{self, HOUR, MINUTE};
use ringside_e2e::contents::Labels;
use ringside_e2e::envoy::Envoy;
use ringside_e2e::generator::{Answer, Sender};
use ringside_e2e::receiver::{Part, Receiver};
use ringside_e2e::scratch::Scratch;
use ringside_e2e::{tools, wait, wire};

/// What a client claims in every header that might name a tenant somewhere.
const FORGED: &str = "forged";
const CLAIMS: [&str; 8] = [
    "thanos-tenant",
    "x-scope-orgid",
    "x-ringside-user",
    "x-ringside-subject",
    "x-ringside-tenant",
    "x-ringside-limits",
    "x-ringside-refusals",
    "x-forwarded-client-cert",
];
/// Where the files of `envoy/edge` expect the operator's.
const FILES: &str = "/etc/ringside/";

/// An Envoy with one edge, and what is behind it.
struct Stage {
    scratch: Scratch,
    envoy: Envoy,
    receivers: Vec<Receiver>,
}

/// What should become of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Tenant(&'static str),
    /// Answered with this status, and sent nowhere.
    Refused(u16),
    /// Not even a connection.
    Broken,
}

use Fate::{Broken, Refused, Tenant};

impl Stage {
    /// Starts Envoy with `envoy/edge/<edge>.yaml`. `prepare` writes the files that it names into the folder that it is
    /// given, and may change addresses in its text.
    async fn start(edge: &str, prepare: impl FnOnce(&Path, &mut String) -> Result<()>) -> Result<Self> {
        Self::start_before(3, edge, prepare).await
    }

    /// The same before a number of receivers.
    async fn start_before(
        number: usize,
        edge: &str,
        prepare: impl FnOnce(&Path, &mut String) -> Result<()>,
    ) -> Result<Self> {
        let scratch = Scratch::new(&format!("edge-{edge}"))?;
        let files = scratch.folder("files")?;
        let committed = |file: &str| {
            let text = std::fs::read_to_string(tools::root().join("envoy/edge").join(file));
            Ok::<_, anyhow::Error>(
                text.context(file.to_owned())?.replace(FILES, &format!("{}/", files.display())),
            )
        };
        std::fs::create_dir(files.join("secrets"))?;
        for secret in ["secrets/listener.yaml", "secrets/clients.yaml"] {
            std::fs::write(files.join(secret), committed(secret)?)?;
        }
        let mut text = committed(&format!("{edge}.yaml"))?;
        prepare(&files, &mut text)?;
        let path = scratch.path().join("edge.yaml");
        std::fs::write(&path, text)?;

        let receivers = Receiver::start_many(number).await?;
        let hashrings = Receiver::hashrings(&receivers);
        let flags = [format!("--edge={}", path.display())];
        let envoy = Envoy::start(&scratch.path().join("envoy"), &hashrings, &flags).await?;
        wait::eventually("Envoy to find the receivers healthy", async || envoy.expect_all_healthy().await)
            .await?;
        Ok(Self { scratch, envoy, receivers })
    }

    /// A client over TLS, which claims a tenant in every way it can.
    fn tls_client(&self, client: reqwest::Client) -> Sender {
        self.client(&self.envoy.write_url().replacen("http:", "https:", 1)).over(client)
    }

    /// The same without TLS.
    fn plain_client(&self) -> Sender {
        self.client(&self.envoy.write_url())
    }

    fn client(&self, url: &str) -> Sender {
        CLAIMS
            .into_iter()
            .fold(Sender::new(url, None), |sender, name| sender.with_header(name, FORGED.as_bytes()))
    }

    /// Sends one write, and judges the answer and what reached the receivers.
    async fn expect(&self, case: &str, sender: &Sender, fate: Fate) -> Result<()> {
        let labels =
            Labels::from([("__name__".to_owned(), "edge".to_owned()), ("case".to_owned(), case.to_owned())]);
        let mut request = Vec::new();
        wire::series(&mut request, &labels, &[(clock::aligned(HOUR, MINUTE)?, 1.0)]);
        let body = wire::snappy(&request);
        let answer = sender.post(body.clone()).await;
        let expected = match fate {
            Tenant(_) => Some(200),
            Refused(status) => Some(status),
            Broken => None,
        };
        ensure!(answer.code() == expected, "{case}: {answer:?} instead of {fate:?}");
        ensure!(answer.code() != Some(400) || is_about_the_tenant(&answer), "{case}: {answer:?}");
        let Tenant(tenant) = fate else { return Ok(()) };
        for receiver in &self.receivers {
            wait::eventually("the part of the slowest receiver", async || {
                ensure!(receiver.parts() > 0, "none at {}", receiver.address());
                Ok(())
            })
            .await?;
            // Of writes that were refused before, nothing is among them.
            let parts = receiver.take_parts();
            ensure!(parts.len() == 1 && parts[0].body == body, "{case}: {} parts", parts.len());
            judge(&parts[0], tenant).context(case.to_owned())?;
        }
        Ok(())
    }

    /// Nothing is under way any more, and nothing came that was not asked for.
    async fn end(self) -> Result<()> {
        self.envoy.wait_idle().await?;
        for receiver in &self.receivers {
            ensure!(receiver.parts() == 0, "{:?}", receiver.take_parts());
        }
        self.scratch.passed();
        Ok(())
    }
}

fn is_about_the_tenant(answer: &Answer) -> bool {
    matches!(answer, Answer::Status { message, .. } if message.contains("the dynamic metadata is unusable"))
}

/// A part names its tenant once, and nothing of the client's claims is in it.
fn judge(part: &Part, tenant: &str) -> Result<()> {
    let tenants: Vec<_> = part.headers.get_all("thanos-tenant").iter().collect();
    ensure!(tenants == [tenant], "the tenants {tenants:?} instead of {tenant}");
    for (name, value) in &part.headers {
        let text = String::from_utf8_lossy(value.as_bytes());
        ensure!(!text.contains(FORGED), "{name}: {text}");
        ensure!(name != "authorization", "a client's secret went on");
    }
    Ok(())
}
