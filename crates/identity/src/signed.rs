//! Everything that is signed once to count once, and which attack on it fails where (T8: replay).
//!
//! Each kind is tried in four ways: the same again, later than it is good, for something or somebody else, and in a weaker
//! form than it is made in. A kind cannot be declared without naming all four tests. A test below holds the list against the
//! sources: a file that checks a signature and is not named by any kind fails it, so a new kind is not forgotten.

macro_rules! signed_kinds {
    ($($(#[$doc:meta])* $variant:ident {
        accepted_in: [$($file:literal),+ $(,)?],
        same: $same:literal,
        later: $later:literal,
        elsewhere: $elsewhere:literal,
        weaker: $weaker:literal $(,)?
    })+) => {
        /// Something that is signed, or a secret that is good once.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum SignedKind {
            $($(#[$doc])* $variant,)+
        }

        impl SignedKind {
            /// All kinds.
            pub const ALL: &'static [SignedKind] = &[$(SignedKind::$variant),+];

            /// The sources that decide whether one is accepted, below `crates`.
            pub const fn accepted_in(self) -> &'static [&'static str] {
                match self {
                    $(SignedKind::$variant => &[$($file),+],)+
                }
            }

            /// For each attack its name and the test that carries it out, as `cargo nextest list` prints it.
            pub const fn attacks(self) -> [(&'static str, &'static str); 4] {
                match self {
                    $(SignedKind::$variant => [
                        ("same", $same), ("later", $later), ("elsewhere", $elsewhere), ("weaker", $weaker),
                    ],)+
                }
            }
        }
    };
}

