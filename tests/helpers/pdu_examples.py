"""Hypothesis strategies for PDUs and their parts: everything the standard permits, nothing else."""

from __future__ import annotations

from hypothesis import strategies as st

from ribcage.dicom import pdu
from ribcage.dicom import pdu_items as items

uids = st.lists(st.integers(0, 10**9), min_size=1, max_size=5).map(
    lambda arcs: ".".join(map(str, [1, *arcs]))
)
ae_titles = st.text(
    st.characters(min_codepoint=0x21, max_codepoint=0x7E, exclude_characters="\\"), min_size=1, max_size=16
)
context_ids = st.integers(0, 127).map(lambda number: 2 * number + 1)
proposed = st.builds(items.ProposedContext, context_ids, uids, st.lists(uids, max_size=4).map(tuple))
refused = st.builds(items.ContextResult, context_ids, st.integers(1, 4), st.just(""))
accepted = st.builds(items.ContextResult, context_ids, st.just(0), uids)
short_bytes = st.binary(max_size=40)
some_bytes = st.binary(min_size=1, max_size=40)  # pynetdicom takes no empty ones here
identities = st.one_of(
    st.builds(items.UserIdentity, st.just(2), st.booleans(), some_bytes, some_bytes),
    st.builds(items.UserIdentity, st.sampled_from([1, 3, 4, 5]), st.booleans(), some_bytes),
)
user_information = st.builds(
    items.UserInformation,
    max_pdu_bytes=st.integers(0, 0xFFFFFFFF),
    implementation_class_uid=uids,
    implementation_version_name=st.just("") | ae_titles,
    async_window=st.none() | st.tuples(st.integers(0, 0xFFFF), st.integers(0, 0xFFFF)),
    roles=st.lists(st.builds(items.RoleSelection, uids, st.booleans(), st.booleans()), max_size=3).map(tuple),
    extended=st.lists(st.builds(items.ExtendedNegotiation, uids, short_bytes), max_size=2).map(tuple),
    common_extended=st.lists(
        st.builds(items.CommonExtendedNegotiation, uids, uids, st.lists(uids, max_size=3).map(tuple)),
        max_size=2,
    ).map(tuple),
    identity=st.none() | identities,
    identity_response=st.none() | some_bytes,
)


def _distinct(contexts: st.SearchStrategy[object]) -> st.SearchStrategy[tuple[object, ...]]:
    return st.lists(contexts, max_size=5, unique_by=lambda context: context.context_id).map(tuple)  # type: ignore


associate_rqs = st.builds(pdu.AssociateRq, ae_titles, ae_titles, _distinct(proposed), user_information, uids)
associate_acs = st.builds(
    pdu.AssociateAc, ae_titles, ae_titles, _distinct(accepted | refused), user_information, uids
)
associate_rjs = st.builds(pdu.AssociateRj, st.integers(1, 2), st.integers(1, 3), st.integers(0, 255))
pdvs = st.builds(pdu.Pdv, context_ids, st.booleans(), st.booleans(), short_bytes)
p_datas = st.lists(pdvs, min_size=1, max_size=4).map(lambda values: pdu.PDataTf(tuple(values)))
aborts = st.builds(pdu.Abort, st.sampled_from([0, 2]), st.integers(0, 6))
pdus = st.one_of(
    associate_rqs,
    associate_acs,
    associate_rjs,
    p_datas,
    aborts,
    st.just(pdu.ReleaseRq()),
    st.just(pdu.ReleaseRp()),
)
