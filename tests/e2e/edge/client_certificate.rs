//! Mutual TLS with the tenant in the certificate's common name.

use anyhow::Result;
use rcgen::DnType;

use super::authority::Authority;
use super::{Broken, Fate, Refused, Stage, Tenant};

use DnType::{CommonName, OrganizationName, OrganizationalUnitName};

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

#[tokio::test(flavor = "multi_thread")]
async fn the_common_name_is_the_tenant() -> Result<()> {
    let (server, clients) = (Authority::new("the server's")?, Authority::new("the clients'")?);
    let stage = Stage::start("client-certificate", |files, _| {
        server.write_listener(files)?;
        Ok(std::fs::write(files.join("clients-ca.crt"), clients.pem())?)
    })
    .await?;
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
