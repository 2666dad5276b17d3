//! Commands of a TPM and its answers, byte by byte (TPM 2.0 Library, Part 2 and 3). Pure: what is sent and read elsewhere.
//!
//! Six commands are enough to make a key that never leaves, to have it attested, and to sign with it. All objects are of
//! P-256 and SHA-256, and none has a password: whoever may open the TPM on this machine may use them.

use super::TpmError;

const NO_SESSIONS: u16 = 0x8001;
const SESSIONS: u16 = 0x8002;
const CERTIFY: u32 = 0x148;
const CREATE_PRIMARY: u32 = 0x131;
const CREATE: u32 = 0x153;
const LOAD: u32 = 0x157;
const SIGN: u32 = 0x15d;
const FLUSH_CONTEXT: u32 = 0x165;

const RH_NULL: u32 = 0x4000_0007;
const PASSWORD_SESSION: u32 = 0x4000_0009; // TPM_RS_PW
const ST_HASHCHECK: u16 = 0x8024;

const ALG_AES: u16 = 0x0006;
const ALG_SHA256: u16 = 0x000b;
const ALG_NULL: u16 = 0x0010;
const ALG_ECDSA: u16 = 0x0018;
const ALG_ECC: u16 = 0x0023;
const ALG_CFB: u16 = 0x0043;
const CURVE_P256: u16 = 0x0003;

/// fixedTPM, fixedParent, sensitiveDataOrigin, userWithAuth, noDA (8.3): made inside, never leaves, no password.
const INSIDE: u32 = 1 << 1 | 1 << 4 | 1 << 5 | 1 << 6 | 1 << 10;
const RESTRICTED: u32 = 1 << 16;
const DECRYPT: u32 = 1 << 17;
const SIGNS: u32 = 1 << 18;

/// Longest answer that is read.
pub(super) const ANSWER_BYTES_MAX: usize = 4096;
/// Tag, size and code.
pub(super) const HEADER_BYTES: usize = 10;

/// Whose keys are made: a hierarchy of the TPM has a seed of its own.
#[derive(Debug, Clone, Copy)]
pub(super) enum Hierarchy {
    /// Ends when the TPM is cleared.
    Owner = 0x4000_0001,
    /// Stays as long as the chip.
    Endorsement = 0x4000_000b,
}

/// What kind of key.
#[derive(Debug, Clone, Copy)]
pub(super) enum Template {
    /// Wraps other keys.
    Storage,
    /// Signs only what the TPM itself says.
    Attestation,
    /// Signs what it is given.
    Device,
}

impl Template {
    /// `TPMT_PUBLIC` (12.2.4).
    fn public(self) -> Vec<u8> {
        let attributes = INSIDE
            | match self {
                Self::Storage => RESTRICTED | DECRYPT,
                Self::Attestation => RESTRICTED | SIGNS,
                Self::Device => SIGNS,
            };
        let scheme: &[u16] = match self {
            Self::Storage => &[ALG_AES, 128, ALG_CFB, ALG_NULL],
            Self::Attestation | Self::Device => &[ALG_NULL, ALG_ECDSA, ALG_SHA256],
        };
        let empty = sized(&[]);
        [
            words(&[ALG_ECC, ALG_SHA256]),
            attributes.to_be_bytes().to_vec(),
            empty.clone(),
            words(scheme),
            words(&[CURVE_P256, ALG_NULL]),
            // The point, which the TPM fills in: for a primary key it follows from the hierarchy's seed and this template.
            empty.clone(),
            empty,
        ]
        .concat()
    }
}

/// TPM2_CreatePrimary: the same hierarchy and template give the same key, as long as the hierarchy lives.
pub(super) fn create_primary(hierarchy: Hierarchy, template: Template) -> Vec<u8> {
    command(CREATE_PRIMARY, &[hierarchy as u32], 1, &creation(template))
}

/// TPM2_Create.
pub(super) fn create(parent: u32, template: Template) -> Vec<u8> {
    command(CREATE, &[parent], 1, &creation(template))
}

/// TPM2_Load.
pub(super) fn load(parent: u32, private: &[u8], public: &[u8]) -> Vec<u8> {
    command(LOAD, &[parent], 1, &[sized(private), sized(public)].concat())
}

/// TPM2_Sign, of a digest.
pub(super) fn sign(key: u32, digest: &[u8; 32]) -> Vec<u8> {
    let no_ticket = [words(&[ST_HASHCHECK]), RH_NULL.to_be_bytes().to_vec(), sized(&[])].concat();
    command(SIGN, &[key], 1, &[sized(digest), words(&[ALG_NULL]), no_ticket].concat())
}

/// TPM2_Certify: what `attester` says about `key`, with something of the asker's in it.
pub(super) fn certify(key: u32, attester: u32, extra: &[u8; 32]) -> Vec<u8> {
    command(CERTIFY, &[key, attester], 2, &[sized(extra), words(&[ALG_NULL])].concat())
}

/// TPM2_FlushContext.
pub(super) fn flush(handle: u32) -> Vec<u8> {
    command(FLUSH_CONTEXT, &[], 0, &handle.to_be_bytes())
}

/// `TPM2B_SENSITIVE_CREATE` without password and data, the template, nothing from outside, no registers.
fn creation(template: Template) -> Vec<u8> {
    let nothing = sized(&[]);
    let sensitive = sized(&[nothing.clone(), nothing.clone()].concat());
    [sensitive, sized(&template.public()), nothing, 0_u32.to_be_bytes().to_vec()].concat()
}

