//! An issuer of tokens: it signs them, and serves its key over TLS.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Result;
use axum::Router;
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

/// A key that signs tokens.
pub(super) struct Tokens(EncodingKey);

impl Tokens {
    pub(super) fn new() -> Result<Self> {
        Ok(Self(EncodingKey::from_ec_der(&KeyPair::generate()?.serialize_der())))
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
        Ok(jsonwebtoken::encode(&Header::new(Algorithm::ES256), &all, &self.0)?)
    }

    /// Serves the public key from now on, with this certificate.
    pub(super) async fn serve(&self, server: &Signed) -> Result<SocketAddr> {
        let keys = JwkSet { keys: vec![Jwk::from_encoding_key(&self.0, Algorithm::ES256)?] };
        let keys = serde_json::to_string(&keys)?;
        let certificate = CertificateDer::from_pem_slice(server.certificate.as_bytes())?;
        let key = PrivateKeyDer::try_from(server.key.serialize_der()).map_err(anyhow::Error::msg)?;
        let config =
            ServerConfig::builder().with_no_client_auth().with_single_cert(vec![certificate], key)?;
        let address = ports::reserve()?;
        let listener = Tls(TcpListener::bind(address).await?, TlsAcceptor::from(Arc::new(config)));
        let router = Router::new().route("/.well-known/jwks.json", get(|| async move { keys }));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Ok(address)
    }
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
