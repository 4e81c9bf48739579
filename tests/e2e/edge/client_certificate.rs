//! Mutual TLS with the tenant in the certificate's common name.

use anyhow::{Context, Result, ensure};
use rcgen::DnType;
use ringside_e2e::wait;

use super::authority::Authority;
use super::{Broken, Fate, Refused, Stage, Tenant};

use DnType::{CommonName, OrganizationName, OrganizationalUnitName};

/// Envoy's `header_to_metadata` makes metadata of no longer value.
const METADATA_BYTES_MAX: usize = 8 * 1024 - 1;

type Subject = Vec<(DnType, &'static str)>;

fn cases() -> Vec<(&'static str, Subject, Fate)> {
    vec![
        ("alone", vec![(CommonName, "team-a")], Tenant("team-a")),
        ("last", vec![(OrganizationName, "o"), (CommonName, "team-b")], Tenant("team-b")),
        ("first", vec![(CommonName, "team-a"), (OrganizationalUnitName, "u")], Tenant("team-a")),
        (
            "comma in another field",
            vec![(OrganizationName, "a, CN=b"), (CommonName, "team-a")],
            Tenant("team-a"),
        ),
        ("field within a field", vec![(OrganizationName, "x,CN=team-b")], Refused(400)),
        ("field within the name", vec![(CommonName, "x,CN=team-b")], Refused(400)),
        ("backslash before the field", vec![(CommonName, "x\\,CN=team-b")], Refused(400)),
        ("plus within the name", vec![(CommonName, "x+CN=team-b")], Refused(400)),
        ("line within the name", vec![(CommonName, "x\nCN=team-b")], Refused(400)),
        ("no directory", vec![(CommonName, "..")], Refused(400)),
        ("slash", vec![(CommonName, "team/a")], Refused(400)),
        ("empty", vec![(CommonName, "")], Refused(400)),
        ("no name", vec![(OrganizationName, "team-a")], Refused(400)),
        ("no subject", vec![], Refused(400)),
    ]
}

/// The edge with the certificates of these.
async fn start(server: &Authority, clients: &Authority) -> Result<Stage> {
    Stage::start("client-certificate", |files, _| {
        server.mount_listener(files)?;
        clients.mount_clients(files)?;
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_common_name_is_the_tenant() -> Result<()> {
    let (server, clients) = (Authority::new("the server's")?, Authority::new("the clients'")?);
    let stage = start(&server, &clients).await?;
    for (case, subject, fate) in cases() {
        let identity = clients.client(&subject)?;
        let client = server.trusting_client()?.identity(identity).build()?;
        stage.expect(case, &stage.tls_client(client), fate).await?;
    }

    let stranger = Authority::new("the clients'")?.client(&[(CommonName, "team-a")])?;
    let client = server.trusting_client()?.identity(stranger).build()?;
    stage.expect("another authority", &stage.tls_client(client), Broken).await?;
    let client = server.trusting_client()?.build()?;
    stage.expect("no certificate", &stage.tls_client(client), Broken).await?;
    stage.expect("without TLS", &stage.plain_client(), Broken).await?;
    stage.end().await
}

/// Of a value that is too long Envoy makes no metadata. The client's headers do not count in its place.
#[tokio::test(flavor = "multi_thread")]
async fn a_subject_that_is_too_long_names_no_tenant() -> Result<()> {
    let (server, clients) = (Authority::new("the server's")?, Authority::new("the clients'")?);
    let stage = start(&server, &clients).await?;
    let most = METADATA_BYTES_MAX - "subject:O=".len();
    let (fits, long, name) = ("o".repeat(most), "o".repeat(most + 1), "n".repeat(METADATA_BYTES_MAX + 1));
    for (case, subject, fate) in [
        ("no name, and just short enough", vec![(OrganizationName, fits.as_str())], Refused(400)),
        ("no name, and too long", vec![(OrganizationName, long.as_str())], Refused(403)),
        ("a name that is too long", vec![(CommonName, name.as_str())], Refused(403)),
        // The rest of the subject is taken away before anybody looks at its length.
        ("beside a name", vec![(CommonName, "team-a"), (OrganizationName, long.as_str())], Tenant("team-a")),
    ] {
        let client = server.trusting_client()?.identity(clients.client(&subject)?).build()?;
        stage.expect(case, &stage.tls_client(client), fate).await?;
    }
    stage.end().await
}

/// Certificates that are renewed before they expire, as a Secret's volume brings them.
#[tokio::test(flavor = "multi_thread")]
async fn new_certificates_need_no_restart() -> Result<()> {
    let (old, new) = (Authority::new("the old")?, Authority::new("the new")?);
    let mut mounted = None;
    let stage = Stage::start("client-certificate", |files, _| {
        mounted = Some((old.mount_listener(files)?, old.mount_clients(files)?));
        Ok(())
    })
    .await?;
    let (listener, clients) = mounted.context("no files")?;
    // Of one authority, and trusting servers of one.
    let client = |of: &Authority, trusting: &Authority| {
        let identity = of.client(&[(CommonName, "team-a")])?;
        let client = trusting.trusting_client()?.pool_max_idle_per_host(0).identity(identity);
        Ok::<_, anyhow::Error>(stage.tls_client(client.build()?))
    };
    let connects = async |case: &str, of: &Authority, trusting: &Authority| {
        let client = client(of, trusting)?;
        wait::eventually(case, async || {
            // Refused for its body, not for its certificate.
            let answer = client.post(Vec::new()).await;
            ensure!(answer.code() == Some(400), "{answer:?}");
            Ok(())
        })
        .await
    };
    stage.expect("before", &client(&old, &old)?, Tenant("team-a")).await?;
    stage.expect("too early", &client(&old, &new)?, Broken).await?;
    listener.swap(&new.listener()?)?;
    connects("the new certificate of the listener", &old, &new).await?;
    stage.expect("between", &client(&old, &new)?, Tenant("team-a")).await?;
    clients.swap(&new.clients())?;
    connects("the new authority of the clients", &new, &new).await?;
    stage.expect("after", &client(&new, &new)?, Tenant("team-a")).await?;
    stage.expect("the old authority", &client(&old, &new)?, Broken).await?;
    stage.end().await
}
