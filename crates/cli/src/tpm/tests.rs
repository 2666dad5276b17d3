//! Against a TPM in software: what it says about its keys, and what the server's rules make of it.

use creta_identity::device::{Device, DeviceError, Enrolment, KeyStorage, Nonces, Platform, Signed};
use creta_model::Instant;

use super::*;

#[path = "../../tests/it/software_tpm.rs"]
mod software_tpm;

use software_tpm::SoftwareTpm;

fn now() -> Instant {
    Instant::parse("2026-01-01T12:00:00Z").expect("valid")
}

/// Enrols a key with what a TPM said, as the server does, knowing one TPM.
fn enrol(
    known: &PublicKey,
    key: &TpmKey,
    evidence: TpmEvidence,
    nonces: &mut Nonces,
    nonce: &str,
) -> Result<Device, DeviceError> {
    let enrolment = Enrolment::new("laptop", Platform::Linux, None, key.public().clone(), nonce, Some(evidence));
    let signed = Signed::make_with(&enrolment, |message| key.sign(message)).expect("the TPM signs");
    Device::enrol(&signed, "ana", &[known.thumbprint()], nonces, now())
}

#[test]
fn a_key_made_in_a_tpm_signs_and_its_tpm_says_so() {
    let chip = SoftwareTpm::start();
    let open = || Tpm::open(&chip.socket()).expect("opens");
    let known = open().attester().expect("it has one");
    assert_eq!(open().attester().expect("it has one"), known, "the same whenever it is asked");
    let sealed = open().create().expect("made");
    let mut nonces = Nonces::default();
    let nonce = nonces.give("ana", &[1; 32], now());
    let evidence = open().attest(&sealed, &nonce).expect("attested");
    let key = TpmKey::new(sealed.clone()).expect("read").at(chip.socket());
    let device = enrol(&known, &key, evidence, &mut nonces, &nonce).expect("enrolled");
    assert_eq!(device.storage, KeyStorage::Tpm);
    for message in [&b"one"[..], b"", &[7; 5000]] {
        assert!(key.public().verifies(message, &key.sign(message).expect("signed")));
    }
    assert_ne!(open_after(&key, &chip), sealed, "each key is another");
}

/// The TPM serves one at a time: the key lets go of it first.
fn open_after(key: &TpmKey, chip: &SoftwareTpm) -> SealedKey {
    key.release();
    Tpm::open(&chip.socket()).expect("opens").create().expect("made")
}

#[test]
fn attack_ch18_a_copied_key_and_a_replayed_foreign_or_exchanged_statement_are_refused() {
    let (chip, other_chip) = (SoftwareTpm::start(), SoftwareTpm::start());
    let open = |chip: &SoftwareTpm| Tpm::open(&chip.socket()).expect("opens");
    let known = open(&chip).attester().expect("it has one");
    let sealed = open(&chip).create().expect("made");
    let second = open(&chip).create().expect("made");
    let foreign = open(&other_chip).create().expect("made");
    let mut nonces = Nonces::default();
    let mut nonce = {
        let mut number = 0;
        move |nonces: &mut Nonces| {
            number += 1;
            nonces.give("ana", &[number; 32], now())
        }
    };
    let tpm_error = |refused: Result<Device, DeviceError>| match refused {
        Err(DeviceError::Tpm { why }) => why,
        other => panic!("{other:?}"),
    };
    let key = TpmKey::new(sealed.clone()).expect("read").at(chip.socket());

    // The file is copied: the other chip does not load the key, and so neither attests nor signs.
    assert!(matches!(open(&other_chip).attest(&sealed, "n"), Err(TpmError::Refused { .. })));
    let copy = TpmKey::new(sealed.clone()).expect("read").at(other_chip.socket());
    assert!(matches!(copy.sign(b"x"), Err(TpmError::Refused { .. })));
    // Nor with the public part of one and the private part of another.
    let mixed = SealedKey { public: sealed.public.clone(), private: second.private.clone() };
    assert!(open(&chip).attest(&mixed, "n").is_err());

    // A statement of before, in answer to another question.
    let (first, later) = (nonce(&mut nonces), nonce(&mut nonces));
    let old = open(&chip).attest(&sealed, &first).expect("attested");
    assert_eq!(tpm_error(enrol(&known, &key, old.clone(), &mut nonces, &later)), "it answers another nonce");
    key.release();
    // Another TPM's statement about its own key; about this key it can say nothing.
    let asked = nonce(&mut nonces);
    let said = open(&other_chip).attest(&foreign, &asked).expect("attested");
    let foreign_key = TpmKey::new(foreign).expect("read").at(other_chip.socket());
    let refused = enrol(&known, &foreign_key, said.clone(), &mut nonces, &asked);
    assert_eq!(tpm_error(refused), "the TPM is not one of the organisation's");
    let asked = nonce(&mut nonces);
    let posing = TpmEvidence { attester: known.clone(), ..said };
    assert_eq!(tpm_error(enrol(&known, &key, posing, &mut nonces, &asked)), "its signature is wrong");
    key.release();
    // The right TPM's statement about another key of its own.
    let asked = nonce(&mut nonces);
    let of_second = open(&chip).attest(&second, &asked).expect("attested");
    assert_eq!(tpm_error(enrol(&known, &key, of_second, &mut nonces, &asked)), "it is about another key");
    key.release();
    // One that says the right thing, with a bit of it changed.
    let asked = nonce(&mut nonces);
    let mut changed = open(&chip).attest(&sealed, &asked).expect("attested");
    let middle = changed.attest.len() / 2;
    let other = if changed.attest.as_bytes()[middle] == b'A' { "B" } else { "A" };
    changed.attest.replace_range(middle..=middle, other);
    assert_eq!(tpm_error(enrol(&known, &key, changed, &mut nonces, &asked)), "its signature is wrong");
}
