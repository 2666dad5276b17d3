//! What a TPM says about a key that it holds (TPM 2.0 Library, Part 2): that it was made inside and cannot leave.

use serde::{Deserialize, Serialize};

use super::DeviceError;
use crate::jws::{decode, sha256};
use crate::key::{KeyKind, PublicKey, Thumbprint};

const GENERATED: u32 = 0xff54_4347; // TPM_GENERATED_VALUE: only a TPM writes it into what it signs (10.12.1).
const ATTEST_CERTIFY: u16 = 0x8017;
const ALG_SHA256: u16 = 0x000b;
const ALG_ECC: u16 = 0x0023;
const ALG_NULL: u16 = 0x0010;
const ALG_ECDSA: u16 = 0x0018;
const CURVE_P256: u16 = 0x0003;
/// fixedTPM, fixedParent, sensitiveDataOrigin, sign (8.3): made inside, never leaves, signs.
const REQUIRED: u32 = 1 << 1 | 1 << 4 | 1 << 5 | 1 << 18;
/// restricted (8.3): such a key signs only what the TPM made, which would make it an attestation key and no device key.
const RESTRICTED: u32 = 1 << 16;

/// The answer of `TPM2_Certify` over a device's key, with a key of the TPM that signs only what the TPM itself says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TpmEvidence {
    /// The attestation key.
    pub attester: PublicKey,
    /// `TPMT_PUBLIC` of the device's key, base64url.
    pub public: String,
    /// `TPMS_ATTEST`, base64url; its extra data is SHA-256 of the enrolment's nonce.
    pub attest: String,
    /// The attestation key's signature over it: ECDSA with SHA-256, r and s, base64url.
    pub signature: String,
}

/// The key of a `TPMT_PUBLIC` on P-256, as a TPM writes it.
pub fn tpm_key(public: &[u8]) -> Option<PublicKey> {
    let (_, point) = parse_public(public)?;
    PublicKey::new(KeyKind::P256, &point).ok()
}

/// Whether the TPM of one of `attesters` holds `key`, said for this nonce.
pub(super) fn verify(
    evidence: &TpmEvidence,
    key: &PublicKey,
    nonce: &str,
    attesters: &[Thumbprint],
) -> Result<(), DeviceError> {
    let refuse = |why| DeviceError::Tpm { why };
    let bytes = |text: &str| decode(text).ok_or(DeviceError::Malformed);
    let (public, attest, signature) = (bytes(&evidence.public)?, bytes(&evidence.attest)?, bytes(&evidence.signature)?);
    if !attesters.contains(&evidence.attester.thumbprint()) {
        return Err(refuse("the TPM is not one of the organisation's"));
    }
    if !evidence.attester.verifies(&attest, &signature) {
        return Err(refuse("its signature is wrong"));
    }
    let said = Attest::parse(&attest).ok_or(refuse("it is no statement about a key"))?;
    if said.extra != sha256(nonce.as_bytes()) {
        return Err(refuse("it answers another nonce"));
    }
    // Part 1, 16: the name of an object is its hash algorithm and its hash.
    let name = [ALG_SHA256.to_be_bytes().as_slice(), &sha256(&public)].concat();
    if said.name != name {
        return Err(refuse("it is about another key"));
    }
    let (attributes, point) = parse_public(&public).ok_or(refuse("the key is not of P-256"))?;
    if attributes & REQUIRED != REQUIRED || attributes & RESTRICTED != 0 {
        return Err(refuse("the key can leave the TPM, or was made outside of it"));
    }
    if PublicKey::new(KeyKind::P256, &point).ok().as_ref() != Some(key) {
        return Err(refuse("it is about another key"));
    }
    Ok(())
}

/// The parts of `TPMS_ATTEST` for a certified key.
struct Attest<'a> {
    extra: &'a [u8],
    name: &'a [u8],
}

impl<'a> Attest<'a> {
    fn parse(bytes: &'a [u8]) -> Option<Self> {
        let mut reader = Reader(bytes);
        let header = (reader.u32()?, reader.u16()?);
        let _signer = reader.sized()?;
        let extra = reader.sized()?;
        let _clock_and_firmware = reader.take(17 + 8)?;
        let name = reader.sized()?;
        let _qualified_name = reader.sized()?;
        (header == (GENERATED, ATTEST_CERTIFY) && reader.0.is_empty()).then_some(Self { extra, name })
    }
}

/// Attributes and point (0x04, x, y) of a `TPMT_PUBLIC` of an ECC key on P-256.
fn parse_public(bytes: &[u8]) -> Option<(u32, Vec<u8>)> {
    let mut reader = Reader(bytes);
    let kind = (reader.u16()?, reader.u16()?);
    let attributes = reader.u32()?;
    let _policy = reader.sized()?;
    if kind != (ALG_ECC, ALG_SHA256) || reader.u16()? != ALG_NULL {
        return None;
    }
    match reader.u16()? {
        ALG_NULL => {}
        ALG_ECDSA => {
            reader.u16().filter(|hash| *hash == ALG_SHA256)?;
        }
        _ => return None,
    }
    if reader.u16()? != CURVE_P256 || reader.u16()? != ALG_NULL {
        return None;
    }
    let (x, y) = (reader.sized()?, reader.sized()?);
    let padded = |half: &[u8]| Some([vec![0; 32_usize.checked_sub(half.len())?], half.to_vec()].concat());
    reader.0.is_empty().then_some((attributes, [vec![4], padded(x)?, padded(y)?].concat()))
}