signed_kinds! {
    /// A proof that a request comes from the holder of a key (RFC 9449).
    DpopProof {
        accepted_in: ["identity/src/dpop/proof.rs", "identity/src/dpop/replay.rs"],
        same: "creta-identity dpop::replay::tests::attack_ch33_a_proof_works_once_for_as_long_as_it_lives",
        later: "creta-identity dpop::proof::tests::attack_ch33_a_proof_that_was_not_made_now_is_refused",
        elsewhere: "creta-identity dpop::proof::tests::attack_ch33_a_proof_for_another_method_or_address_is_refused",
        weaker: "creta-identity dpop::proof::tests::attack_ch33_other_algorithms_and_keys_are_refused",
    }
    /// The state of a sign-in that was begun.
    SignInState {
        accepted_in: ["identity/src/oidc/attempt.rs"],
        same: "creta-identity oidc::tests::attack_ci21_a_state_works_once_and_for_who_began_it",
        later: "creta-identity oidc::tests::attack_ci21_a_state_works_once_and_for_who_began_it",
        elsewhere: "creta-identity oidc::tests::attack_ci21_an_answer_of_another_provider_is_refused",
        weaker: "creta-server::it people::attack_ci21_forged_and_replayed_sign_ins_are_refused",
    }
    /// What the organisation's provider says of a person.
    IdToken {
        accepted_in: ["identity/src/oidc/id_token.rs"],
        same: "creta-identity oidc::tests::attack_ci21_a_token_of_another_attempt_is_refused",
        later: "creta-identity oidc::tests::attack_ci21_a_token_from_another_time_is_refused",
        elsewhere: "creta-identity oidc::tests::attack_ci21_a_token_of_another_issuer_or_for_another_client_is_refused",
        weaker: "creta-identity oidc::tests::attack_ci21_unsigned_tokens_and_other_algorithms_are_refused",
    }
    /// What a command line redeems for a session after a sign-in.
    SignInCode {
        accepted_in: ["server/src/people/sign_in.rs"],
        same: "creta-server people::sign_in::under_way::tests::attack_ci21_a_code_is_good_once_for_its_verifier_and_its_key_within_a_minute",
        later: "creta-server people::sign_in::under_way::tests::attack_ci21_a_code_is_good_once_for_its_verifier_and_its_key_within_a_minute",
        elsewhere: "creta-server people::sign_in::under_way::tests::attack_ci21_a_device_gets_its_session_once_and_only_with_its_key",
        weaker: "creta-server::it people::attack_ci21_forged_and_replayed_sign_ins_are_refused",
    }
    /// An authenticator's answer to a prompt (WebAuthn): a sign-in, or an approval of exactly what was shown.
    Assertion {
        accepted_in: ["identity/src/webauthn/site.rs", "identity/src/webauthn/ceremony.rs"],
        same: "creta-identity webauthn::tests::attack_ci22_an_answer_is_worth_nothing_a_second_time_or_for_something_else",
        later: "creta-identity webauthn::tests::attack_ci22_an_answer_is_worth_nothing_a_second_time_or_for_something_else",
        elsewhere: "creta-identity webauthn::tests::attack_ci22_answers_from_other_places_keys_and_ceremonies_are_refused",
        weaker: "creta-identity webauthn::tests::attack_ci22_presence_without_verification_is_refused",
    }
    /// A code of six digits.
    TotpCode {
        accepted_in: ["identity/src/totp.rs"],
        same: "creta-identity totp::tests::attack_ci22_a_code_works_once_inside_of_its_window",
        later: "creta-identity totp::tests::attack_ci22_codes_of_other_times_and_shapes_are_refused",
        elsewhere: "creta-identity totp::tests::attack_ci22_a_code_is_none_of_another_authenticator",
        weaker: "creta-identity totp::tests::attack_ci22_codes_of_other_times_and_shapes_are_refused",
    }
    /// A device that is enrolled.
    Enrolment {
        accepted_in: ["identity/src/device/enrolment.rs", "identity/src/device/signed.rs"],
        same: "creta-identity device::tests::attack_ch18_an_enrolment_works_once_for_its_person_and_key",
        later: "creta-identity device::tests::attack_ch18_an_enrolment_works_once_for_its_person_and_key",
        elsewhere: "creta-identity device::tests::attack_ch18_an_enrolment_works_once_for_its_person_and_key",
        weaker: "creta-identity device::tests::attack_ch18_a_key_in_software_is_of_low_assurance_whatever_it_claims",
    }
    /// What a device says of itself.
    PostureReport {
        accepted_in: ["identity/src/device/report.rs", "identity/src/device/signed.rs"],
        same: "creta-identity device::tests::attack_ch18_old_edited_and_foreign_reports_are_refused",
        later: "creta-identity device::tests::attack_ch18_a_report_is_about_now",
        elsewhere: "creta-identity device::tests::attack_ch18_a_signature_of_the_key_for_something_else_is_none_for_a_report",
        weaker: "creta-identity device::tests::attack_ch18_old_edited_and_foreign_reports_are_refused",
    }
    /// A device's word that a session is its own.
    SessionDevice {
        accepted_in: ["identity/src/device/binding.rs", "identity/src/device/signed.rs"],
        same: "creta-identity device::binding::tests::attack_ch18_a_session_is_taken_on_by_the_device_itself_once_and_no_other_session",
        later: "creta-identity device::binding::tests::attack_ch18_a_session_is_not_taken_on_late_or_in_another_form",
        elsewhere: "creta-identity device::binding::tests::attack_ch18_a_session_is_taken_on_by_the_device_itself_once_and_no_other_session",
        weaker: "creta-identity device::binding::tests::attack_ch18_a_session_is_not_taken_on_late_or_in_another_form",
    }
    /// A device's word that a browser runs on it.
    BrowserDevice {
        accepted_in: ["identity/src/device/browser.rs", "identity/src/device/signed.rs"],
        same: "creta-identity device::browser::tests::attack_ch18_a_device_vouches_for_a_browser_once",
        later: "creta-identity device::browser::tests::attack_ch18_a_device_vouches_for_no_browser_late_or_in_another_form",
        elsewhere: "creta-identity device::browser::tests::attack_ch18_a_device_vouches_for_no_other_browser_person_environment_key_or_word",
        weaker: "creta-identity device::browser::tests::attack_ch18_a_device_vouches_for_no_browser_late_or_in_another_form",
    }
    /// What a TPM says of a device's key.
    TpmStatement {
        accepted_in: ["identity/src/device/tpm.rs"],
        same: "creta-identity device::tpm::tests::attack_ch18_only_a_known_tpm_that_speaks_of_this_key_now_is_believed",
        later: "creta-identity device::tpm::tests::attack_ch18_only_a_known_tpm_that_speaks_of_this_key_now_is_believed",
        elsewhere: "creta-identity device::tpm::tests::attack_ch18_only_a_known_tpm_that_speaks_of_this_key_now_is_believed",
        weaker: "creta-identity device::tests::attack_ch18_a_key_in_software_is_of_low_assurance_whatever_it_claims",
    }
    /// An approval or refusal of a request for access.
    AccessDecision {
        accepted_in: ["programme/src/access/request.rs"],
        same: "creta-programme::it replay::attack_ch17_an_approval_is_not_replayed",
        later: "creta-programme::it replay::attack_ch17_an_approval_is_not_replayed",
        elsewhere: "creta-programme::it replay::attack_ch17_an_approval_is_not_replayed",
        weaker: "creta-programme::it replay::attack_ch17_a_signature_covers_the_whole_order",
    }
    /// An approval of an exception.
    ExceptionDecision {
        accepted_in: ["programme/src/exception.rs"],
        same: "creta-programme::it exception::attack_r6_an_exception_ends_within_90_days_to_the_microsecond",
        later: "creta-programme::it exception::attack_r6_an_exception_ends_within_90_days_to_the_microsecond",
        elsewhere: "creta-programme::it exception::attack_r6_nobody_agrees_to_other_terms_than_they_saw",
        weaker: "creta-programme::it exception::attack_r6_one_person_makes_no_exception",
    }
    /// What shows that work on a schedule was done, and that two people agreed to it.
    Completion {
        accepted_in: ["programme/src/cadence.rs"],
        same: "creta-programme::it cadence::attack_ci24_nothing_is_completed_early_twice_by_another_or_for_nothing",
        later: "creta-programme::it cadence::attack_ci24_moving_a_cadence_hides_nothing_that_is_overdue",
        elsewhere: "creta-programme::it cadence::attack_ci24_nothing_is_completed_early_twice_by_another_or_for_nothing",
        weaker: "creta-programme::it cadence::attack_ci24_two_people_means_two_people_and_what_they_saw",
    }
    /// An approval of access policies.
    PolicyApproval {
        accepted_in: ["server/src/policies.rs"],
        same: "creta-server::it policies::attack_ci20_an_approval_of_a_policy_counts_once",
        later: "creta-server::it policies::attack_ci20_a_wider_policy_needs_another_person_who_saw_it",
        elsewhere: "creta-server::it policies::attack_ci20_a_wider_policy_needs_another_person_who_saw_it",
        weaker: "creta-server::it policies::attack_ci20_a_stored_policy_that_is_not_the_logs_stops_the_start",
    }
    /// An access token.
    AccessToken {
        accepted_in: ["server/src/tokens.rs"],
        same: "creta-server::it people::attack_ch17_a_stolen_session_is_worth_nothing_on_another_machine",
        later: "creta-server tokens::tests::attack_token_that_outlives_the_limit_or_comes_from_the_future_is_refused",
        elsewhere: "creta-server tokens::tests::attack_token_of_another_environment_is_refused",
        weaker: "creta-server tokens::tests::attack_unsigned_token_and_other_algorithms_are_refused",
    }
    /// A component's certificate.
    ComponentCertificate {
        accepted_in: ["server/src/tls/peer.rs", "server/src/tls/demanded.rs", "server/src/tls/handshake.rs"],
        same: "creta-server tls::peer::tests::a_component_of_this_environment_is_let_in_until_it_is_revoked_or_its_certificate_ends",
        later: "creta-server tls::peer::tests::a_component_of_this_environment_is_let_in_until_it_is_revoked_or_its_certificate_ends",
        elsewhere: "creta-server tls::peer::tests::attack_ch25_a_certificate_that_names_another_environment_is_refused_even_from_the_own_authority",
        weaker: "creta-server tls::peer::tests::attack_ch25_a_certificate_for_servers_or_without_a_name_is_refused",
    }
    /// A report of a security issue that an intake spooled for its server.
    SpooledReport {
        accepted_in: ["server/src/intake/spool.rs"],
        same: "creta-server::it intake::attack_ch64_with_the_server_gone_a_report_still_pages_and_is_a_case_when_it_is_back",
        later: "creta-server intake::spool::tests::attack_ch64_an_edited_or_foreign_spool_file_is_not_taken",
        elsewhere: "creta-server::it intake::attack_ch64_nobody_else_puts_reports_into_the_spool",
        weaker: "creta-server intake::spool::tests::attack_ch64_a_report_in_another_form_or_for_another_server_is_not_taken",
    }
    /// A log's signed head, and a witness's signature under it.
    Checkpoint {
        accepted_in: ["proof/src/checkpoint.rs"],
        same: "creta-audit attacks::attack_ch44_put_back_an_older_copy_of_everything",
        later: "creta-proof checkpoint::tests::attack_ch44_a_cosignature_counts_only_as_it_was_given",
        elsewhere: "creta-audit attacks::attack_ch44_the_log_of_another_environment",
        weaker: "creta-proof checkpoint::tests::a_log_cannot_stand_in_for_a_witness_nor_the_other_way_round",
    }
    /// A log's request for a cosignature.
    WitnessRequest {
        accepted_in: ["proof/src/witness.rs"],
        same: "creta-proof witness::tests::attack_ch44_a_rewound_log_is_not_cosigned_again",
        later: "creta-server::it witness::attack_ch44_a_request_that_is_sent_again_later_leads_nowhere_back",
        elsewhere: "creta-proof witness::tests::attack_ch44_a_fork_is_not_cosigned_and_is_evidence",
        weaker: "creta-proof witness::tests::malformed_requests_are_refused",
    }
    /// An approval of going on from an older copy.
    RecoveryApproval {
        accepted_in: ["identity/src/recovery.rs"],
        same: "creta-server::it recovery::attack_ch35_an_approval_is_used_once_and_for_nothing_else",
        later: "creta-identity recovery::tests::attack_ch35_a_statement_counts_for_a_day_and_not_before_it_was_drawn",
        elsewhere: "creta-identity recovery::tests::attack_ch35_an_approval_is_of_one_statement_and_of_no_later_log",
        weaker: "creta-identity recovery::tests::attack_ch35_an_edited_approval_and_other_signatures_of_the_key_are_none",
    }
    /// An operator's word that a log goes on from an older copy.
    ForkNotice {
        accepted_in: ["server/src/witness/fork.rs"],
        same: "creta-server::it witness::attack_ch44_yesterdays_data_folder_is_noticed_through_the_witness",
        later: "creta-server::it witness::attack_ch44_yesterdays_data_folder_is_noticed_through_the_witness",
        elsewhere: "creta-server::it witness::attack_ch44_yesterdays_data_folder_is_noticed_through_the_witness",
        weaker: "creta-server::it witness::attack_ch44_yesterdays_data_folder_is_noticed_through_the_witness",
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::{Path, PathBuf};

    use super::*;

    /// What checks a signature, or what a library makes of one.
    const CHECKS: [&str; 6] = [
        "UnparsedPublicKey::new(",
        ".verifies(",
        "jsonwebtoken::decode",
        "finish_passkey_authentication(",
        "fn verify_client_cert(",
        "id_token_verifier(",
    ];
    /// Where keys themselves are: whoever calls it says for what.
    const PRIMITIVES: [&str; 1] = ["identity/src/key.rs"];

    fn crates() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("in the workspace").to_owned()
    }

    /// The files of a folder, each with what stands before its tests.
    fn sources(folder: &Path, whole: &dyn Fn(&Path) -> bool, found: &mut Vec<(PathBuf, String)>) {
        let mut entries: Vec<PathBuf> =
            std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path()).collect();
        entries.sort();
        for path in entries {
            if path.is_dir() {
                sources(&path, whole, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(&path).expect("text");
                let text =
                    if whole(&path) { text } else { text.split("#[cfg(test)]").next().expect("a part").to_owned() };
                found.push((path, text));
            }
        }
    }

    #[test]
    fn attack_t8_every_kind_names_four_attacks_that_exist() {
        for kind in SignedKind::ALL {
            for (attack, test) in kind.attacks() {
                let (runner, path) = test.split_once(' ').expect("two words");
                let name = path.rsplit("::").next().expect("a name");
                let package =
                    runner.split("::").next().and_then(|name| name.strip_prefix("creta-")).expect("a crate of ours");
                let folder = crates().join(package).join(if runner.contains("::") { "tests" } else { "src" });
                let mut found = Vec::new();
                sources(&folder, &|_| true, &mut found);
                let wanted = format!("fn {name}(");
                let there = found.iter().any(|(_, text)| text.contains(&wanted));
                assert!(there, "{kind:?}, {attack}: `{test}` is not there");
            }
            for file in kind.accepted_in() {
                assert!(crates().join(file).is_file(), "{kind:?}: {file}");
            }
        }
    }

    #[test]
    fn attack_t8_whatever_checks_a_signature_is_of_a_kind_that_is_attacked() {
        let named: BTreeSet<&str> =
            SignedKind::ALL.iter().flat_map(|kind| kind.accepted_in()).copied().chain(PRIMITIVES).collect();
        let (mut found, mut checking) = (Vec::new(), 0);
        for package in std::fs::read_dir(crates()).expect("a folder") {
            sources(&package.expect("an entry").path().join("src"), &|_| false, &mut found);
        }
        for (path, text) in found {
            let of_tests = path.file_stem().is_some_and(|stem| stem.to_string_lossy().ends_with("tests"));
            let file = path.strip_prefix(crates()).expect("below it").to_string_lossy().replace('\\', "/");
            if of_tests || file == "identity/src/signed.rs" || file.contains("soft_authenticator") {
                continue;
            }
            if let Some(check) = CHECKS.iter().find(|check| text.contains(*check)) {
                assert!(named.contains(file.as_str()), "{file} calls `{check}`: say of which kind, and attack it");
                checking += 1;
            }
        }
        assert!(checking >= 8, "{checking} files were found");
    }
}
