# pragma version 0.4.3
"""
@title AccessLedger
@notice Who may see what, for which purpose, until when. One book for each institution; nobody writes in another's.
@dev Rules, in order (deny first):
     1. Only the registered signer of an institution writes, and only into that institution's book.
     2. `check` answers from the book of the caller's institution. An unregistered caller is denied.
     3. Precedence: suspended subject > destroyed resource > legal block > objection > withdrawn consent >
        missing consent > grants. Break-glass is decided by the guard; it may override only reasons from
        OBJECTION upwards. The highest view among living grants wins, the lowest number among equals.
     4. A grant lives while valid_from <= block.timestamp < valid_until and it is not revoked.
     5. No loop is unbounded: at most 4 resources a check, at most 8 unexpired, unrevoked grants a slot.
     6. Identifiers and notes are opaque 32 bytes (keyed hashes); no personal data enters the ledger.
"""

MAX_RESOURCES: constant(uint256) = 4
GRANTS_PER_SLOT: constant(uint256) = 8  # eight 32-bit numbers fill one word
LAST_PURPOSE: constant(uint8) = 5  # 1 TREAT, 2 ETREAT, 3 HRESCH, 4 HOPERAT, 5 PATRQT
RESEARCH: constant(uint8) = 3
ORIGINAL: constant(uint8) = 3  # 0 none, 1 masked, 2 full, 3 original
LONGEST_BREAK_GLASS: constant(uint64) = 86400

GRANTED: constant(uint8) = 0
UNKNOWN_INSTITUTION: constant(uint8) = 1
SUSPENDED: constant(uint8) = 2
RESOURCE_DESTROYED: constant(uint8) = 3
LEGAL_BLOCK: constant(uint8) = 4
OBJECTION: constant(uint8) = 5
CONSENT_WITHDRAWN: constant(uint8) = 6
CONSENT_MISSING: constant(uint8) = 7
NO_GRANT: constant(uint8) = 8

CONSENT_GIVEN_STATE: constant(uint8) = 1
CONSENT_WITHDRAWN_STATE: constant(uint8) = 2

flag Mark:
    DESTROYED
    BLOCKED
    OBJECTED  # an objection against everybody

event InstitutionRegistered:
    institution: indexed(uint32)
    signer: indexed(address)

event SignerRotated:
    institution: indexed(uint32)
    old: address
    new: address

event GrantAdded:
    institution: indexed(uint32)
    subject: indexed(bytes32)
    resource: indexed(bytes32)
    grant_id: uint256
    purpose: uint8
    view_: uint8
    valid_from: uint64
    valid_until: uint64
    note: bytes32

event GrantRevoked:
    institution: indexed(uint32)
    grant_id: indexed(uint256)
    note: bytes32

event SuspensionSet:
    institution: indexed(uint32)
    subject: indexed(bytes32)
    standing: bool
    note: bytes32

event LegalBlockSet:
    institution: indexed(uint32)
    resource: indexed(bytes32)
    standing: bool
    note: bytes32

event ObjectionSet:
    institution: indexed(uint32)
    patient: indexed(bytes32)
    subject: indexed(bytes32)
    standing: bool
    note: bytes32

event ConsentNeeded:
    institution: indexed(uint32)
    purpose: uint8
    needed: bool
    note: bytes32

event ConsentSet:
    institution: indexed(uint32)
    patient: indexed(bytes32)
    purpose: uint8
    given: bool
    note: bytes32

event GlassBroken:
    institution: indexed(uint32)
    subject: indexed(bytes32)
    resource: indexed(bytes32)
    number: uint256
    occurred_at: uint64
    valid_until: uint64
    note: bytes32

event Anchored:
    institution: indexed(uint32)
    log_id: indexed(bytes32)
    tree_size: uint64
    root: bytes32

event ResourceDestroyed:
    institution: indexed(uint32)
    resource: indexed(bytes32)
    certificate: bytes32

steward: public(address)
institution_of: public(HashMap[address, uint32])
signer_of: public(HashMap[uint32, address])

grant_count: public(uint256)
terms: HashMap[uint256, uint256]  # packed, see _pack
standing: HashMap[bytes32, uint256]  # slot -> up to eight 32-bit grant numbers, zero ends the list

suspended: public(HashMap[uint32, HashMap[bytes32, bool]])
marks: HashMap[uint32, HashMap[bytes32, Mark]]
objected: public(HashMap[uint32, HashMap[bytes32, HashMap[bytes32, bool]]])  # patient, subject
consent_flagged: public(HashMap[uint32, HashMap[uint8, bool]])
consent_state: public(HashMap[uint32, HashMap[bytes32, HashMap[uint8, uint8]]])  # patient, purpose

