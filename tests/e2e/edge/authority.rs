//! Certificates of an authority of the test's own.

use std::path::Path;

use anyhow::Result;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, DnValue, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
};
use reqwest::Identity;
use ringside_e2e::config_map::ConfigMap;

/// An authority, and the certificates that it gives.
pub(super) struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate with its key, both in PEM.
pub(super) struct Signed {
    pub(super) certificate: String,
    pub(super) key: KeyPair,
}

impl Authority {
    pub(super) fn new(name: &str) -> Result<Self> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(Vec::new())?;
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pem = params.self_signed(&key)?.pem();
        Ok(Self { pem, issuer: Issuer::new(params, key) })
    }

    /// Its own certificate, in PEM.
    pub(super) fn pem(&self) -> &str {
        &self.pem
    }

    /// A certificate for a server of this name or address.
    pub(super) fn server(&self, name: &str) -> Result<Signed> {
        let mut params = CertificateParams::new(vec![name.to_owned()])?;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        self.sign(&params)
    }

    /// A client's certificate with this subject.
    pub(super) fn client(&self, subject: &[(DnType, &str)]) -> Result<Identity> {
        let mut params = CertificateParams::new(Vec::new())?;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params.distinguished_name = rcgen::DistinguishedName::new();
        for (field, value) in subject {
            params.distinguished_name.push(field.clone(), DnValue::Utf8String((*value).to_owned()));
        }
        let signed = self.sign(&params)?;
        let pem = [signed.certificate, signed.key.serialize_pem()].concat();
        Ok(Identity::from_pem(pem.as_bytes())?)
    }

    /// What the listener of every edge with TLS reads: its certificate and key.
    pub(super) fn listener(&self) -> Result<[(&'static str, String); 2]> {
        let signed = self.server("127.0.0.1")?;
        Ok([("tls.crt", signed.certificate), ("tls.key", signed.key.serialize_pem())])
    }

    /// The same, mounted where the listener reads it.
    pub(super) fn mount_listener(&self, files: &Path) -> Result<ConfigMap> {
        ConfigMap::new(files.join("tls"), &self.listener()?)
    }

    /// Its own certificate, mounted where the listener reads whose clients it is to trust.
    pub(super) fn mount_clients(&self, files: &Path) -> Result<ConfigMap> {
        ConfigMap::new(files.join("clients"), &self.clients())
    }

    pub(super) fn clients(&self) -> [(&'static str, String); 1] {
        [("ca.crt", self.pem.clone())]
    }

    /// What a client begins with that trusts nobody else.
    pub(super) fn trusting_client(&self) -> Result<reqwest::ClientBuilder> {
        let certificate = reqwest::Certificate::from_pem(self.pem.as_bytes())?;
        Ok(reqwest::Client::builder().tls_certs_only([certificate]))
    }

    fn sign(&self, params: &CertificateParams) -> Result<Signed> {
        let key = KeyPair::generate()?;
        Ok(Signed { certificate: params.signed_by(&key, &self.issuer)?.pem(), key })
    }
}
