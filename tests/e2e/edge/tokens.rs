//! An issuer of tokens: it signs them, and serves its keys over TLS.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Result;
use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use jsonwebtoken::jwk::{Jwk, JwkSet};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use rcgen::KeyPair;
use ringside_e2e::ports;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::authority::Signed;

/// As `envoy/edge/jwt.yaml` names it.
pub(super) const HOST: &str = "issuer.example";
const AUDIENCE: &str = "ringside";

/// A key that signs tokens, and its id, which is in the tokens.
pub(super) struct Tokens {
    key: EncodingKey,
    id: Option<&'static str>,
}

impl Tokens {
    /// A key without an id.
    pub(super) fn new() -> Result<Self> {
        Ok(Self { key: EncodingKey::from_ec_der(&KeyPair::generate()?.serialize_der()), id: None })
    }

    /// A key with an id.
    pub(super) fn with_id(id: &'static str) -> Result<Self> {
        Ok(Self { id: Some(id), ..Self::new()? })
    }

    /// The same key, whose tokens have this id or none.
    pub(super) fn says_id(&self, id: Option<&'static str>) -> Self {
        Self { key: self.key.clone(), id }
    }

    /// A token with what is expected of it, and with `claims`, of which a null takes a claim away.
    pub(super) fn sign(&self, claims: Value) -> Result<String> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
        let mut all = json!({"iss": format!("https://{HOST}"), "aud": AUDIENCE, "exp": now + 600});
        for (name, value) in claims.as_object().into_iter().flatten() {
            all[name] = value.clone();
        }
        if let Some(claims) = all.as_object_mut() {
            claims.retain(|_, value| !value.is_null());
        }
        let header = Header { kid: self.id.map(str::to_owned), ..Header::new(Algorithm::ES256) };
        Ok(jsonwebtoken::encode(&header, &all, &self.key)?)
    }

    fn public(&self) -> Result<Jwk> {
        let mut key = Jwk::from_encoding_key(&self.key, Algorithm::ES256)?;
        key.common.key_id = self.id.map(str::to_owned);
        Ok(key)
    }
}

/// Who serves public keys.
pub(super) struct Issuer {
    pub(super) address: SocketAddr,
    state: Arc<Mutex<State>>,
}

/// What the issuer says, if anything, and how often it was asked.
#[derive(Default)]
struct State {
    page: Option<String>,
    fetches: usize,
}

impl Issuer {
    /// Serves these keys from now on, with this certificate.
    pub(super) async fn start(server: &Signed, keys: &[&Tokens]) -> Result<Self> {
        let certificate = CertificateDer::from_pem_slice(server.certificate.as_bytes())?;
        let key = PrivateKeyDer::try_from(server.key.serialize_der()).map_err(anyhow::Error::msg)?;
        let config =
            ServerConfig::builder().with_no_client_auth().with_single_cert(vec![certificate], key)?;
        let address = ports::reserve()?;
        let issuer = Self { address, state: Arc::default() };
        issuer.publish(keys)?;
        let listener = Tls(TcpListener::bind(address).await?, TlsAcceptor::from(Arc::new(config)));
        let state = Arc::clone(&issuer.state);
        let fetch = get(|| async move {
            let mut state = lock(&state);
            state.fetches += 1;
            state.page.clone().ok_or(StatusCode::INTERNAL_SERVER_ERROR)
        });
        let router = Router::new().route("/.well-known/jwks.json", fetch);
        tokio::spawn(async move { axum::serve(listener, router).await });
        Ok(issuer)
    }

    /// Serves these keys in place of those before.
    pub(super) fn publish(&self, keys: &[&Tokens]) -> Result<()> {
        let keys = JwkSet { keys: keys.iter().map(|one| one.public()).collect::<Result<_>>()? };
        lock(&self.state).page = Some(serde_json::to_string(&keys)?);
        Ok(())
    }

    /// Serves nothing but errors.
    pub(super) fn fail(&self) {
        lock(&self.state).page = None;
    }

    /// How often somebody has asked for the keys.
    pub(super) fn fetches(&self) -> usize {
        lock(&self.state).fetches
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Tls(TcpListener, TlsAcceptor);

impl axum::serve::Listener for Tls {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, SocketAddr) {
        loop {
            let accepted = async {
                let (stream, address) = self.0.accept().await?;
                Ok::<_, std::io::Error>((self.1.accept(stream).await?, address))
            };
            match accepted.await {
                Ok(accepted) => return accepted,
                Err(error) => eprintln!("issuer: {error}"),
            }
        }
    }

    fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.0.local_addr()
    }
}