/// A command with as many empty passwords as it has handles that want one.
fn command(code: u32, handles: &[u32], passwords: usize, parameters: &[u8]) -> Vec<u8> {
    let handles: Vec<u8> = handles.iter().flat_map(|handle| handle.to_be_bytes()).collect();
    let password = [PASSWORD_SESSION.to_be_bytes().to_vec(), sized(&[]), vec![1], sized(&[])].concat();
    let passwords = password.repeat(passwords);
    let (tag, sizes) = match passwords.is_empty() {
        true => (NO_SESSIONS, vec![]),
        false => (SESSIONS, length(passwords.len()).to_vec()),
    };
    let body = [handles, sizes, passwords, parameters.to_vec()].concat();
    let size = length(HEADER_BYTES + body.len());
    [tag.to_be_bytes().to_vec(), size.to_vec(), code.to_be_bytes().to_vec(), body].concat()
}

fn length(bytes: usize) -> [u8; 4] {
    u32::try_from(bytes).expect("a command is short").to_be_bytes()
}

fn words(words: &[u16]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_be_bytes()).collect()
}

/// A `TPM2B`.
fn sized(bytes: &[u8]) -> Vec<u8> {
    [&u16::try_from(bytes.len()).expect("a part is short").to_be_bytes(), bytes].concat()
}

/// How long the answer is that begins like this; `None` until its header is there.
pub(super) fn answer_bytes(begin: &[u8]) -> Option<usize> {
    let size = begin.get(2..6).filter(|_| begin.len() >= HEADER_BYTES)?;
    Some(u32::from_be_bytes(size.try_into().ok()?) as usize)
}

/// An answer that is not a refusal.
pub(super) struct Answer<'a> {
    rest: &'a [u8],
}

impl<'a> Answer<'a> {
    /// Reads the header; a code other than zero is the TPM's refusal.
    pub(super) fn read(bytes: &'a [u8]) -> Result<Self, TpmError> {
        let mut answer = Self { rest: bytes };
        let (_tag, size, code) = (answer.u16()?, answer.u32()?, answer.u32()?);
        match code {
            _ if size as usize != bytes.len() => Err(TpmError::Malformed),
            0 => Ok(answer),
            code => Err(TpmError::Refused { code }),
        }
    }

    /// The handle of a new object, which stands before everything else.
    pub(super) fn handle(&mut self) -> Result<u32, TpmError> {
        self.u32()
    }

    /// The parameters: their size, then they, then what becomes of the passwords, which is nothing.
    pub(super) fn parameters(mut self) -> Result<Self, TpmError> {
        let size = self.u32()? as usize;
        self.rest = self.rest.get(..size).ok_or(TpmError::Malformed)?;
        Ok(self)
    }

    /// A `TPM2B`.
    pub(super) fn sized(&mut self) -> Result<&'a [u8], TpmError> {
        let size = self.u16()?;
        self.take(size.into())
    }

    /// `TPMT_SIGNATURE` of ECDSA with SHA-256 (11.3.4): r and s, 32 bytes each.
    pub(super) fn signature(&mut self) -> Result<Vec<u8>, TpmError> {
        if (self.u16()?, self.u16()?) != (ALG_ECDSA, ALG_SHA256) {
            return Err(TpmError::Malformed);
        }
        let mut signature = Vec::with_capacity(64);
        for _ in 0..2 {
            let half = self.sized()?;
            signature.extend(vec![0; 32_usize.checked_sub(half.len()).ok_or(TpmError::Malformed)?]);
            signature.extend(half);
        }
        Ok(signature)
    }

    fn u16(&mut self) -> Result<u16, TpmError> {
        self.take(2).map(|bytes| u16::from_be_bytes([bytes[0], bytes[1]]))
    }

    fn u32(&mut self) -> Result<u32, TpmError> {
        self.take(4).map(|bytes| u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], TpmError> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or(TpmError::Malformed)?;
        self.rest = rest;
        Ok(taken)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_command_says_how_long_it_is() {
        for (bytes, code) in
            [(flush(0x8000_0000), FLUSH_CONTEXT), (sign(1, &[7; 32]), SIGN), (certify(1, 2, &[0; 32]), CERTIFY)]
        {
            assert_eq!(answer_bytes(&bytes), Some(bytes.len()));
            assert_eq!(bytes[6..10], code.to_be_bytes());
        }
        assert_eq!(flush(0x8000_0000), hex::decode("80010000000e0000016580000000").expect("hex"));
    }

    #[test]
    fn short_halves_of_a_signature_are_filled_up() {
        let bytes = [words(&[ALG_ECDSA, ALG_SHA256]), sized(&[1; 31]), sized(&[2; 32])].concat();
        let signature = Answer { rest: &bytes }.signature().expect("a signature");
        assert_eq!((signature.len(), &signature[..2], signature[32]), (64, &[0, 1][..], 2));
        let long = [words(&[ALG_ECDSA, ALG_SHA256]), sized(&[1; 33]), sized(&[2; 32])].concat();
        assert!(Answer { rest: &long }.signature().is_err());
    }

    proptest! {
        #[test]
        fn whatever_answers_is_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(mut answer) = Answer::read(&bytes) {
                let _ = answer.handle();
                if let Ok(mut parameters) = answer.parameters() {
                    let _ = parameters.sized();
                    let _ = parameters.signature();
                }
            }
        }
    }
}
