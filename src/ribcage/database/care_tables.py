"""Tables of care relations. Clear: sorts, states, times, internal ids, staff numbers and wards of shifts."""

from __future__ import annotations

import sqlalchemy as sa

from ribcage.database.metadata import metadata, row_mac

his_message = sa.Table(
    "his_message",
    metadata,
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("token", sa.LargeBinary(32), nullable=False, unique=True),  # of certificate, sender, control id
    sa.Column("content", sa.LargeBinary(32), nullable=False),  # keyed
    sa.Column("at", sa.Float, nullable=False),  # when it was taken
    sa.Column("sealed", sa.LargeBinary, nullable=False),  # kind and control id, as grants name them
    *row_mac(),
)

care_relation = sa.Table(
    "care_relation",
    metadata,
    sa.Column("id", sa.LargeBinary(16), primary_key=True),
    sa.Column("token", sa.LargeBinary(32), nullable=False, unique=True),  # of certificate, sort, number
    sa.Column("sort", sa.Text, nullable=False),  # visit, order
    sa.Column("device_id", sa.LargeBinary(16), nullable=False),  # whose messages alone change it
    sa.Column("patient_id", sa.LargeBinary(16), nullable=False, index=True),
    sa.Column("state", sa.Text, nullable=False),  # open, over, cancelled
    sa.Column("state_at", sa.Float, nullable=False),  # of the event that led there; 0: none
    sa.Column("state_by", sa.Text, nullable=False),  # that event
    sa.Column("facts_at", sa.Float, nullable=False),
    sa.Column("heard_at", sa.Float, nullable=False),  # when the archive took the newest message
    sa.Column("message", sa.Integer, nullable=False),  # the newest that changed it
    sa.Column(
        "progress", sa.Text, nullable=False
    ),  # of an order: scheduled, in-progress, completed, discontinued
    sa.Column("sealed", sa.LargeBinary, nullable=False),  # patient, ward, staff: under the patient's key
    *row_mac(),
)

performed_step = sa.Table(
    "performed_step",
    metadata,
    sa.Column("id", sa.LargeBinary(32), primary_key=True),  # keyed token of its SOP Instance UID
    sa.Column("device_id", sa.LargeBinary(16), nullable=False),
    sa.Column("relation_id", sa.LargeBinary, nullable=False),  # the order; empty: none
    sa.Column("state", sa.Text, nullable=False),  # in-progress, completed, discontinued
    sa.Column("at", sa.Float, nullable=False),
    *row_mac(),
)

care_grant = sa.Table(
    "care_grant",
    metadata,
    sa.Column("grant_id", sa.Integer, primary_key=True),
    sa.Column("person_id", sa.LargeBinary(16), nullable=False),
    sa.Column("patient_id", sa.LargeBinary(16), nullable=False),
    sa.Column("relation_id", sa.LargeBinary(16), nullable=False),
    sa.Column("message", sa.Integer, nullable=False),
    sa.Column("until", sa.Float, nullable=False),
    sa.Column("ended", sa.Integer, nullable=False),
    *row_mac(),
)

staff_number = sa.Table(
    "staff_number",
    metadata,
    sa.Column("id", sa.LargeBinary(16), primary_key=True),  # of the person
    sa.Column("number", sa.Text, nullable=False),
    *row_mac(),
)

shift = sa.Table(
    "shift",
    metadata,
    sa.Column("id", sa.LargeBinary(16), primary_key=True),
    sa.Column("number", sa.Integer, nullable=False, unique=True),
    sa.Column("staff", sa.Text, nullable=False),  # staff number
    sa.Column("ward", sa.Text, nullable=False),
    sa.Column("begins_at", sa.Float, nullable=False),
    sa.Column("ends_at", sa.Float, nullable=False),  # 0: without end
    sa.Column("device_id", sa.LargeBinary, nullable=False),  # whose messages wrote it; empty: an operator
    sa.Column("told_at", sa.Float, nullable=False),  # of the event
    sa.Column("removed", sa.Integer, nullable=False),
    *row_mac(),
)
