//! Tenants open in the background, once, and a failed one is retried while others serve.

use super::*;

fn id(name: &str) -> TenantId {
    TenantId::parse(name).unwrap()
}

fn start(path: &std::path::Path) -> Arc<Tenants> {
    let data = DataDir::lock(path).unwrap();
    let (metrics, _) = Metrics::new();
    let limits = Limits::none(&metrics);
    Tenants::start(data, Options::default(), id("default-tenant"), limits, metrics).unwrap()
}

fn is_open(lookup: Result<Lookup, WriteError>) -> bool {
    matches!(lookup, Ok(Lookup::Open(_)))
}

#[tokio::test]
async fn existing_tenants_and_the_default_open_at_start() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("acme")).unwrap();
    std::fs::create_dir(dir.path().join("lost+found")).unwrap();
    let tenants = start(dir.path());
    assert!(matches!(tenants.lookup(&id("acme")), Err(WriteError::Replaying { .. }) | Ok(Lookup::Open(_))));
    tenants.replayed().await;
    assert!(is_open(tenants.lookup(&id("acme"))));
    assert!(is_open(tenants.lookup(&id("default-tenant"))));
    let names: Vec<_> = tenants.open().into_iter().map(|(tenant, _)| tenant.to_string()).collect();
    assert_eq!(names, ["acme", "default-tenant"]);
    assert!(dir.path().join("default-tenant/wal").is_dir());
}

#[tokio::test]
async fn concurrent_first_writes_share_one_opening() {
    let dir = tempfile::tempdir().unwrap();
    let tenants = start(dir.path());
    tenants.replayed().await;
    let tenant = id("new");
    assert!(matches!(tenants.lookup(&tenant), Ok(Lookup::Absent)));
    let writers = (0..20).map(|_| {
        let (tenants, tenant) = (Arc::clone(&tenants), tenant.clone());
        tokio::spawn(async move { tenants.create(&tenant).await.unwrap() })
    });
    let opened = futures::future::join_all(writers).await;
    let first = opened[0].as_ref().unwrap();
    assert!(opened.iter().all(|tsdb| Arc::ptr_eq(tsdb.as_ref().unwrap(), first)));
}

#[tokio::test]
async fn a_tenant_that_cannot_open_says_why_and_is_retried() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("broken")).unwrap();
    // A file where the WAL's directory belongs.
    std::fs::write(dir.path().join("broken/wal"), b"").unwrap();
    let tenants = start(dir.path());
    tenants.replayed().await;
    let Err(error) = tenants.lookup(&id("broken")) else { panic!("it is open") };
    assert!(matches!(error, WriteError::OpenFailed { .. }) && error.to_string().contains("wal"), "{error}");
    assert_eq!(error.status().as_u16(), 503);
    assert!(is_open(tenants.lookup(&id("default-tenant"))));
    std::fs::remove_file(dir.path().join("broken/wal")).unwrap();
    while !is_open(tenants.lookup(&id("broken"))) {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn closing_refuses_writes_and_gives_the_lock_back() {
    let dir = tempfile::tempdir().unwrap();
    let tenants = start(dir.path());
    tenants.replayed().await;
    let Ok(Lookup::Open(tsdb)) = tenants.lookup(&id("default-tenant")) else { panic!("not open") };
    tenants.close().await;
    assert!(matches!(tenants.lookup(&id("default-tenant")), Err(WriteError::Closing)));
    assert!(matches!(tenants.create(&id("new")).await, Err(WriteError::Closing)));
    assert!(tsdb.appender().is_err());
    drop(tenants);
    DataDir::lock(dir.path()).unwrap();
}
