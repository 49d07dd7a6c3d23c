//! An issuer with real keys, made once for all tests of this process.

use std::sync::LazyLock;

use aws_lc_rs::{
    hmac,
    rand::SystemRandom,
    rsa::{KeyPair as RsaKeyPair, KeySize, PublicKeyComponents},
    signature::{
        ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair,
        Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, RSA_PKCS1_SHA512, RSA_PSS_SHA256, RSA_PSS_SHA384,
        RSA_PSS_SHA512, RsaEncoding,
    },
};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD as BASE64};
use ravelin_snapshot::jwt::JwtAlgorithm;
use serde_json::{Value, json};

pub(super) struct Issuer {
    rsa: RsaKeyPair,
    p256: EcdsaKeyPair,
    p384: EcdsaKeyPair,
    edwards: Ed25519KeyPair,
    pub(super) shared: [u8; 64],
}

pub(super) static ISSUER: LazyLock<Issuer> = LazyLock::new(Issuer::new);

pub(super) fn encode(bytes: impl AsRef<[u8]>) -> String {
    BASE64.encode(bytes)
}

fn key_of(pair: &EcdsaKeyPair, curve: &str, kid: &str) -> Value {
    let point = &pair.public_key().as_ref()[1..];
    let (x, y) = point.split_at(point.len() / 2);
    json!({"kty": "EC", "crv": curve, "kid": kid, "x": encode(x), "y": encode(y)})
}

impl Issuer {
    pub(super) fn new() -> Self {
        Self {
            rsa: RsaKeyPair::generate(KeySize::Rsa2048).unwrap(),
            p256: EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap(),
            p384: EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING).unwrap(),
            edwards: Ed25519KeyPair::generate().unwrap(),
            shared: [7; 64],
        }
    }

    /// A P-256 key of which nobody has the other half.
    pub(super) fn new_p256() -> Value {
        key_of(&EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap(), "P-256", "p256")
    }

    /// The public keys, each named as its type.
    pub(super) fn keys(&self) -> Vec<Value> {
        let n = self.modulus();
        vec![
            json!({"kty": "RSA", "kid": "rsa", "use": "sig", "n": encode(&n), "e": "AQAB"}),
            key_of(&self.p256, "P-256", "p256"),
            key_of(&self.p384, "P-384", "p384"),
            json!({"kty": "OKP", "crv": "Ed25519", "kid": "edwards", "x": encode(self.edwards.public_key())}),
        ]
    }

    pub(super) fn modulus(&self) -> Vec<u8> {
        let public: PublicKeyComponents<Vec<u8>> = self.rsa.public_key().into();
        public.n
    }

    /// A token with this header and these claims, whatever they say.
    pub(super) fn sign(&self, algorithm: JwtAlgorithm, header: &str, claims: &str) -> String {
        let message = format!("{}.{}", encode(header), encode(claims));
        let signature = self.signature(algorithm, message.as_bytes());
        format!("{message}.{}", encode(signature))
    }

    pub(super) fn signature(&self, algorithm: JwtAlgorithm, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        let rsa = |padding: &'static dyn RsaEncoding| {
            let mut signature = vec![0; self.rsa.public_modulus_len()];
            self.rsa.sign(padding, &random, message, &mut signature).unwrap();
            signature
        };
        let shared = |hash| hmac::sign(&hmac::Key::new(hash, &self.shared), message).as_ref().to_vec();
        match algorithm {
            JwtAlgorithm::RS256 => rsa(&RSA_PKCS1_SHA256),
            JwtAlgorithm::RS384 => rsa(&RSA_PKCS1_SHA384),
            JwtAlgorithm::RS512 => rsa(&RSA_PKCS1_SHA512),
            JwtAlgorithm::PS256 => rsa(&RSA_PSS_SHA256),
            JwtAlgorithm::PS384 => rsa(&RSA_PSS_SHA384),
            JwtAlgorithm::PS512 => rsa(&RSA_PSS_SHA512),
            JwtAlgorithm::ES256 => self.p256.sign(&random, message).unwrap().as_ref().to_vec(),
            JwtAlgorithm::ES384 => self.p384.sign(&random, message).unwrap().as_ref().to_vec(),
            JwtAlgorithm::EdDSA => self.edwards.sign(message).as_ref().to_vec(),
            JwtAlgorithm::HS256 => shared(hmac::HMAC_SHA256),
            JwtAlgorithm::HS384 => shared(hmac::HMAC_SHA384),
            JwtAlgorithm::HS512 => shared(hmac::HMAC_SHA512),
        }
    }

    /// The signature of ES256 in DER, as X.509 has it and tokens do not.
    pub(super) fn der(&self, message: &[u8]) -> Vec<u8> {
        let document = self.p256.to_pkcs8v1().unwrap();
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, document.as_ref()).unwrap();
        pair.sign(&SystemRandom::new(), message).unwrap().as_ref().to_vec()
    }
}
