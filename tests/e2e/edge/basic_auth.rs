//! TLS with a name and password for each tenant.

use anyhow::Result;

use super::authority::Authority;
use super::{Broken, Refused, Stage, Tenant};

/// The word "password", as `htpasswd -s` writes it.
const HASH: &str = "{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=";

/// Thirds of the bytes of a name that is so long, beyond 8 KiB, that Envoy makes no metadata of it.
const LONG_NAME_THIRDS: usize = 8 * 1024 / 3 + 1;

#[tokio::test(flavor = "multi_thread")]
async fn the_user_is_the_tenant() -> Result<()> {
    let authority = Authority::new("the test's")?;
    let long = "uuu".repeat(LONG_NAME_THIRDS);
    let stage = Stage::start("basic-auth", |files, _| {
        authority.mount_listener(files)?;
        let users = ["team-a", "team-b", "no/tenant", &long].map(|user| format!("{user}:{HASH}\n"));
        Ok(std::fs::write(files.join("users"), users.concat())?)
    })
    .await?;
    let client = stage.tls_client(authority.trusting_client()?.build()?);
    let with = |credentials: &[u8]| client.clone().with_header("authorization", credentials);

    stage.expect("no credentials", &client, Refused(401)).await?;
    for (case, credentials, fate) in [
        ("team-a:password", "Basic dGVhbS1hOnBhc3N3b3Jk", Tenant("team-a")),
        ("team-b:password", "Basic dGVhbS1iOnBhc3N3b3Jk", Tenant("team-b")),
        ("team-a:passwords", "Basic dGVhbS1hOnBhc3N3b3Jkcw==", Refused(401)),
        ("team-c:password", "Basic dGVhbS1jOnBhc3N3b3Jk", Refused(401)),
        ("team-a:", "Basic dGVhbS1hOg==", Refused(401)),
        ("no base64", "Basic !", Refused(401)),
        ("another scheme", "Bearer dGVhbS1hOnBhc3N3b3Jk", Refused(401)),
        ("no/tenant:password", "Basic bm8vdGVuYW50OnBhc3N3b3Jk", Refused(400)),
    ] {
        stage.expect(case, &with(credentials.as_bytes()), fate).await?;
    }
    let credentials = ["Basic ", &"dXV1".repeat(LONG_NAME_THIRDS), "OnBhc3N3b3Jk"].concat();
    stage.expect("a name that is too long", &with(credentials.as_bytes()), Refused(403)).await?;
    stage.expect("without TLS", &stage.plain_client(), Broken).await?;
    stage.end().await
}
