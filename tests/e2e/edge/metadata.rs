//! Tenants that the operator's configuration or a gateway names, without a proof by the client itself.

use anyhow::Result;

use super::{Refused, Stage, Tenant};

#[tokio::test(flavor = "multi_thread")]
async fn the_gateways_header_is_the_tenant() -> Result<()> {
    let stage = Stage::start("gateway-header", |_, _| Ok(())).await?;
    let client = stage.plain_client();
    for (case, tenant, fate) in [
        ("team-a", &b"team-a"[..], Tenant("team-a")),
        ("no tenant", b"team/a", Refused(400)),
        ("not even text", b"\xff", Refused(400)),
        ("nothing but the client's claims", b"", Refused(403)),
    ] {
        stage.expect(case, &client.clone().with_header("x-gateway-tenant", tenant), fate).await?;
    }
    stage.end().await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_host_is_the_tenant() -> Result<()> {
    let stage = Stage::start("virtual-hosts", |_, _| Ok(())).await?;
    let client = stage.plain_client();
    for (case, host, stage_header, tenant) in [
        ("a", "team-a.metrics.example", "", "team-a"),
        ("with a port", "team-a.metrics.example:19290", "", "team-a"),
        ("upper case", "TEAM-B.metrics.example", "", "team-b"),
        ("route", "team-b.metrics.example", "test", "team-b-test"),
        ("another route's header", "team-a.metrics.example", "test", "team-a"),
        ("below a tenant", "x.team-a.metrics.example", "", "default-tenant"),
        ("any", "127.0.0.1", "test", "default-tenant"),
    ] {
        let sender = client.clone().with_header("host", host.as_bytes());
        let sender = sender.with_header("x-stage", stage_header.as_bytes());
        stage.expect(case, &sender, Tenant(tenant)).await?;
    }
    stage.end().await
}