break_glass_count: public(uint256)
break_glass_until: public(HashMap[uint32, HashMap[bytes32, HashMap[bytes32, uint64]]])  # subject, resource

anchored_size: public(HashMap[uint32, HashMap[bytes32, uint64]])  # log
anchored_root: public(HashMap[uint32, HashMap[bytes32, HashMap[uint64, bytes32]]])  # log, tree size


@deploy
def __init__(institution: uint32):
    """@notice The deployer stewards the register of institutions and signs for the first one."""
    self.steward = msg.sender
    self._register(msg.sender, institution)


# --- institutions ---------------------------------------------------------------------------------------


@internal
def _register(signer: address, institution: uint32):
    assert institution != 0, "institution is zero"
    assert signer != empty(address), "signer is zero"
    assert self.signer_of[institution] == empty(address), "institution is registered"
    assert self.institution_of[signer] == 0, "signer is registered"
    self.institution_of[signer] = institution
    self.signer_of[institution] = signer
    log InstitutionRegistered(institution=institution, signer=signer)


@internal
@view
def _author() -> uint32:
    institution: uint32 = self.institution_of[msg.sender]
    assert institution != 0, "not a registered signer"
    return institution


@external
def register_institution(signer: address, institution: uint32):
    """@notice Admit an institution. The steward alone."""
    assert msg.sender == self.steward, "not the steward"
    self._register(signer, institution)


@external
def rotate_signer(new_signer: address):
    """@notice Hand the institution's book (and the stewardship, if held) to a new key. The old key is void."""
    institution: uint32 = self._author()
    assert new_signer != empty(address), "signer is zero"
    assert self.institution_of[new_signer] == 0, "signer is registered"
    self.institution_of[msg.sender] = 0
    self.institution_of[new_signer] = institution
    self.signer_of[institution] = new_signer
    if msg.sender == self.steward:
        self.steward = new_signer
    log SignerRotated(institution=institution, old=msg.sender, new=new_signer)


# --- grants ---------------------------------------------------------------------------------------------


@internal
@pure
def _slot(institution: uint32, subject: bytes32, resource: bytes32, purpose: uint8) -> bytes32:
    return keccak256(abi_encode(institution, subject, resource, purpose))


@internal
@pure
def _pack(institution: uint32, purpose: uint8, view_: uint8, valid_from: uint64, valid_until: uint64) -> uint256:
    # view 0-7 | purpose 8-15 | revoked 16 | valid_from 64-127 | valid_until 128-191 | institution 192-223
    return (
        convert(view_, uint256)
        | (convert(purpose, uint256) << 8)
        | (convert(valid_from, uint256) << 64)
        | (convert(valid_until, uint256) << 128)
        | (convert(institution, uint256) << 192)
    )


@internal
@pure
def _view_of(terms: uint256) -> uint8:
    return convert(terms & 255, uint8)


@internal
@pure
def _revoked(terms: uint256) -> bool:
    return (terms >> 16) & 1 == 1


@internal
@pure
def _valid_from(terms: uint256) -> uint256:
    return (terms >> 64) & convert(max_value(uint64), uint256)


@internal
@pure
def _valid_until(terms: uint256) -> uint256:
    return (terms >> 128) & convert(max_value(uint64), uint256)


@external
def add_grant(
    subject: bytes32,
    resource: bytes32,
    purpose: uint8,
    view_: uint8,
    valid_from: uint64,
    valid_until: uint64,
    note: bytes32,
) -> uint256:
    """@notice Allow a subject one view of a resource for one purpose. Returns the grant's number (from 1)."""
    institution: uint32 = self._author()
    assert subject != empty(bytes32), "subject is zero"
    assert resource != empty(bytes32), "resource is zero"
    assert purpose >= 1 and purpose <= LAST_PURPOSE, "unknown purpose"
    assert view_ >= 1 and view_ <= ORIGINAL, "unknown view"
    assert valid_from < valid_until, "grant ends before it begins"
    assert convert(valid_until, uint256) > block.timestamp, "grant is already over"
    assert Mark.DESTROYED not in self.marks[institution][resource], "resource is destroyed"

    grant_id: uint256 = self.grant_count + 1
    assert grant_id <= convert(max_value(uint32), uint256), "grant numbers are used up"
    self.grant_count = grant_id
    self.terms[grant_id] = self._pack(institution, purpose, view_, valid_from, valid_until)
    self._place(self._slot(institution, subject, resource, purpose), grant_id)
    log GrantAdded(
        institution=institution, subject=subject, resource=resource, grant_id=grant_id, purpose=purpose,
        view_=view_, valid_from=valid_from, valid_until=valid_until, note=note
    )
    return grant_id


