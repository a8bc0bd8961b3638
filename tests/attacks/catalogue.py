"""The threat list as data: each attack, the defences that are patched out for it, and what success means.

`patches` names modules of `attacks.patches`. One is the rule; several where defences stand one behind another, so
that no single one of them lets the attack through. `promise` names the promised attack of the drill that the row
belongs to, '' where the drill has none.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from attacks import cage_attacks as c
from attacks import care_attacks as care
from attacks import deid_attacks as deid
from attacks import edge_attacks as edge
from attacks import glass_attacks
from attacks import guard_attacks as g
from attacks import identity_attacks as identity
from attacks import migration_attacks as migration
from attacks import patient_attacks as patients
from attacks import people_attacks as people
from attacks import recovery_attacks as r
from attacks import research_attacks as research
from attacks import retrieve_attacks as retrieve
from attacks import routing_attacks as routing
from attacks import saving_attacks as s
from attacks import shield_attacks as shield
from attacks import store_attacks as store
from attacks import viewer_attacks as v


@dataclass(frozen=True)
class Row:
    """One attack. `attack` gets an empty folder and tells whether it succeeded."""

    name: str
    patches: tuple[str, ...]
    success: str
    attack: Callable[[Path], bool]
    promise: str = ""
    needs_root: bool = False


def _guard(name: str, patches: str, success: str, promise: str = "") -> Row:
    return Row(name, tuple(patches.split()), success, g.against_guard(getattr(g, name)), promise)


def _people(name: str, patches: str, success: str) -> Row:
    return Row(name, tuple(patches.split()), success, people.against_people(getattr(people, name)))


def _patients(name: str, patches: str, success: str) -> Row:
    return Row(name, tuple(patches.split()), success, patients.against_patients(getattr(patients, name)))


def _shield(name: str, patches: str, success: str) -> Row:
    return Row(name, tuple(patches.split()), success, shield.against_shield(getattr(shield, name)))


SHIELD_ROWS = (
    _shield("study_listed_without_a_grant", "no_contract", "a study of the old PACS beside the granted one"),
    _shield("study_disclosed_without_a_grant", "no_contract", "a receipt for a study of the old PACS"),
    _shield("victims_film_under_a_granted_study", "any_patient_elsewhere", "a receipt for a victim's film"),
    _shield("name_probed_through_the_pacs", "probing_through_the_pacs", "a name guessed in the masked view"),
    _shield("stored_through_without_the_right", "no_store_right", "a way into the old PACS"),
    _shield("passed_on_without_an_entry", "passed_on_unentered", "an acknowledged film without its entry"),
)
PATIENT_ROWS = (
    _patients("guessed_birth_date", "no_count_of_tries", "a session at the seventh date"),
    _patients("wrong_birth_date", "any_birth_date", "a session without the birth date"),
    _patients("used_invitation", "no_state_of_invitations", "a second session from one letter"),
    _patients("old_invitation", "no_state_of_invitations", "a session from an old letter"),
    _patients("guessed_token", "no_throttle", "a session after twenty guesses"),
    _patients("proof_of_another_patient", "no_patient_in_entries", "an opened entry about another patient"),
    _patients("patients_cookie_elsewhere", "no_browser_of_patients", "a page for a copied cookie"),
    _patients("patients_session_without_secret", "no_secret_of_patients", "a page for a session id"),
    _patients("doctor_invites", "no_administrator_check", "a patient's session for a doctor"),
    _patients("doctor_withdraws_the_objection", "no_secret_of_patients", "the objection withdrawn"),
)
PEOPLE_ROWS = (
    _people("stolen_cookie_elsewhere", "no_client_binding", "a copied cookie answered in another browser"),
    _people("superseded_cookie", "no_grace_limit", "a copied cookie answered after its owner's was replaced"),
    _people("thief_goes_on", "no_end_of_stolen_sessions", "a session with two holders goes on"),
    _people("factor_from_a_password", "no_fresh_factor_for_factors", "assurance 2 for a password"),
    _people("phished_passkey", "no_passkey_origin", "a session from another site's page"),
    _people("replayed_assertion", "no_challenge_memory", "a second session from one answer"),
    _people("copied_passkey", "no_sign_count", "a session for a copy"),
    _people("found_passkey", "no_user_verification", "a session without its user"),
    _people("recovery_code_twice", "no_memory_of_recovery_codes", "a second step-up with one code"),
    _people("one_administrator_resets", "no_other_reviewer", "a code for another's factors"),
    _people("reset_code_twice", "careless_reset_codes", "a second enrolment with one code"),
    _people("old_reset_code", "careless_reset_codes", "an enrolment two days later"),
    _people("guessed_reset_code", "careless_reset_codes", "an enrolment at the seventh guess"),
    _people("doctor_administrates", "no_administrator_check", "a new administrator"),
)


def _glass(name: str, patches: str, success: str) -> Row:
    return Row(name, tuple(patches.split()), success, g.against_guard(getattr(glass_attacks, name)))


GLASS_ROWS = (
    _glass(
        "suspended_breaks_glass",
        "no_suspended_flag glass_overrides_everything",
        "a permit for a suspended person",
    ),
    _glass("glass_without_factor", "no_second_factor", "a permit for a password"),
    _glass("technologist_breaks_glass", "no_glass_role", "a permit for a role that treats nobody"),
    _glass("glass_against_legal_block", "glass_overrides_everything", "a disclosure that a court forbids"),
    _glass("glass_by_the_dozen", "no_glass_limit", "a sixth permit in one day"),
    _glass("own_judge", "no_other_reviewer", "one's own access, justified"),
    _glass("own_judge_in_the_browser", "no_other_reviewer", "one's own access, justified"),
    _glass("judge_with_a_password", "no_second_factor", "a verdict for a password"),
    _glass("code_twice_in_a_fault", "no_memory_of_spent_codes", "two permits for one code"),
    _glass("glass_on_a_false_state", "believes_a_false_state", "a permit from a ledger that was cut"),
    _glass("glass_without_a_reserve", "answers_before_journalled", "a permit without its record"),
    Row("erased_record", ("no_journal_chain",), "nobody is told", glass_attacks.erased_record),
)


def _identity(name: str, patches: str, success: str) -> Row:
    return Row(name, tuple(patches.split()), success, g.against_guard(getattr(identity, name)))


IDENTITY_ROWS = (
    _identity("merge_to_read_another", "merged_rights_for_all", "another patient's film without a grant"),
    _identity("merge_against_an_objection", "merges_forget_objections", "a film that its patient closed"),
    _identity("move_by_one", "no_other_reviewer", "a film that one person alone moved within reach"),
    _identity("file_by_one", "no_other_reviewer", "a planted film in a patient's study"),
    _identity("reject_without_the_right", "no_reject_right", "a film that nobody finds any more"),
    _identity(
        "reject_another_study", "rejects_anything", "a film of another study that nobody finds any more"
    ),
)


def _saving(name: str, patches: str, success: str) -> Row:
    return Row(name, tuple(patches.split()), success, g.against_guard(getattr(s, name)))


SAVING_ROWS = (
    _saving("saving_without_right", "no_contract", "the patient of a study without a right"),
    _saving(
        "saving_without_treating", "no_saving_role no_treating_role", "a report by a role that treats nobody"
    ),
    _saving("reference_to_a_stranger", "references_unchecked", "a report that refers to a stranger's image"),
    _saving(
        "patient_guessed_by_saving",
        "patients_named_in_the_masked_view",
        "a report that was filed: the guess is right",
    ),
    _saving("saving_unasked", "saving_needs_no_receipt", "a report without a decision"),
    _saving("saving_after_revocation", "saving_asked_once", "a report after the revocation"),
)


RETRIEVE_ROWS = (
    Row("retrieve_without_right", ("no_retrieve_right",), "a receipt", retrieve.retrieve_without_right),
    Row("retrieve_ungranted", ("no_contract",), "a receipt without a grant", retrieve.retrieve_ungranted),
    Row(
        "moved_to_a_stranger",
        ("no_recipient_check",),
        "a receipt for a recipient without a grant",
        retrieve.moved_to_a_stranger,
    ),
    Row(
        "impostor_at_the_destination",
        ("no_destination_pin",),
        "the film at another device's listener",
        retrieve.impostor_at_the_destination,
    ),
)
ROUTING_ROWS = (
    Row(
        "forwarded_after_revocation",
        ("no_contract",),
        "the film at a destination without a grant",
        routing.forwarded_after_revocation,
    ),
    Row(
        "queued_for_an_impostor",
        ("no_destination_pin",),
        "the film at another device's listener",
        routing.queued_for_an_impostor,
    ),
    Row(
        "rule_for_a_stranger",
        ("rules_for_anybody",),
        "a rule for nobody's address",
        routing.rule_for_a_stranger,
    ),
    Row("rule_by_sql", ("no_row_mac",), "the film queued for another destination", routing.rule_by_sql),
    Row(
        "forged_study_pulls_priors",
        ("no_contract",),
        "the victim's old film at a destination without a grant",
        routing.forged_study_pulls_priors,
    ),
    Row(
        "forged_studies_empty_the_archive",
        ("no_limit_of_priors",),
        "more old films on their way than a sender may pull",
        routing.forged_studies_empty_the_archive,
    ),
    Row(
        "unnamed_study_pulls_the_unnamed",
        ("no_placeholders",),
        "another unnamed patient's film on its way",
        routing.unnamed_study_pulls_the_unnamed,
    ),
)
CARE_ROWS = (
    Row(
        "told_without_a_certificate",
        ("hl7_from_anybody",),
        "a grant for a ward",
        care.told_without_a_certificate,
    ),
    Row("told_without_the_right", ("no_his_right",), "a grant for a ward", care.told_without_the_right),
    Row(
        "admission_played_again",
        ("no_memory_of_messages", "no_times_of_events"),
        "the film of a patient who has left",
        care.admission_played_again,
    ),
    Row(
        "discharge_by_another",
        ("relations_of_anybody",),
        "a doctor shut out by another department's system",
        care.discharge_by_another,
    ),
    Row(
        "visit_of_another_patient",
        ("visits_change_patients",),
        "the film of a patient who is on no ward",
        care.visit_of_another_patient,
    ),
)
MIGRATION_ROWS = (
    Row(
        "migrated_in_plain",
        ("plain_to_anywhere",),
        "images in plain across the network",
        migration.migrated_in_plain,
    ),
    Row(
        "pushed_into_a_migration",
        ("migration_takes_all",),
        "a stranger's image stored by the migration's device",
        migration.pushed_into_a_migration,
    ),
    Row(
        "claimed_to_have_migrated",
        ("migration_believes_the_carrier",),
        "a signed report of completeness",
        migration.claimed_to_have_migrated,
    ),
)
DEID_ROWS = (
    Row("name_in_a_private_item", ("deid_keeps_private",), "the name", deid.name_in_a_private_item),
    Row(
        "name_in_an_unknown_attribute",
        ("deid_keeps_unlisted",),
        "the name",
        deid.name_in_an_unknown_attribute,
    ),
    Row("name_in_the_preamble", ("deid_keeps_the_prefix",), "the name", deid.name_in_the_preamble),
    Row("name_behind_the_pixels", ("deid_keeps_what_follows",), "the name", deid.name_behind_the_pixels),
    Row("name_in_a_jpeg_comment", ("deid_keeps_frames",), "the name", deid.name_in_a_jpeg_comment),
    Row("name_in_a_description", ("deid_knows_every_word",), "the name", deid.name_in_a_description),
    Row("text_in_the_pixels", ("deid_trusts_pixels",), "a screen shot", deid.text_in_the_pixels),
    Row("guessed_patient_ids", ("deid_without_key",), "a patient's pseudonym", deid.guessed_patient_ids),
    Row("linked_projects", ("deid_without_key",), "one pseudonym in both", deid.linked_projects),
    Row("two_patients_in_a_study", ("deid_looks_at_no_set",), "both released", deid.two_patients_in_a_study),
)
STORE_ROWS = (
    Row("entity_bomb", ("xml_with_entities",), "a text far longer than what was sent", store.entity_bomb),
    Row(
        "a_million_values", ("no_count_of_values",), "a data set of a million values", store.a_million_values
    ),
)


def _research(name: str, patches: str, success: str) -> Row:
    return Row(name, tuple(patches.split()), success, g.against_guard(getattr(research, name)))


RESEARCH_ROWS = (
    _research("release_without_consent", "no_contract", "files of a patient who was never asked"),
    _research("release_without_grant", "no_contract", "files that the project was not granted"),
    _research("release_after_withdrawal", "no_recheck_under_receipt", "keys after the withdrawal"),
    _research("leak_past_the_check", "release_unchecked", "a name in a released file"),
    _research("one_person_reidentifies", "no_other_reviewer", "a patient's name for one person alone"),
)


def _edge(name: str, patches: str, success: str, promise: str = "") -> Row:
    return Row(name, tuple(patches.split()), success, g.against_guard(getattr(edge, name)), promise)


EDGE_ROWS = (
    _edge("forged_entry", "no_edge_signature", "the key of a film that the edge did not sign"),
    _edge("entry_of_another_edge", "any_edge_brings no_edge_signature", "the key of another edge's film"),
    _edge("replayed_entry", "no_edge_order", "the key of a film a second time"),
    _edge("reordered_entry", "no_edge_order", "a later film before an earlier one"),
    _edge("front_speaks_for_the_modality", "edge_films_unchecked", "an invented film in the modality's name"),
    _edge("receipt_without_the_film", "receipts_for_the_asking", "a receipt for what is not held"),
    _edge(
        "stolen_edge_credential",
        "no_device_rights",
        "a list, a study or a way to store",
        "stolen_edge_credential",
    ),
    Row(
        "stolen_spool",
        ("no_sealing",),
        "identities read from the edge's disk",
        edge.stolen_spool,
        "stolen_edge_disk",
    ),
)
GUARD_ROWS = (
    *STORE_ROWS,
    *EDGE_ROWS,
    *DEID_ROWS,
    *RESEARCH_ROWS,
    *CARE_ROWS,
    *PEOPLE_ROWS,
    *MIGRATION_ROWS,
    *RETRIEVE_ROWS,
    *ROUTING_ROWS,
    *PATIENT_ROWS,
    *SHIELD_ROWS,
    _guard("forged_receipt", "no_receipt_mac", "keys for a receipt that the guard never wrote"),
    _guard("stolen_receipt", "no_receipt_owner", "keys for a session that was refused"),
    _guard(
        "receipt_after_revocation", "no_recheck_under_receipt", "keys after the revocation", "revoked_grant"
    ),
    _guard("session_id_without_secret", "no_session_secret", "a session is described", "session_guess"),
    _guard("full_view_without_factor", "no_second_factor", "the full view for a password"),
    _guard("suspended_session", "no_suspended_flag no_contract", "a disclosure for a suspended person"),
    _guard("guessed_password", "no_throttle", "a session at the sixth guess"),
    _guard("front_claims_operator", "no_operator_check", "a sealing key in the operator's name"),
    _guard("front_without_passphrase", "no_operator_proof", "a person added by a front"),
    _guard("against_objection", "no_contract", "a disclosure in spite of the objection"),
    _guard(
        "ledger_down",
        "open_when_the_ledger_fails",
        "a disclosure that nobody decided",
        "retrieve_without_grant",
    ),
    _guard("log_full", "answers_before_durable", "a receipt without its entry"),
    _guard("store_without_right", "no_store_right", "a stored film"),
    _guard("query_without_right", "no_query_right", "a list of patients", "query_as_stranger"),
    _guard("listed_without_grant", "no_contract", "a study beside the granted one", "query_as_stranger"),
    _guard(
        "next_page_after_revocation", "contract_asked_once", "a page after the revocation", "revoked_grant"
    ),
    _guard("commitment_as_oracle", "commits_to_anybody", "another's film confirmed"),
    _guard("metrics_without_right", "no_observe_right", "the guard's numbers"),
    _guard("unregistered_certificate", "no_device_registry", "an accepted device", "foreign_certificate"),
    _guard("unchecked_pixels", "no_treating_role", "pixels for a role that treats nobody", "masked_leak"),
    _guard("existence_oracle", "telling_refusals", "two different refusals"),
    _guard("masked_name_probe", "masked_filters_left_out", "a name confirmed", "masked_leak"),
    _guard("joined_by_placeholder", "no_placeholders", "two strangers under one grant"),
    _guard("implanted_image", "no_conflict_parking", "the planted film in the disclosure"),
    _guard("location_outside", "no_location_check", "an index row that names a foreign file"),
    Row(
        "edited_log",
        ("no_log_verification", "no_ledger_comparison"),
        "verify names nothing",
        g.edited_log,
        "audit_row_edit",
    ),
    Row("self_promotion", ("no_row_mac",), "a disclosure", g.self_promotion, "self_promotion_by_sql"),
    Row("swapped_row", ("no_key_binding",), "the stranger's film, opened", g.swapped_row, "row_swap"),
    Row(
        "undone_revocation",
        ("no_ledger_comparison",),
        "a revoked grant alive",
        g.undone_revocation,
    ),
    Row("unnamed_cut", ("no_count_of_changes",), "verify names nothing", g.unnamed_cut, "audit_row_edit"),
    Row("hostile_pixels", ("no_cage_lock",), "a file opened by a codec", c.hostile_pixels),
    Row(
        "viewing_after_revocation",
        ("viewings_joined_unchecked",),
        "an image after the revocation, at a front that did not hear of it",
        v.viewing_after_revocation,
        "revoked_grant",
    ),
    Row(
        "text_inside_a_frame",
        ("no_blanked_frames",),
        "a name out of a comment inside the JPEG",
        v.text_inside_a_frame,
        "masked_leak",
    ),
    Row("stolen_disk", ("no_sealing",), "identities read from the objects", g.stolen_disk, "stolen_disk"),
    Row(
        "stolen_database",
        ("no_database_key", "no_sealed_columns"),
        "identities read from the index",
        g.stolen_new_home,
        "stolen_disk",
    ),
    Row(
        "stolen_keys",
        ("no_key_wrap",),
        "a key from the disk that opens something",
        g.stolen_new_home,
        "stolen_disk",
    ),
    Row(
        "swapped_recovery_key",
        ("no_recovery_mac",),
        "the intruder's own key opens the new passphrase's root",
        r.swapped_recovery_key,
    ),
    Row(
        "former_holders",
        ("no_new_root",),
        "shares that were replaced open the new passphrase's root",
        r.former_holders,
    ),
    Row(
        "other_user",
        ("no_guard_peer_check",),
        "an answer of the guard",
        g.against_guard(g.other_user),
        needs_root=True,
    ),
    *GLASS_ROWS,
    *SAVING_ROWS,
    *IDENTITY_ROWS,
)
