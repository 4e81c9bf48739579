//! TLS with tokens whose claim is the tenant.

use std::net::SocketAddr;

use anyhow::{Result, ensure};
use ringside_e2e::ports;
use serde_json::{Value, json};

use super::authority::Authority;
use super::tokens::{HOST, Tokens};
use super::{Broken, Fate, Refused, Stage, Tenant};

/// Claims of a token that the issuer signed, and what becomes of a write with it.
fn cases() -> Vec<(&'static str, Value, Fate)> {
    vec![
        ("team-a", json!({"tenant": "team-a"}), Tenant("team-a")),
        ("another", json!({"tenant": "team-b", "sub": "team-a"}), Tenant("team-b")),
        ("a number", json!({"tenant": 7}), Tenant("7")),
        ("one of two audiences", json!({"tenant": "team-a", "aud": ["x", "ringside"]}), Tenant("team-a")),
        ("no tenant", json!({}), Refused(403)),
        ("empty tenant", json!({"tenant": ""}), Refused(403)),
        ("no directory", json!({"tenant": ".."}), Refused(400)),
        ("two tenants", json!({"tenant": "team-a,team-b"}), Refused(400)),
        ("another audience", json!({"tenant": "team-a", "aud": "other"}), Refused(403)),
        ("another issuer", json!({"tenant": "team-a", "iss": "https://other.example"}), Refused(401)),
        ("expired", json!({"tenant": "team-a", "exp": 1_700_000_000}), Refused(401)),
        ("never expires", json!({"tenant": "team-a", "exp": null}), Refused(401)),
    ]
}

/// The edge with an issuer at an address of this machine.
async fn start(authority: &Authority, issuer: SocketAddr) -> Result<Stage> {
    Stage::start("jwt", |files, text| {
        authority.mount_listener(files)?;
        let trusted = files.join("ca.crt");
        std::fs::write(&trusted, authority.pem())?;
        for (committed, local) in [
            (
                format!("address: {HOST}, port_value: 443"),
                format!("address: {}, port_value: {}", issuer.ip(), issuer.port()),
            ),
            ("/etc/ssl/certs/ca-certificates.crt".to_owned(), trusted.display().to_string()),
        ] {
            ensure!(text.contains(&committed), "no {committed:?} in the edge");
            *text = text.replace(&committed, &local);
        }
        Ok(())
    })
    .await
}

/// What is wrong with the issuer is not the sender's fault.
#[tokio::test(flavor = "multi_thread")]
async fn without_keys_a_token_is_not_refused_for_good() -> Result<()> {
    let authority = Authority::new("the test's")?;
    let tokens = Tokens::new()?;
    let stage = start(&authority, ports::reserve()?).await?;
    let client = stage.tls_client(authority.trusting_client()?.build()?);
    let good = format!("Bearer {}", tokens.sign(json!({"tenant": "team-a"}))?);
    stage
        .expect("a good token", &client.clone().with_header("authorization", good.as_bytes()), Refused(503))
        .await?;
    stage.expect("no token", &client, Refused(401)).await?;
    stage.end().await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_claim_is_the_tenant() -> Result<()> {
    let authority = Authority::new("the test's")?;
    let tokens = Tokens::new()?;
    let issuer = tokens.serve(&authority.server(HOST)?).await?;
    let stage = start(&authority, issuer).await?;
    let client = stage.tls_client(authority.trusting_client()?.build()?);
    let with =
        |token: &str| client.clone().with_header("authorization", format!("Bearer {token}").as_bytes());

    stage.expect("no token", &client, Refused(401)).await?;
    for (case, claims, fate) in cases() {
        stage.expect(case, &with(&tokens.sign(claims)?), fate).await?;
    }

    let good = tokens.sign(json!({"tenant": "team-a"}))?;
    let foreign = Tokens::new()?.sign(json!({"tenant": "team-a"}))?;
    stage.expect("another key", &with(&foreign), Refused(401)).await?;
    let parts: Vec<&str> = good.split('.').collect();
    let other = tokens.sign(json!({"tenant": "team-b"}))?;
    let swapped = [parts[0], other.split('.').nth(1).unwrap_or_default(), parts[2]].join(".");
    stage.expect("another's claims", &with(&swapped), Refused(401)).await?;
    // {"alg":"none","typ":"JWT"}
    let unsigned = format!("eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.{}.", parts[1]);
    stage.expect("no signature", &with(&unsigned), Refused(401)).await?;
    stage.expect("no token at all", &with("team-a"), Refused(401)).await?;
    stage.expect("without TLS", &stage.plain_client(), Broken).await?;
    stage.expect("in the end", &with(&good), Tenant("team-a")).await?;
    stage.end().await
}