@internal
def _place(slot: bytes32, grant_id: uint256):
    # Keep what is neither revoked nor over (future grants count), then append.
    word: uint256 = self.standing[slot]
    kept: uint256 = 0
    count: uint256 = 0
    for i: uint256 in range(GRANTS_PER_SLOT):
        other: uint256 = (word >> (32 * i)) & convert(max_value(uint32), uint256)
        if other == 0:
            break
        terms: uint256 = self.terms[other]
        if not self._revoked(terms) and block.timestamp < self._valid_until(terms):
            kept |= other << (32 * count)
            count += 1
    assert count < GRANTS_PER_SLOT, "slot is full: revoke a grant first"
    self.standing[slot] = kept | (grant_id << (32 * count))


@external
def revoke_grant(grant_id: uint256, note: bytes32):
    """@notice End a grant of one's own institution at once. What other grants allow stays allowed."""
    institution: uint32 = self._author()
    terms: uint256 = self.terms[grant_id]
    assert terms != 0 and (terms >> 192) == convert(institution, uint256), "no such grant"
    assert not self._revoked(terms), "grant is revoked"
    self.terms[grant_id] = terms | (1 << 16)
    log GrantRevoked(institution=institution, grant_id=grant_id, note=note)


@external
@view
def grant(grant_id: uint256) -> (uint32, uint8, uint8, bool, uint64, uint64):
    """@notice institution, purpose, view, revoked, valid_from, valid_until; institution 0 where none is."""
    terms: uint256 = self.terms[grant_id]
    return (
        convert(terms >> 192, uint32),
        convert((terms >> 8) & 255, uint8),
        self._view_of(terms),
        self._revoked(terms),
        convert(self._valid_from(terms), uint64),
        convert(self._valid_until(terms), uint64),
    )


# --- what denies ----------------------------------------------------------------------------------------


@external
def set_suspension(subject: bytes32, standing: bool, note: bytes32):
    """@notice Suspend a person or device, or lift it. Prevails over everything."""
    institution: uint32 = self._author()
    assert subject != empty(bytes32), "subject is zero"
    self.suspended[institution][subject] = standing
    log SuspensionSet(institution=institution, subject=subject, standing=standing, note=note)


@internal
def _mark(institution: uint32, resource: bytes32, mark: Mark, standing: bool):
    assert resource != empty(bytes32), "resource is zero"
    if standing:
        self.marks[institution][resource] = self.marks[institution][resource] | mark
    else:
        self.marks[institution][resource] = self.marks[institution][resource] & ~mark


@external
def set_legal_block(resource: bytes32, standing: bool, note: bytes32):
    """@notice Forbid every disclosure of a resource by law, or lift it. Break-glass does not pass."""
    institution: uint32 = self._author()
    self._mark(institution, resource, Mark.BLOCKED, standing)
    log LegalBlockSet(institution=institution, resource=resource, standing=standing, note=note)


@external
def set_objection(patient: bytes32, subject: bytes32, standing: bool, note: bytes32):
    """@notice The patient objects to one subject, or to everybody (subject zero), or takes it back."""
    institution: uint32 = self._author()
    assert patient != empty(bytes32), "resource is zero"
    if subject == empty(bytes32):
        self._mark(institution, patient, Mark.OBJECTED, standing)
    else:
        self.objected[institution][patient][subject] = standing
    log ObjectionSet(institution=institution, patient=patient, subject=subject, standing=standing, note=note)


@external
def set_consent_needed(purpose: uint8, needed: bool, note: bytes32):
    """@notice Flag a purpose as needing consent. Research always needs it."""
    institution: uint32 = self._author()
    assert purpose >= 1 and purpose <= LAST_PURPOSE, "unknown purpose"
    assert needed or purpose != RESEARCH, "research always needs consent"
    self.consent_flagged[institution][purpose] = needed
    log ConsentNeeded(institution=institution, purpose=purpose, needed=needed, note=note)


@external
def set_consent(patient: bytes32, purpose: uint8, given: bool, note: bytes32):
    """@notice The patient consents to a purpose, or withdraws."""
    institution: uint32 = self._author()
    assert patient != empty(bytes32), "resource is zero"
    assert purpose >= 1 and purpose <= LAST_PURPOSE, "unknown purpose"
    state: uint8 = CONSENT_WITHDRAWN_STATE
    if given:
        state = CONSENT_GIVEN_STATE
    self.consent_state[institution][patient][purpose] = state
    log ConsentSet(institution=institution, patient=patient, purpose=purpose, given=given, note=note)


@external
def tombstone(resource: bytes32, certificate: bytes32):
    """@notice Record that a resource was destroyed, with the hash of the certificate. Cannot be undone."""
    institution: uint32 = self._author()
    assert Mark.DESTROYED not in self.marks[institution][resource], "resource is destroyed"
    self._mark(institution, resource, Mark.DESTROYED, True)
    log ResourceDestroyed(institution=institution, resource=resource, certificate=certificate)


