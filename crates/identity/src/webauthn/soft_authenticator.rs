//! An authenticator in software, for tests: it can do what a real one does, and what a real one refuses.

use ciborium::Value as Cbor;
use serde_json::{Value, json};

use crate::jws::{encode, sha256};
use crate::key::{KeyKind, SigningKey};

const USER_PRESENT: u8 = 0x01;
const USER_VERIFIED: u8 = 0x04;
const ATTESTED: u8 = 0x40;

/// One key, its counter, and what it claims about whoever holds it.
pub(super) struct SoftAuthenticator {
    key: SigningKey,
    pub(super) id: Vec<u8>,
    pub(super) counter: u32,
    pub(super) verifies: bool,
    pub(super) origin: String,
    pub(super) domain: String,
}

impl SoftAuthenticator {
    pub(super) fn new(seed: u8) -> Self {
        Self {
            key: SigningKey::from_random(KeyKind::P256, &[seed; 32]),
            id: vec![seed; 16],
            counter: 0,
            verifies: true,
            origin: "https://creta.bank.example".to_owned(),
            domain: "creta.bank.example".to_owned(),
        }
    }

    /// Answers `navigator.credentials.create`.
    pub(super) fn create(&mut self, options: &Value) -> Vec<u8> {
        let jwk = self.key.public().to_jwk();
        let coordinate = |name: &str| {
            let text = jwk[name].as_str().expect("a coordinate");
            Cbor::Bytes(crate::jws::decode(text).expect("base64url"))
        };
        let pair = |key: i64, value: Cbor| (Cbor::from(key), value);
        // RFC 9053 §2.1, §7.1: EC2, ES256, P-256.
        let cose = Cbor::Map(vec![
            pair(1, Cbor::from(2)),
            pair(3, Cbor::from(-7)),
            pair(-1, Cbor::from(1)),
            pair(-2, coordinate("x")),
            pair(-3, coordinate("y")),
        ]);
        let mut data = self.authenticator_data(ATTESTED);
        data.extend([0; 16]);
        data.extend(u16::try_from(self.id.len()).expect("short").to_be_bytes());
        data.extend(&self.id);
        ciborium::into_writer(&cose, &mut data).expect("writes into memory");
        let object = Cbor::Map(vec![
            (Cbor::from("fmt"), Cbor::from("none")),
            (Cbor::from("attStmt"), Cbor::Map(vec![])),
            (Cbor::from("authData"), Cbor::Bytes(data)),
        ]);
        let mut attestation = Vec::new();
        ciborium::into_writer(&object, &mut attestation).expect("writes into memory");
        let client_data = self.client_data("webauthn.create", options);
        let answer = json!({
            "id": encode(&self.id), "rawId": encode(&self.id), "type": "public-key", "extensions": {},
            "response": {"attestationObject": encode(attestation), "clientDataJSON": encode(client_data)},
        });
        answer.to_string().into_bytes()
    }

    /// Answers `navigator.credentials.get`; the counter grows.
    pub(super) fn get(&mut self, options: &Value) -> Vec<u8> {
        self.counter += 1;
        self.get_with(options, self.counter)
    }

    /// The same with any counter.
    pub(super) fn get_with(&self, options: &Value, counter: u32) -> Vec<u8> {
        let mut data = self.authenticator_data(0);
        data[33..37].copy_from_slice(&counter.to_be_bytes());
        let client_data = self.client_data("webauthn.get", options);
        let signature = der(&self.key.sign(&[data.as_slice(), &sha256(&client_data)].concat()));
        let answer = json!({
            "id": encode(&self.id), "rawId": encode(&self.id), "type": "public-key", "extensions": {},
            "response": {
                "authenticatorData": encode(data), "clientDataJSON": encode(client_data), "signature": encode(signature),
                "userHandle": null,
            },
        });
        answer.to_string().into_bytes()
    }

    /// WebAuthn §6.1: hash of the domain, flags, counter.
    fn authenticator_data(&self, flags: u8) -> Vec<u8> {
        let verified = if self.verifies { USER_VERIFIED } else { 0 };
        let mut data = sha256(self.domain.as_bytes()).to_vec();
        data.push(USER_PRESENT | verified | flags);
        data.extend(self.counter.to_be_bytes());
        data
    }

    fn client_data(&self, kind: &str, options: &Value) -> Vec<u8> {
        let challenge = &options["publicKey"]["challenge"];
        json!({"type": kind, "challenge": challenge, "origin": self.origin, "crossOrigin": false})
            .to_string()
            .into_bytes()
    }
}

/// ECDSA signatures are DER in WebAuthn: a sequence of two integers.
fn der(signature: &[u8]) -> Vec<u8> {
    let integer = |half: &[u8]| {
        let mut bytes: Vec<u8> = half.iter().copied().skip_while(|byte| *byte == 0).collect();
        if bytes.first().is_none_or(|byte| byte & 0x80 != 0) {
            bytes.insert(0, 0);
        }
        [vec![2, u8::try_from(bytes.len()).expect("at most 33")], bytes].concat()
    };
    let body = [integer(&signature[..32]), integer(&signature[32..])].concat();
    [vec![0x30, u8::try_from(body.len()).expect("at most 70")], body].concat()
}