/// Big-endian, as TPMs write.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn u16(&mut self) -> Option<u16> {
        self.take(2).map(|bytes| u16::from_be_bytes([bytes[0], bytes[1]]))
    }

    fn u32(&mut self) -> Option<u32> {
        self.take(4).map(|bytes| u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    }

    /// A `TPM2B`: two bytes of length, then so many.
    fn sized(&mut self) -> Option<&'a [u8]> {
        let count = usize::from(self.u16()?);
        self.take(count)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::jws::encode;
    use crate::key::SigningKey;

    fn sized(bytes: &[u8]) -> Vec<u8> {
        [u16::try_from(bytes.len()).expect("short").to_be_bytes().as_slice(), bytes].concat()
    }

    /// What a TPM with this attestation key says about a key that it made; `change` is what a forger does to it.
    fn evidence_with(attester: &SigningKey, key: &PublicKey, nonce: &str, change: impl Fn(&mut Parts)) -> TpmEvidence {
        let jwk = key.to_jwk();
        let coordinate = |name: &str| decode(jwk[name].as_str().expect("a coordinate")).expect("base64url");
        let mut parts = Parts {
            attributes: REQUIRED,
            magic: GENERATED,
            kind: ATTEST_CERTIFY,
            extra: sha256(nonce.as_bytes()),
            curve: CURVE_P256,
            rest: vec![],
        };
        change(&mut parts);
        let mut public = Vec::new();
        for field in [ALG_ECC.to_be_bytes(), ALG_SHA256.to_be_bytes()] {
            public.extend(field);
        }
        public.extend(parts.attributes.to_be_bytes());
        public.extend(sized(&[]));
        for field in [ALG_NULL, ALG_ECDSA, ALG_SHA256, parts.curve, ALG_NULL] {
            public.extend(field.to_be_bytes());
        }
        public.extend([sized(&coordinate("x")), sized(&coordinate("y"))].concat());
        let name = [ALG_SHA256.to_be_bytes().as_slice(), &sha256(&public)].concat();
        let attest = [
            parts.magic.to_be_bytes().as_slice(),
            &parts.kind.to_be_bytes(),
            &sized(&[1; 34]),
            &sized(&parts.extra),
            &[0; 25],
            &sized(&name),
            &sized(&[2; 34]),
            &parts.rest,
        ]
        .concat();
        let signature = encode(attester.sign(&attest));
        TpmEvidence { attester: attester.public(), public: encode(public), attest: encode(attest), signature }
    }

    struct Parts {
        attributes: u32,
        magic: u32,
        kind: u16,
        extra: [u8; 32],
        curve: u16,
        rest: Vec<u8>,
    }

    /// What an honest TPM says.
    pub(in crate::device) fn evidence(attester: &SigningKey, key: &PublicKey, nonce: &str) -> TpmEvidence {
        evidence_with(attester, key, nonce, |_| ())
    }

    fn key(seed: u8) -> SigningKey {
        SigningKey::from_random(KeyKind::P256, &[seed; 32])
    }

    #[test]
    fn attack_ch18_only_a_known_tpm_that_speaks_of_this_key_now_is_believed() {
        let (attester, device) = (key(1), key(2).public());
        let known = [attester.public().thumbprint()];
        let check = |evidence: &TpmEvidence| verify(evidence, &device, "n", &known);
        assert_eq!(check(&evidence(&attester, &device, "n")), Ok(()));
        let refused = |evidence: TpmEvidence| match check(&evidence) {
            Err(DeviceError::Tpm { why }) => why,
            other => panic!("{other:?}"),
        };
        assert_eq!(refused(evidence(&key(3), &device, "n")), "the TPM is not one of the organisation's");
        let mut forged = evidence(&key(3), &device, "n");
        forged.attester = attester.public();
        assert_eq!(refused(forged), "its signature is wrong");
        assert_eq!(refused(evidence(&attester, &device, "m")), "it answers another nonce");
        assert_eq!(refused(evidence(&attester, &key(4).public(), "n")), "it is about another key");
        let mut swapped = evidence(&attester, &key(4).public(), "n");
        swapped.public = evidence(&attester, &device, "n").public;
        assert_eq!(refused(swapped), "it is about another key", "the name is that of the other");
        let statement = "it is no statement about a key";
        for (change, why) in [
            (Box::new(|parts: &mut Parts| parts.magic = 0) as Box<dyn Fn(&mut Parts)>, statement),
            (Box::new(|parts: &mut Parts| parts.kind = 0x8018), statement),
            (Box::new(|parts: &mut Parts| parts.rest = vec![0]), statement),
            (Box::new(|parts: &mut Parts| parts.curve = 4), "the key is not of P-256"),
        ] {
            assert_eq!(refused(evidence_with(&attester, &device, "n", change)), why);
        }
        for bit in [1, 4, 5, 18] {
            let portable = evidence_with(&attester, &device, "n", |parts| parts.attributes &= !(1 << bit));
            assert_eq!(refused(portable), "the key can leave the TPM, or was made outside of it", "{bit}");
        }
        let restricted = evidence_with(&attester, &device, "n", |parts| parts.attributes |= RESTRICTED);
        assert_eq!(refused(restricted), "the key can leave the TPM, or was made outside of it");
    }
}