# --- records --------------------------------------------------------------------------------------------


@external
def break_glass(
    subject: bytes32, resource: bytes32, occurred_at: uint64, valid_until: uint64, note: bytes32
) -> uint256:
    """@notice Record an emergency access that the guard decided, possibly some time ago. Returns its number."""
    institution: uint32 = self._author()
    assert subject != empty(bytes32), "subject is zero"
    assert resource != empty(bytes32), "resource is zero"
    assert convert(occurred_at, uint256) <= block.timestamp, "break-glass in the future"
    assert occurred_at < valid_until, "break-glass ends before it begins"
    assert valid_until - occurred_at <= LONGEST_BREAK_GLASS, "break-glass is longer than a day"
    number: uint256 = self.break_glass_count + 1
    self.break_glass_count = number
    if valid_until > self.break_glass_until[institution][subject][resource]:
        self.break_glass_until[institution][subject][resource] = valid_until
    log GlassBroken(
        institution=institution, subject=subject, resource=resource, number=number,
        occurred_at=occurred_at, valid_until=valid_until, note=note
    )
    return number


@external
def anchor(log_id: bytes32, tree_size: uint64, root: bytes32):
    """@notice Fix the root of an audit log at a size. A log never shrinks and never has two roots at one size."""
    institution: uint32 = self._author()
    assert root != empty(bytes32), "root is zero"
    assert tree_size > self.anchored_size[institution][log_id], "log did not grow since its last anchor"
    self.anchored_size[institution][log_id] = tree_size
    self.anchored_root[institution][log_id][tree_size] = root
    log Anchored(institution=institution, log_id=log_id, tree_size=tree_size, root=root)


# --- the question ---------------------------------------------------------------------------------------


@internal
@view
def _consent(institution: uint32, resources: DynArray[bytes32, MAX_RESOURCES], purpose: uint8) -> uint8:
    given: bool = False
    for resource: bytes32 in resources:
        state: uint8 = self.consent_state[institution][resource][purpose]
        if state == CONSENT_WITHDRAWN_STATE:
            return CONSENT_WITHDRAWN
        given = given or state == CONSENT_GIVEN_STATE
    if given:
        return GRANTED
    return CONSENT_MISSING


@internal
@view
def _denial(
    institution: uint32, subject: bytes32, resources: DynArray[bytes32, MAX_RESOURCES], purpose: uint8
) -> uint8:
    if institution == 0:
        return UNKNOWN_INSTITUTION
    if self.suspended[institution][subject]:
        return SUSPENDED
    marks: Mark = empty(Mark)
    objected: bool = False
    for resource: bytes32 in resources:
        marks |= self.marks[institution][resource]
        objected = objected or self.objected[institution][resource][subject]
    if Mark.DESTROYED in marks:
        return RESOURCE_DESTROYED
    if Mark.BLOCKED in marks:
        return LEGAL_BLOCK
    if objected or Mark.OBJECTED in marks:
        return OBJECTION
    if purpose == RESEARCH or self.consent_flagged[institution][purpose]:
        return self._consent(institution, resources, purpose)
    return GRANTED


@external
@view
def check(subject: bytes32, resources: DynArray[bytes32, MAX_RESOURCES], purpose: uint8) -> (uint8, uint8, uint256):
    """@notice view allowed now, reason, and the deciding grant's number. View 0 denies, whatever the reason."""
    institution: uint32 = self.institution_of[msg.sender]
    denial: uint8 = self._denial(institution, subject, resources, purpose)
    if denial != GRANTED:
        return 0, denial, 0
    best: uint8 = 0
    best_id: uint256 = 0
    for resource: bytes32 in resources:
        word: uint256 = self.standing[self._slot(institution, subject, resource, purpose)]
        for i: uint256 in range(GRANTS_PER_SLOT):
            grant_id: uint256 = (word >> (32 * i)) & convert(max_value(uint32), uint256)
            if grant_id == 0:
                break
            terms: uint256 = self.terms[grant_id]
            if (
                self._revoked(terms)
                or block.timestamp < self._valid_from(terms)
                or block.timestamp >= self._valid_until(terms)
            ):
                continue
            view_: uint8 = self._view_of(terms)
            if view_ > best or (view_ == best and grant_id < best_id):
                best = view_
                best_id = grant_id
    if best == 0:
        return 0, NO_GRANT, 0
    return best, GRANTED, best_id


@external
@view
def state_of(institution: uint32, resource: bytes32) -> (bool, bool, bool):
    """@notice destroyed, legally blocked, objection against everybody."""
    marks: Mark = self.marks[institution][resource]
    return Mark.DESTROYED in marks, Mark.BLOCKED in marks, Mark.OBJECTED in marks
