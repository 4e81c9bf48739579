//! TLS with tokens whose claim is the tenant.

use std::net::SocketAddr;

use anyhow::{Result, ensure};
use ringside_e2e::{ports, wait};
use serde_json::{Value, json};

use super::authority::Authority;
use super::tokens::{HOST, Issuer, Tokens};
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
    start_with(authority, issuer, |_| Ok(())).await
}

/// The same with a further change of its text.
async fn start_with(
    authority: &Authority,
    issuer: SocketAddr,
    edit: impl FnOnce(&mut String) -> Result<()>,
) -> Result<Stage> {
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
        edit(text)
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
    let issuer = Issuer::start(&authority.server(HOST)?, &[&tokens]).await?;
    let stage = start(&authority, issuer.address).await?;
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

/// A key that the issuer has begun to use since its keys were fetched is not the sender's fault. What no key that may
/// come can mend is refused for good.
#[tokio::test(flavor = "multi_thread")]
async fn a_token_of_a_new_key_is_taken_once_the_key_is_fetched() -> Result<()> {
    let authority = Authority::new("the test's")?;
    let (old, new) = (Tokens::with_id("old")?, Tokens::with_id("new")?);
    let issuer = Issuer::start(&authority.server(HOST)?, &[&old]).await?;
    let stage = start_with(&authority, issuer.address, |text| {
        let kept = "cache_duration: 60s";
        ensure!(text.contains(kept), "no {kept:?} in the edge");
        *text = text.replace(kept, "cache_duration: 1s");
        Ok(())
    })
    .await?;
    let client = stage.tls_client(authority.trusting_client()?.build()?);
    let with =
        |token: &str| client.clone().with_header("authorization", format!("Bearer {token}").as_bytes());
    let (claims, expired) = (json!({"tenant": "team-a"}), json!({"tenant": "team-a", "exp": 1_700_000_000}));
    let [by_old, by_new] = [&old, &new].map(|tokens| tokens.sign(claims.clone()));
    let (by_old, by_new) = (with(&by_old?), with(&by_new?));

    stage.expect("the old key", &by_old, Tenant("team-a")).await?;
    stage.expect("the new key", &by_new, Refused(503)).await?;
    for (case, tokens, claims, fate) in [
        ("the old key without its id", old.says_id(None), &claims, Tenant("team-a")),
        ("the new key without its id", new.says_id(None), &claims, Refused(401)),
        ("the new key by the name of the old one", new.says_id(Some("old")), &claims, Refused(401)),
        ("the new key, expired", new.says_id(Some("new")), &expired, Refused(401)),
    ] {
        stage.expect(case, &with(&tokens.sign(claims.clone())?), fate).await?;
    }

    issuer.publish(&[&new, &old])?;
    let mut before = Vec::new();
    wait::eventually("the new key to be fetched", async || {
        let (status, headers, message) = by_new.exchange(Vec::new()).await?;
        // Then it is refused for its body.
        if status != 400 {
            before.push((status, headers.contains_key("retry-after"), message.clone()));
        }
        ensure!(status == 400, "{status} {message}");
        Ok(())
    })
    .await?;
    let known = |answer: &(u16, bool, String)| (answer.0, answer.1) == (503, true);
    ensure!(before.iter().all(known), "{before:?}");
    stage.expect("the new key, fetched", &by_new, Tenant("team-a")).await?;
    stage.expect("the old key, still there", &by_old, Tenant("team-a")).await?;

    // What was fetched outlives its time where there is nothing new.
    issuer.fail();
    let asked = issuer.fetches();
    wait::eventually("an issuer that fails to be asked some times", async || {
        ensure!(issuer.fetches() >= asked + 4, "{asked}, then {}", issuer.fetches());
        Ok(())
    })
    .await?;
    stage.expect("the new key, with the issuer away", &by_new, Tenant("team-a")).await?;
    stage.end().await
}
