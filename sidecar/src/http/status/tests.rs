//! `/api/v1/status/tsdb` in both forms, over the routers and a real storage.

use std::time::Duration;

use prost::Message;
use ringside_proto::prometheus::{Label, Sample, TimeSeries, WriteRequest};
use ringside_tsdb::Options;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::data_dir::DataDir;
use crate::limits::Limits;
use crate::metrics::Metrics;

/// Serves one of the routers; `acme` has three series, the default tenant none.
async fn serve(router: fn(Arc<TsdbStatus>) -> Router) -> (String, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let (metrics, _) = Metrics::new();
    let limits = Limits::none(&metrics);
    let default_tenant = TenantId::parse("default-tenant").unwrap();
    let data = DataDir::lock(dir.path()).unwrap();
    let tenants = Tenants::start(data, Options::default(), default_tenant.clone(), limits, metrics).unwrap();
    tenants.replayed().await;
    let acme = tenants.create(&TenantId::parse("acme").unwrap()).await.unwrap();
    let series = [("up", "a"), ("up", "bb"), ("down", "a")].map(|(name, pod)| TimeSeries {
        labels: [("__name__", name), ("pod", pod)]
            .map(|(name, value)| Label { name: name.to_owned(), value: value.to_owned() })
            .into(),
        samples: vec![Sample { value: 1.0, timestamp: 1000 }],
        ..TimeSeries::default()
    });
    let body = WriteRequest { timeseries: series.into(), metadata: Vec::new() }.encode_to_vec();
    assert!(crate::append::store(&body, &acme).unwrap().refused.is_empty());
    let status = TsdbStatus {
        tenants,
        cardinalities: Arc::default(),
        tenant_header: HeaderName::from_static("thanos-tenant"),
        default_tenant,
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/api/v1/status/tsdb", listener.local_addr().unwrap());
    let router = router(Arc::new(status));
    tokio::spawn(crate::http::serve(listener, router, CancellationToken::new(), Duration::ZERO));
    (url, dir)
}

async fn get(url: String, tenant: Option<&str>) -> (u16, Value) {
    let request = reqwest::Client::new().get(url);
    let request = tenant.into_iter().fold(request, |r, tenant| r.header("THANOS-TENANT", tenant));
    let response = request.send().await.unwrap();
    let status = response.status().as_u16();
    assert_eq!(response.headers()["content-type"], "application/json");
    (status, serde_json::from_slice(&response.bytes().await.unwrap()).unwrap())
}

fn acme() -> Value {
    json!({
        "headStats": {"numSeries": 3, "numLabelPairs": 4, "chunkCount": 3, "minTime": 1000, "maxTime": 1000},
        "seriesCountByMetricName": [{"name": "up", "value": 2}],
        "labelValueCountByLabelName": [{"name": "__name__", "value": 2}],
        "memoryInBytesByLabelName": [{"name": "__name__", "value": 8}],
        "seriesCountByLabelValuePair": [{"name": "__name__=up", "value": 2}],
    })
}

#[tokio::test]
async fn the_admin_port_answers_as_prometheus() {
    let (url, _dir) = serve(prometheus_router).await;
    let (status, answer) = get(format!("{url}?limit=1"), Some("acme")).await;
    assert_eq!((status, &answer), (200, &json!({"status": "success", "data": acme()})));
    let (status, answer) = get(url.clone(), None).await;
    assert_eq!((status, &answer["data"]["headStats"]["numSeries"]), (200, &json!(0)));
    assert_eq!(answer["data"]["headStats"]["minTime"], json!(i64::MAX));
    let (status, answer) = get(url.clone(), Some("nobody")).await;
    assert_eq!((status, &answer["errorType"]), (404, &json!("not_found")));
    for limit in ["0", "-1", "x", "10001", ""] {
        let (status, answer) = get(format!("{url}?limit={limit}"), None).await;
        assert_eq!((status, &answer["errorType"]), (400, &json!("bad_data")), "{limit}");
    }
}

#[tokio::test]
async fn the_write_port_answers_as_receive() {
    let (url, _dir) = serve(receive_router).await;
    let mut entry = acme();
    entry["tenant"] = json!("acme");
    let (status, answer) = get(format!("{url}?limit=1"), Some("acme")).await;
    assert_eq!((status, &answer), (200, &json!({"status": "success", "data": [entry]})));
    let tenants = |answer: &Value| -> Vec<String> {
        let list = answer["data"].as_array().unwrap();
        list.iter().map(|entry| entry["tenant"].as_str().unwrap().to_owned()).collect()
    };
    let (_, answer) = get(format!("{url}?all_tenants=true&limit=10"), None).await;
    assert_eq!(tenants(&answer), ["acme", "default-tenant"]);
    assert_eq!(tenants(&get(url.clone(), None).await.1), ["default-tenant"]);
    assert_eq!(get(url.clone(), Some("nobody")).await.1["data"], json!([]));
    let (status, answer) = get(format!("{url}?all_tenants=true"), Some("acme")).await;
    assert_eq!((status, &answer["status"]), (400, &json!("error")));
    assert_eq!(get(url, Some("a/b")).await.0, 400);
}
